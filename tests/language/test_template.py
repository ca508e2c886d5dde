"""Chat templates: the text that transformers writes, and an end to those that have none."""

import json
import time
from pathlib import Path

import pytest
import tokenizers
import transformers

from likely.errors import DataError
from likely.language.template import Template

FOLDER = Path(__file__).parent / "templates"
TEMPLATES = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.jinja"))}
SMOLLM2, LLAMA3, MISTRAL, QWEN3 = (TEMPLATES[name] for name in ("smollm2", "llama3", "mistral", "qwen3"))
USER, REPLY = (
    {"role": "user", "content": " What\nis\tit? <b>é</b> "},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nA cat."},
)
TALKS = [
    [USER],
    [{"role": "system", "content": "Be kind."}, USER, REPLY, {"role": "user", "content": "And that?"}],
    [USER, REPLY],
]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module")
def theirs():
    library = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a": 0, "<s>": 1, "</s>": 2}, merges=[]))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=library, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("name", TEMPLATES)
def test_text_is_that_of_transformers(theirs, name):
    ours = Template(TEMPLATES[name], {"bos_token": "<s>", "eos_token": "</s>"})
    for talk in TALKS:
        for begin in (True, False):
            for more in ({}, {"tools": TOOLS}):
                want = theirs.apply_chat_template(
                    talk, chat_template=TEMPLATES[name], tokenize=False, add_generation_prompt=begin, **more
                )
                assert ours.render(talk, begin=begin, **more) == want


def test_a_template_may_refuse():
    with pytest.raises(DataError, match="refuses these messages: roles must alternate"):
        Template(MISTRAL).render([REPLY])


def test_a_template_changes_nothing_it_is_given():
    talk = [dict(USER)]
    with pytest.raises(DataError, match="line 2"):
        Template("\n{% set x = messages.append(1) %}").render(talk)
    assert talk == [USER]


@pytest.mark.parametrize(
    "wrong", ["hello", [], [3], [{"role": "user", "content": 3}], [{"content": "a"}], {"role": "user"}, None]
)
def test_messages_that_are_none(wrong):
    with pytest.raises(DataError, match=r'\{"role": "user", "content": "Hello"\}'):
        Template(SMOLLM2).render(wrong)


@pytest.mark.parametrize(("source", "words"), [
    ("a\nb {% for %}", "cannot be read at line 2"),
    ("{{ x | frobnicate }}", "No filter named 'frobnicate'"),
    ("\n\n{{ nothing.at.all }}", "line 3: 'nothing' is undefined"),
    ("{{ 1 / 0 }}", "division by zero"),
    ("{% include 'secret' %}", "no loader"),
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{{ messages.__init__.__globals__ }}", "unsafe|undefined"),
    ("{{ (1).to_bytes(1000000000, 'big') }}", "not for templates"),
    ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
    ("{% for a in [1] %}" * 40 + "{% endfor %}" * 40, "nested"),
])  # fmt: skip
def test_errors_name_the_line_and_the_cause(source, words):
    with pytest.raises(DataError, match=words):
        Template(source).render([USER])


GROW = "{{% set ns = namespace(x={}) %}}{{% for a in range(60) %}}{{% set ns.x = {} %}}{{% endfor %}}{{{{ ns.x }}}}"
LONG = "{% set x = 'a' * 100000 %}"
ENDLESS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loops that skip": "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
    "loops that go on": "{% for a in range(99999) %}{% for b in range(99999) %}{% continue %}{% endfor %}{% endfor %}",
    "filters in loops": "{% for a in range(99999) %}{% set x = range(9999)|map('string')|list %}{% endfor %}",
    "a flood": "{% for a in range(99999) %}{% for b in range(99999) %}words, words, words{% endfor %}{% endfor %}",
    "a flood unseen": "{% set x %}{% for a in range(99999) %}{{ messages }} words, words{% endfor %}{% endset %}",
    "macros": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "macros that fork": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(80) }}",
    "blocks": "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "recursive loops": "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "repetition": "{{ 'a' * 10000000000 }}",
    "repetition, the other way": "{{ 10000000000 * [1] }}",
    "powers": "{{ 99999999 ** 99999999 }}",
    "squares": GROW.format("7", "ns.x * ns.x"),
    "doubling": GROW.format("'a'", "ns.x + ns.x"),
    "doubling by joining": GROW.format("'a'", "ns.x ~ ns.x"),
    "doubling by a block": "{% set ns = namespace(x='a') %}{% for a in range(60) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}"
    "{% endset %}{% endfor %}{{ ns.x }}",
    "lists of lists": GROW.format("['a']", "[ns.x, ns.x]"),
    "tuples of tuples": GROW.format("('a',)", "(ns.x, ns.x)"),
    "objects of objects": GROW.format("{'a': 1}", "{'b': ns.x, 'c': ns.x}"),
    "wide fields": "{{ 'a' | center(1000000000) }}",
    "wide fields of a method": "{{ 'a'.ljust(1000000000) }}",
    "deep indents": "{{ 'a' | indent(1000000000, true) }}",
    "indented JSON": "{{ [[1]] | tojson(indent=1000000000) }}",
    "formats": "{{ '%1000000000d' | format(1) }}",
    "formats by an operator": "{{ '%*d' % (1000000000, 1) }}",
    "formats by a method": "{{ '{:{}}'.format(1, 1000000000) }}",
    "replacing": LONG + "{{ x | replace('a', x) }}",
    "replacing by a method": LONG + "{{ x.replace('', x) }}",
    "joining": LONG + "{{ range(99999) | join(x) }}",
    "joining by a method": LONG + "{{ x.join(range(99999) | map('string') | list) }}",
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_templates_that_do_not_end_are_stopped(name, monkeypatch):
    import likely.language.template as module

    monkeypatch.setattr(module, "WORK", module.WORK // 20)  # the same laws, sooner
    monkeypatch.setattr(module, "LARGEST", module.LARGEST // 20)
    with pytest.raises(DataError, match=r"stopped at line 1"):
        Template(ENDLESS[name]).render([USER])


def test_time_is_bounded_too(monkeypatch):
    import likely.language.template as module

    monkeypatch.setattr(module, "WORK", 10**12)
    monkeypatch.setattr(module, "SECONDS", 0.2)
    began = time.thread_time()
    with pytest.raises(DataError, match="takes too long"):
        Template(ENDLESS["nested loops"]).render([USER])
    assert time.thread_time() - began < 2


def test_long_conversations_are_not_stopped():
    talk = [{"role": "user", "content": "word " * 20_000}, {"role": "assistant", "content": "yes"}] * 40
    for source in (SMOLLM2, LLAMA3, QWEN3):
        text = Template(source, {"bos_token": "<s>"}).render(talk)
        assert len(text) > 4_000_000
    assert json.dumps("é", ensure_ascii=False) in Template("{{ messages | tojson }}").render(
        [{"role": "é", "content": "é"}]
    )

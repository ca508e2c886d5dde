"""Chat templates: the text that transformers writes, and an end to those that have none."""

import json
import time

import pytest
import tokenizers
import transformers

from likely.errors import DataError
from likely.language.template import Template

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are "
    "a helpful AI assistant<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = """{{- bos_token }}
{%- if custom is defined %}{%- set tools = custom %}{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%Y") %}{%- else %}{%- set date_string = "26 Jul" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}{{- "Environment: ipython\n" }}{%- endif %}
{{- "Year: " + date_string + "\n" }}
{%- if tools is not none %}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\n\n" }}{%- endfor %}
{%- endif %}
{{- system_message }}{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one call only") }}{%- endif %}
        {{- message.tool_calls[0].function.arguments | tojson }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("roles must alternate") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}{{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}{{- "[INST] " ~ message["content"] ~ "[/INST]" }}{%- endif %}
    {%- else %}{% generation %}{{- " " + message["content"] + eos_token }}{% endgeneration %}{%- endif %}
{%- endfor %}
"""
QWEN3 = """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content }}<|im_end|>
    {%- elif message.role == "skip" %}{% continue %}
    {%- else %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' -}}
{% endif %}"""
MACRO = """{% macro line(who, what='') -%}
  ### {{ who | title }}:
  {{ what | replace('\\t', '  ') | indent(2) }}
{%- endmacro %}
{% for m in messages if m.role != 'skip' %}
{{ line(m.role, m.content) }}
{% else %}none{% endfor %}
{{ messages | map(attribute='role') | unique | sort | join(', ') }} {{ (messages | selectattr('role', 'equalto', 'user') | list)[0].content[:4] | upper }}
{{ {'a': [1, 2.5, none, true], 'é': '<b>'} | tojson }} {{ '%s of %d' | format('x', 3) }} {{ '{}'.format(3) }} {{ 7 // 2 }} {{ 'a' * 3 }}
    {%- for k, v in messages[0].items() %} {{ loop.index }}/{{ loop.length }}{{ k }}{% if not loop.last %},{% endif %}{% endfor %}
"""
TEMPLATES = {"SmolLM2": SMOLLM2, "Llama 3": LLAMA3, "Mistral": MISTRAL, "Qwen3": QWEN3, "macros": MACRO}
USER, REPLY = {"role": "user", "content": " What\nis\tit? <b>é</b> "}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nA cat."}
TALKS = [
    [USER], [{"role": "system", "content": "Be kind."}, USER, REPLY, {"role": "user", "content": "And that?"}], [USER, REPLY],
]  # fmt: skip
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


@pytest.mark.parametrize("wrong", ["hello", [], [3], [{"role": "user", "content": 3}], [{"content": "a"}], {"role": "user"}, None])
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
    "loops that continue": "{% for a in range(99999) %}{% for b in range(99999) %}{% continue %}{% endfor %}{% endfor %}",
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
    "doubling by a block": GROW.replace("ns.x = {} %}}", "ns.x %}}{{{{ ns.x }}}}{{{{ ns.x }}}}{{% endset %}}").format("'a'"),
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
    assert json.dumps("é", ensure_ascii=False) in Template("{{ messages | tojson }}").render([{"role": "é", "content": "é"}])

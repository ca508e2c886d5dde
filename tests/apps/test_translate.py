"""Translation: what must be kept is kept whatever the writer does; files of pairs; a writer that learns; catalogues."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polib
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from likely import artifact
from likely.apps.translate import Pair, Translator, learn, load, own, read_pairs, save
from likely.apps.translate.segment import cut, halves
from likely.apps.translate.shield import MARK, PRIVATE, kept, shield, twin, unshield
from likely.errors import ArtifactError, DataError, LikelyError, OptionError, UnknownName

WORDS = {"the": "der", "a": "ein", "old": "alte", "red": "rote", "big": "grosse", "dog": "Hund", "cat": "Kater",
         "owl": "Uhu", "sleeps": "schlaeft", "sings": "singt", "eats": "frisst"}  # fmt: skip


def pairs(n: int = 600, seed: int = 0) -> list[Pair]:
    """Word for word, and a number that is kept."""
    draw = np.random.default_rng(seed)
    kinds = (["the", "a"], ["old", "red", "big"], ["dog", "cat", "owl"], ["sleeps", "sings", "eats"])
    out = []
    for _ in range(n):
        words = [str(draw.choice(kind)) for kind in kinds]
        tail = f" {draw.integers(2, 99)}" if draw.random() < 0.3 else ""
        out.append(Pair(f"{' '.join(words)}{tail}.", f"{' '.join(WORDS[word] for word in words)}{tail}."))
    return out


class Careless:
    """A writer that loses, doubles, invents and reorders, as a bad model does."""

    about = "careless"

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)

    def write(self, sentences: Sequence[str]) -> list[str]:
        out = []
        for text in sentences:
            parts = [*text.upper(), "%s", " {x} ", "7", "\ue105", "<b>", ""]
            out.append("".join(str(self.draw.choice(parts)) for _ in range(int(self.draw.integers(0, 20)))))
        return out


class Copying:
    about = "copying"

    def write(self, sentences: Sequence[str]) -> list[str]:
        return list(sentences)


PIECES = [
    "%s",
    "%(name)s",
    "%1$d",
    "%5.2f",
    "{}",
    "{total}",
    "{{x}}",
    "$name|",
    "${HOME}",
    "#{x}",
    "%{count}",
    "%<PRId64>",
    "<b>",
    "</b>",
    "<a href='x'>",
    "&amp;",
    "https://a.example/b",
    "mail@some.where",
    "12",
    "\\n",
    "%%",
    "word",
    "Two",
    "_File",
    " ",
    ".",
    "\n",
    "é",
    "\ue101",
    "@VAR@",
    "?",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30), st.integers(0, 1000), st.sampled_from(["", " "]))
def test_what_must_be_kept_is_kept_by_any_writer(parts: list[str], seed: int, gap: str) -> None:
    text = gap.join(parts)
    made = Translator(Careless(seed)).translate([text])[0]
    assert Counter(kept(made)) == Counter(kept(text))
    assert made.count("\n") == text.count("\n")
    assert MARK.search(text) or not MARK.search(made)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_a_writer_that_copies_gives_the_text_back(text: str) -> None:
    parts = cut(text)
    assert "".join(parts) == text
    assume(not any(shield(sentence).accelerator for sentence in parts[1::2]))  # these are set before the first letter
    made = Translator(Copying()).translate([text])[0]
    plain, other = (PRIVATE.sub("\ufffd", "".join(one.split())) for one in (made, text))
    assert plain == other


def test_marks_stand_for_what_is_kept() -> None:
    one = shield("Saved %d of {total} files to <b>%s</b>.")
    assert one.kept == ("%d", "{total}", "<b>", "%s", "</b>")
    assert unshield(one.text, one) == "Saved %d of {total} files to <b>%s</b>."
    assert unshield(twin("{total} Dateien: %d", one.kept), one) == "{total} Dateien: %d"
    assert shield("_Open file").accelerator == "_"
    assert unshield("Datei oeffnen", shield("_Open file")) == "_Datei oeffnen"
    assert shield("snake_case and more_of it").accelerator == ""
    assert shield("Tom & Jerry").accelerator == ""


def test_long_sentences_are_cut_where_they_breathe() -> None:
    assert halves("One two, three four five six") == ["One two,", "three four five six"]
    assert "".join(halves("abcdefgh")) == "abcdefgh"
    assert cut("Mr. Smith came. He left!")[1::2] == ["Mr. Smith came.", "He left!"]


@pytest.fixture(scope="module")
def translator() -> Translator:
    return learn(pairs(), steps=220, width=64, depth=1, dropout=0.0)[0]


def test_it_learns_and_keeps_numbers_it_never_saw(translator: Translator) -> None:
    new = [pair for pair in pairs(200, seed=5) if not kept(pair.source)][:40]
    said = translator.translate([pair.source for pair in new])
    assert np.mean([a == pair.target for a, pair in zip(said, new, strict=True)]) > 0.9
    assert translator.translate(["the red owl sings 31337."]) == ["der rote Uhu singt 31337."]
    assert translator.translate(["the old cat eats. a big dog sleeps.\n\nthe red owl sings."]) == [
        "der alte Kater frisst. ein grosse Hund schlaeft.\n\nder rote Uhu singt."
    ]
    assert translator.translate(["", "  ", "123", "%s"]) == ["", "  ", "123", "%s"]


def test_a_saved_one_says_the_same_and_holds_no_pair(translator: Translator, tmp_path: Path) -> None:
    path = save(translator, tmp_path / "de.likely")
    again = load(path)
    texts = [pair.source for pair in pairs(20, seed=9)]
    assert again.translate(texts) == translator.translate(texts)
    assert b"schlaeft." not in path.read_bytes()
    (tmp_path / "cut.likely").write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ArtifactError):
        load(tmp_path / "cut.likely")
    with pytest.raises(OptionError, match="only learned ones are saved"):
        save(Translator(Copying()), tmp_path / "x.likely")


@pytest.mark.parametrize(
    "change",
    [{"width": 2048}, {"depth": 24, "encoder": 24}, {"hidden": 4096}, {"style": "t5"}, {"shared": False}, {"x": 1}],
)
def test_a_file_that_asks_for_more_than_it_holds_is_refused(
    change: dict[str, object], translator: Translator, tmp_path: Path
) -> None:
    card, tensors = artifact.read(save(translator, tmp_path / "de.likely"))
    artifact.write(tmp_path / "bad.likely", {**card, "config": {**card["config"], **change}}, tensors)
    with pytest.raises(ArtifactError, match="damaged translator"):
        load(tmp_path / "bad.likely")


def test_a_word_without_end_is_written_whole(translator: Translator) -> None:
    parts = list(own.fitting(translator.writer.words, "x" * 5000 + "é"))  # type: ignore[attr-defined]
    assert max(map(len, parts)) < own.LENGTH
    assert "".join(own.decode(translator.writer.words, ids) for ids in parts) == "x" * 5000 + "é"  # type: ignore[attr-defined]


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(learn(pairs(80), steps=4, width=32, depth=1)[0], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_ids_and_texts() -> None:
    words = own.Vocabulary.of_bytes()
    texts = ["a\ue100b", "\ue101", "", "é\ue100\ue102"]
    assert [own.decode(words, ids) for ids in own.encode(words, texts)] == texts
    assert own.decode(words, [own.OWN + 97, own.EOS, own.OWN + 98]) == "a"
    assert torch.equal(own.padded([[5, 6]])[0, :4], torch.tensor([5, 6, own.EOS, own.PAD]))


# ------------------------------------------------------------------------------------------------------------ files


def test_files_of_pairs(tmp_path: Path) -> None:
    plain = "One\tEins\nTwo\tZwei\nOne\tEins\n\tLeer\n"
    (tmp_path / "a.tsv").write_text(plain)
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(plain.encode()))
    (tmp_path / "c.tsv").write_text("id\ten\tde\n1\tOne\tEins\n2\tTwo\tZwei\n")
    (tmp_path / "d.jsonl").write_text('{"source": "One", "target": "Eins"}\n\n{"source": "Two", "target": "Zwei"}\n')
    wanted = [Pair("One", "Eins"), Pair("Two", "Zwei")]
    assert (
        read_pairs(tmp_path / "a.tsv")
        == read_pairs(tmp_path / "b.tsv.gz")
        == read_pairs(tmp_path / "d.jsonl")
        == wanted
    )
    (tmp_path / "f.jsonl").write_text('{"source": "One\u2028more", "target": "Eins\x85mehr"}\n', encoding="utf-8")
    assert read_pairs(tmp_path / "f.jsonl") == [Pair("One\u2028more", "Eins\x85mehr")]
    assert read_pairs(tmp_path / "c.tsv", "en", "de") == wanted
    (tmp_path / "e.tsv").write_text("en\tde\n" + plain)
    assert read_pairs(tmp_path / "e.tsv") == wanted
    with pytest.raises(UnknownName, match="fr"):
        read_pairs(tmp_path / "c.tsv", "en", "fr")
    with pytest.raises(DataError, match="3 columns"):
        read_pairs(tmp_path / "c.tsv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tsv", b"One\tEins\nTwo\n", "line 2 has 1 columns"),
        ("x.tsv", b"One\tEins\n\xff\xfe\tZwei\n", "line 2 is no UTF-8"),
        ("x.tsv", b"", "0 columns|no pair"),
        ("x.jsonl", b'{"source": 1, "target": "a"}', "line 1: wanted are the texts"),
        ("x.jsonl", b"{", "line 1 is no JSON"),
        ("x.docx", b"", "no file of pairs"),
        ("x.tsv.gz", b"\x1f\x8b\x00", "cannot be unpacked"),
        ("x.mo", b"\xde\x12\x04\x95" + b"\xff" * 40, "catalogue"),
        ("x.po", b'msgid "a"\nmsgstr "b\n\n???', "line 2 is no line of a .po file"),
    ],
)
def test_what_is_no_file_of_pairs(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / name)


PO = """# Translators: nobody yet
msgid ""
msgstr ""
"Project-Id-Version: x 1\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n<5 ? 1 : 2);\\n"

#. a comment for translators
#: src/a.c:12
#, c-format
msgctxt "menu"
msgid "_Open %s"
msgstr ""

msgid "done"
msgstr "fertig"

#, c-format
msgid "%d file"
msgid_plural "%d files"
msgstr[0] ""
msgstr[1] ""

#~ msgid "old"
#~ msgstr "alt"
"""


def test_a_catalogue_is_filled_in_and_the_rest_stays(tmp_path: Path) -> None:
    (tmp_path / "m.po").write_text(PO)
    text, done = Translator(Careless(0)).fill(tmp_path / "m.po")
    assert (done.entries, done.before, done.filled) == (3, 1, 2)
    made = polib.pofile(text)
    opened, plural = made[0], made[2]
    assert opened.msgctxt == "menu"
    assert opened.flags == ["fuzzy", "c-format"]
    assert "%s" in opened.msgstr
    assert sorted(plural.msgstr_plural) == [0, 1, 2]
    assert all(form.count("%d") == 1 for form in plural.msgstr_plural.values())
    assert made[1].msgstr == "fertig"
    assert made.obsolete_entries()[0].msgstr == "alt"
    assert made.metadata == polib.pofile(PO).metadata
    assert "# Translators: nobody yet" in text
    assert "#. a comment for translators" in text
    (tmp_path / "filled.po").write_text(text)
    assert read_pairs(tmp_path / "filled.po") == [Pair("done", "fertig")]  # fuzzy ones are no examples
    made.save_as_mofile(str(tmp_path / "m.mo"))
    assert Pair("done", "fertig") in read_pairs(tmp_path / "m.mo")
    assert "fuzzy" not in Translator(Careless(0)).fill(tmp_path / "m.po", reviewed=True)[0]


@pytest.mark.parametrize(("forms", "held"), [(1, [1]), (2, [0, 1]), (3, [1, 1, 1])])
def test_a_plural_form_holds_the_number_where_the_language_needs_it(
    forms: int, held: list[int], tmp_path: Path
) -> None:
    text = PO.replace("nplurals=3", f"nplurals={forms}").replace('msgid "%d file"', 'msgid "One file"')
    (tmp_path / "m.po").write_text(text)
    made = polib.pofile(Translator(Copying()).fill(tmp_path / "m.po")[0])[2].msgstr_plural
    assert [made[form].count("%d") for form in range(forms)] == held


def test_forms_that_a_person_wrote_stay(tmp_path: Path) -> None:
    (tmp_path / "m.po").write_text(PO.replace('msgstr[0] ""', 'msgstr[0] "%d Datei"'))
    made = polib.pofile(Translator(Copying()).fill(tmp_path / "m.po")[0])[2].msgstr_plural
    assert made == {0: "%d Datei", 1: "%d files", 2: "%d files"}


def test_too_few_pairs_and_texts_that_are_none() -> None:
    with pytest.raises(DataError, match="learns from 20 or more"):
        learn([Pair("a", "b")])
    with pytest.raises(DataError, match="a list of texts"):
        Translator(Copying()).translate("one")
    with pytest.raises(DataError, match="texts of at most"):
        Translator(Copying()).translate([None])  # type: ignore[list-item]
    with pytest.raises(LikelyError):
        learn(pairs(40), width=8)


def test_json_round_trip_of_a_card(translator: Translator) -> None:
    assert json.loads(json.dumps(translator.writer.words.state()))["kind"] == "bpe"  # type: ignore[attr-defined]

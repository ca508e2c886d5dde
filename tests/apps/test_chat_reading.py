"""From files to sentences that know their lines; words; the index."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from likely.apps.chat.asked import asked, holds
from likely.apps.chat.evidence import quotations
from likely.apps.chat.followup import joined
from likely.apps.chat.index import Index
from likely.apps.chat.passages import Passage, Sentence, passages
from likely.apps.chat.reading import read
from likely.apps.chat.words import content, stem, words
from likely.errors import DataError

CORPORA = Path(__file__).parents[2] / "benchmarks" / "documents"


def told(folder: Path) -> tuple[dict[str, list[Passage]], list[str]]:
    notes: list[str] = []
    return {document.name: passages(document) for document in read(folder, notes.append)}, notes


def sentences(found: list[Passage]) -> list[tuple[int, str]]:
    return [(sentence.line, sentence.text) for passage in found for sentence in passage.sentences]


@pytest.mark.parametrize("corpus", ["pottery", "tuning/campsite", "tuning/library", "tuning/heater"])
def test_every_sentence_begins_on_its_line(corpus: str) -> None:
    found, notes = told(CORPORA / corpus)
    assert notes == []
    for name, made in found.items():
        if name.endswith((".md", ".txt")):
            rows = (CORPORA / corpus / name).read_text().splitlines()
            for line, text in sentences(made):
                assert " ".join(text.split()[:2]) in " ".join(rows[line - 1 : line + 1]), (name, line, text)
                assert text.split()[0] in rows[line - 1]


def test_markdown(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "---\ntitle: x\n---\n# House\nIntro with a [link](http://x.y) and **bold** `code`.\n\n## Rules ##\n"
        "* First rule. It has\n  two lines.\n* Second rule\n\n| fee | price |\n|---|---|\n| late | 2 |\n\n"
        "```\nx = 1\n```\nUnder\n-----\nMr. Poe pays 3.50 e.g. today. Then? Yes!\n"
    )
    made, _ = told(tmp_path)
    assert sentences(made["a.md"]) == [
        (5, "Intro with a link and bold code."), (8, "First rule."), (8, "It has two lines."), (10, "Second rule"),
        (14, "fee: late; price: 2"), (17, "x = 1"), (21, "Mr. Poe pays 3.50 e.g. today."), (21, "Then?"), (21, "Yes!"),
    ]  # fmt: skip
    assert [passage.title for passage in made["a.md"]] == ["House", "House > Rules", "House > Under"]


def test_html_shows_what_a_reader_sees(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        "<html><head><title>T</title><style>p{}</style><script>alert('no')</script></head><body>\n<nav>menu</nav>"
        "<h1>Top &amp; more</h1><p>One <b>bold</b>\nline. Two<br>\nlines.</p><ul><li>item<li>other</ul>"
        "<table><tr><th>a</th><th>b</th></tr>\n<tr><td>1</td><td>2<script>x</script></td></tr></table><p>open"
    )
    made, _ = told(tmp_path)
    found = sentences(made["a.html"])
    assert found == [
        (2, "One bold line."),
        (3, "Two lines."),
        (4, "item"),
        (4, "other"),
        (5, "a: 1; b: 2"),
        (5, "open"),
    ]
    assert made["a.html"][0].headings == ("T", "Top & more") or made["a.html"][0].headings == ("Top & more",)


def test_tables_sources_and_plain_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('item;price\n"a ""b""\nc";3,50\n\nd;4\n')
    (tmp_path / "b.py").write_text(
        '"""Module says."""\n\ndef work():\n    """Does it.\n\n    Twice."""\n    return 1 / 0\n'
    )
    (tmp_path / "c.txt").write_text("OPENING\n\nWe open at nine\nand close at five. Bye\n\nPrices\nAll is 3 pounds.\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.tsv").write_text("x\ty\n1\t2\n")
    made, notes = told(tmp_path)
    assert sentences(made["a.csv"]) == [(2, 'item: a "b" c; price: 3,50'), (5, "item: d; price: 4")]
    assert sentences(made["b.py"]) == [(1, "Module says."), (4, "Does it."), (6, "Twice.")]
    assert made["b.py"][1].headings == ("work",)
    assert sentences(made["c.txt"]) == [(3, "We open at nine and close at five."), (4, "Bye"), (7, "All is 3 pounds.")]
    assert [passage.title for passage in made["c.txt"]] == ["OPENING", "OPENING > Prices"]
    assert list(made) == ["a.csv", "b.py", "c.txt", "sub/d.tsv"]
    assert notes == []


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "ok.txt").write_text("Something stands here.\n" + "x" * 30_000)
    (inside / "latin.txt").write_bytes("Caf\xe9 is open.".encode("cp1252"))
    (inside / "wide.txt").write_text("Ünï is open.", encoding="utf-16")
    (inside / "noise.txt").write_bytes(bytes(range(256)) * 4)
    (inside / "empty.md").write_text("\n\n")
    (inside / "broken.py").write_text("def (:")
    (inside / "page.pdf").write_bytes(b"%PDF-1.4 nonsense")
    (inside / "photo.jpg").write_bytes(b"\xff\xd8")
    (inside / ".secret.txt").write_text("Hidden.")
    (tmp_path / "outside.txt").write_text("Not for you.")
    (inside / "link.txt").symlink_to(tmp_path / "outside.txt")
    with open(inside / "huge.txt", "wb") as file:
        file.truncate(17 << 20)
    made, notes = told(inside)
    assert set(made) == {"ok.txt", "latin.txt", "wide.txt"}
    assert sentences(made["latin.txt"]) == [(1, "Café is open.")]
    assert sentences(made["wide.txt"]) == [(1, "Ünï is open.")]
    text = "\n".join(notes)
    for said in ("latin.txt is not UTF-8", "noise.txt was left out: it holds binary", "empty.md was left out", "broken.py",  # noqa: E501
                 "page.pdf was left out", "1 file of other kinds", "link.txt was left out", "huge.txt was left out",
                 "ok.txt: line 2 was cut"):  # fmt: skip
        assert said in text, said
    assert "secret" not in text
    with pytest.raises(DataError, match="No folder"):
        told(tmp_path / "nowhere")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="Nothing to read"):
        told(tmp_path / "none")


def test_odd_bytes_never_break_the_reading(tmp_path: Path) -> None:
    draw = random.Random(0)
    pieces = [
        "<p>",
        "<table><tr><th>",
        "</td>",
        "<!--",
        "|",
        "```",
        "# ",
        "\n",
        "a.",
        "é",
        '"',
        ",",
        "<script>",
        "\x0c",
        "- ",
    ]
    for kind in ("md", "txt", "html", "csv", "tsv", "py", "rst"):
        for number in range(12):
            text = "".join(draw.choices(pieces, k=draw.randint(0, 60)))
            (tmp_path / f"{number}.{kind}").write_text(text)
    (tmp_path / "one.txt").write_text("Fine.")
    assert "one.txt" in told(tmp_path)[0]


def test_words() -> None:
    for same in ("open opens opened opening", "class classes", "party parties", "cancel cancelled cancelling", "1,240 1240",  # noqa: E501
                 "delivery deliver delivered", "teach teaches teacher taught", "keep kept", "twelve 12", "14.00 14",
                 "café cafe", "week weekly weeks", "dog dogs dog's"):  # fmt: skip
        assert len({stem(word) for word in same.split()}) == 1, same
    for other in ("10:00 1000", "1.5 15", "was wash", "his history", "hous hourly", "university unit"):
        assert len({stem(word) for word in other.split()}) == 2, other
    assert content("How much is it to get in, please?") == []
    assert [word.text for word in words("The E5 costs Ada 3 euros. Then Bob") if word.name] == ["e5", "ada", "bob"]


def test_both_engines_rank_alike() -> None:
    draw = random.Random(1)
    letters = [f"w{n}" for n in range(40)] + ["17:00", "6.90", 'quo"te', "naïve", "日本"]
    made = [
        Passage(
            f"{n}",
            "line",
            (draw.choice(letters),),
            (Sentence(" ".join(draw.choices(letters, k=draw.randint(1, 30))), 1),),
        )
        for n in range(60)
    ]
    fts, own = Index(made, "fts5"), Index(made, "own")
    for _ in range(50):
        query = content(" ".join(draw.choices(letters, k=draw.randint(1, 5))))
        first, second = fts.search(query, 8), own.search(query, 8)
        assert [number for number, _ in first] == [number for number, _ in second]
        assert [score for _, score in first] == pytest.approx([score for _, score in second])
    assert fts.search([], 5) == own.search([], 5) == []
    assert fts.search(['" OR "', "NOT", "(", "*"], 5) == []


@pytest.mark.parametrize(
    ("question", "kind", "yes", "no"),
    [
        ("How much is a ticket?", "money", "A ticket is 5 euros.", "A ticket is blue."),
        ("What does it cost?", "money", "It is free, nothing to pay.", "Three men in a boat."),
        ("When do you open?", "time", "We open at 9:30.", "We open the door."),
        ("Who teaches the class?", "person", "The class is given by Ada.", "The class is long."),
        ("How heavy is it?", "weight", "It weighs 3 kg.", "It has 3 buttons."),
        ("What's your phone number?", "telephone", "Ring 0555 0142.", "Ring the bell 3 times."),
        ("What is the wifi password?", "password", "The password is on the wall.", "The wifi is fast."),
        ("How often is it cleaned?", "frequency", "It is cleaned every week.", "It is clean."),
        ("How long does it take?", "span", "It takes three weeks.", "It takes courage."),
        ("How many seats are there?", "number", "There are thirty seats.", "There are seats."),
        ("Where is the key?", "place", "It hangs behind the door.", "It is a key."),
    ],
)
def test_the_kind_of_answer(question: str, kind: str, yes: str, no: str) -> None:
    assert asked(question) == kind
    assert holds(yes, kind)
    assert not holds(no, kind)


def test_follow_ups() -> None:
    before = "How much is a tent pitch in August?"
    assert joined("And in May?", before) == "And in May? (tent pitch August)"
    assert joined("How much?", before) == "How much? (tent pitch August)"
    assert joined("Is it open?", before) == "Is it open? (tent pitch August)"
    for alone in ("Can I bring my dog to the beach?", "Hello", "Thank you"):
        assert joined(alone, before) == alone
    assert joined("Why?", "") == "Why?"


def test_a_pronoun_brings_its_sentence_along() -> None:
    made = Passage("a", "line", (), (Sentence("Dogs are welcome.", 3), Sentence("They sleep outside.", 4)))
    assert [[sentence.line for sentence in found] for found in quotations(made)] == [[3], [3, 4]]


def test_a_large_folder_takes_seconds(tmp_path: Path) -> None:
    """20,000 lines; a guard against what grows faster than its input, not a timing."""
    row = "The {} of row {} costs {} euros and is sent on day {}.\n"
    text = "".join(row.format("ab" * (n % 5 + 1), n, n * 7, n % 31) for n in range(20_000))
    (tmp_path / "large.txt").write_text(text)
    found, _ = told(tmp_path)
    assert sum(len(passage.sentences) for passage in found["large.txt"]) == 20_000
    assert os.path.getsize(tmp_path / "large.txt") > 1_000_000

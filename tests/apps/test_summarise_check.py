"""What is planted in a sentence is found, and what stands in the source is let through."""

from __future__ import annotations

import random
import re

import pytest

from likely.apps.summarise.check import Source
from likely.apps.summarise.number import numbers, readings
from likely.apps.summarise.sentence import split
from tests.apps.texts import TALE

SOURCE = Source(TALE, split(TALE))

TRUE = [
    "John Barker was twenty-one years old in 1903.",
    "John Barker, 21, walked 12.5 km to Marl.",
    "The eldest of three sons sold forty sacks of flour for £3.20 each in Marl.",
    "He gave the baker no credit, and sold 40 sacks of flour.",
    "In June, the river rose by two metres and the mill stood under water.",
    "After the flood, Oxley's mill was closed for 6 weeks.",
    "Barker carried flour to a church on the hill, and the baker helped him.",
    "The mill of Oxley has never been flooded since.",
]

PLANTED = [
    ("John Barker was twenty-two years old in 1903.", "number"),
    ("John Barker was twenty-one years old in 1904.", "number"),
    ("He walked 12.6 km to the town of Marl every Monday.", "number"),
    ("He walked 125 km to the town of Marl every Monday.", "number"),
    ("The miller of Oxley had four sons.", "number"),
    ("He sold a dozen sacks of flour for £3.20 each.", "number"),
    ("He sold hundreds of sacks of flour for £3.20 each.", "number"),
    ("The mill was closed for half the six weeks after the flood.", "number"),
    ("The river rose by -2 metres and the mill stood under water.", "number"),
    ("He walked 12.5 miles to the town of Marl every Monday.", "unit"),
    ("He sold 40 sacks of flour for $3.20 each.", "unit"),
    ("After the flood the mill was closed for six months.", "unit"),
    ("The river rose by 2 metres per hour and the mill stood under water.", "unit"),
    ("The miller of Oxford had three sons.", "name"),
    ("James Barker carried the flour to the church on the hill.", "name"),
    ("John Oxley carried the flour to the church on the hill.", "name"),
    ("He walked to the town of Marl every Friday.", "name"),
    ("In July the river rose by 2 metres and the mill stood under water.", "name"),
    ("Napoleon carried the flour to the church on the hill.", "name"),
    ("The baker came with a cart from Paris and helped him until the night.", "name"),
    ("He gave the baker credit.", "negation"),
    ("Since then the mill of Oxley has been flooded again.", "negation"),
    ("After the flood the mill was not closed for six weeks.", "negation"),
    ("The sons did not rebuild the mill with stones from the old bridge.", "negation"),
    ("The factory produces electronic goods for export.", "unlike"),
    ("The sons rebuilt the mill with stones from the", "unfinished"),
]


@pytest.mark.parametrize("sentence", [sentence.text for sentence in SOURCE.sentences] + TRUE)
def test_what_the_source_says_is_let_through(sentence: str) -> None:
    assert SOURCE.problems(sentence) == ()


@pytest.mark.parametrize(("sentence", "kind"), PLANTED)
def test_what_was_planted_is_found(sentence: str, kind: str) -> None:
    assert kind in {problem.kind for problem in SOURCE.problems(sentence)}


def test_problems_say_what_is_wrong() -> None:
    [problem] = SOURCE.problems("He walked 12.5 miles to the town of Marl every Monday.")
    assert str(problem) == "'12.5' is of kilometre in the source, not of mile"
    [problem] = SOURCE.problems("He gave the baker credit.")
    assert str(problem) == "line 3-4 of the source says of 'baker' the opposite"


def test_a_headline_needs_no_full_stop_and_may_have_capitals() -> None:
    assert SOURCE.problems("Sons Rebuilt the Mill With Stones From the Old Bridge", finished=False) == ()
    assert SOURCE.problems("Sons Rebuilt the Mill With Napoleon", finished=False)[0].kind == "name"


def test_people_of_a_place() -> None:
    source = Source("Germany, Italy and Japan met in the U.S. Peter J. Miller wrote it down.", [])
    for word in ("German", "Italian", "Japanese", "Germans", "US", "U.S."):
        assert source.problems(f"The {word} paper.", finished=False) == (), word
    for word in ("French", "Austrian", "UK"):
        assert source.problems(f"The {word} paper.", finished=False)[0].kind == "name", word
    assert source.problems("It was written by Peter Miller.") == ()
    assert source.problems("It was written by Miller Peter.") != ()


@pytest.mark.parametrize(
    ("text", "values", "unit"),
    [
        ("1,234.5 km", {1234.5}, "kilometre"), ("1.234", {1.234, 1234.0}, ""), ("1,5 %", {1.5}, "percent"),
        ("12 per cent", {12.0}, "percent"), ("two hundred and fifty", {250.0}, ""), ("a dozen", {12.0}, ""),
        ("$3bn", {3e9}, "dollar"), ("3 million people", {3e6}, ""), ("5 m", {5.0}, "metre"), ("half", {0.5}, ""),
        ("4.6 meters per hour", {4.6}, "metre/hour"), ("3 m/s", {3.0}, "metre/second"), ("-5 °C", {-5.0}, "degree"),
        ("one hundred thousand", {1e5}, ""), ("ninety-nine", {99.0}, ""), ("12-year-old", {12.0}, "year"),
        ("1 234 567", {1234567.0}, ""), ("five thousand two hundred and one", {5201.0}, ""), ("007", {7.0}, ""),
    ],
)  # fmt: skip
def test_numbers(text: str, values: set[float], unit: str) -> None:
    [found] = numbers(text)
    assert found.values == values
    assert found.unit == unit
    assert found.kind == "count"


def test_several_numbers_and_none() -> None:
    assert [sorted(one.values) for one in numbers("On 2024-03-01 at 10:30, three of five")] == [
        [2024.0], [3.0], [1.0], [10.0], [30.0], [3.0], [5.0],
    ]  # fmt: skip
    assert [one.kind for one in numbers("the 21st, twenty-first, third and thousands")] == ["order"] * 3 + ["thousands"]
    assert numbers("the first one said no to both, once a second") == []
    assert numbers("v2 and A4 and x.5y") == []
    assert readings("192.168.0.1") != readings("192.168.0.2")
    assert numbers("9" * 400)[0].values


def test_no_number_or_name_that_was_put_in_passes() -> None:
    """Every sentence of the tale that has a number or a name, with each of them in turn changed for one it has not."""
    draw = random.Random(0)
    foreign = ["Zurich", "Petersen", "Quentin", "Orwell", "Smith", "Berlin"]
    planted = []
    for sentence in (one.text for one in SOURCE.sentences):
        for match in re.finditer(r"\d+(?:\.\d+)?", sentence):
            number = str(draw.randint(50, 9999) + 0.7)
            planted.append((sentence[: match.start()] + number + sentence[match.end() :], "number"))
        for word in ("three", "six", "twenty-one"):
            if word in sentence:
                planted.append((sentence.replace(word, "seventeen"), "number"))
        for match in re.finditer(r"(?<=[a-z] )[A-Z][a-z]+", sentence):
            planted.append((sentence[: match.start()] + draw.choice(foreign) + sentence[match.end() :], "name"))
        words = sentence.split()
        at = draw.randrange(1, len(words))
        planted.append((" ".join([*words[:at], draw.choice(foreign), *words[at:]]), "name"))
        planted.append((" ".join([*words[:at], "7,412", *words[at:]]), "number"))
    assert len(planted) > 30
    missed = [text for text, kind in planted if kind not in {one.kind for one in SOURCE.problems(text)}]
    assert missed == []


@pytest.mark.parametrize("run", [".", ". ", " ", "\n", "\n  ", '"', "1,", "A.", "a-", '!"', "minus ", "(", "'"])
def test_endless_runs_cost_no_more_than_their_length(run: str) -> None:
    text = "Oxley has 3 mills" + run * 50_000 + " and 40 sacks."
    source = Source(text, split(text))  # a quadratic pattern takes minutes here
    assert "number" in {one.kind for one in source.problems("Oxley has 77 mills.")}

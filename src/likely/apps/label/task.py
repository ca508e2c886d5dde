"""What is asked of a text: the labels, what they mean, a few examples, and the words of the question.

    Text: I loved every minute of it.             examples, the same before every text
    Sentiment: positive

    Text: The lamp broke on the second day.       the text
    Sentiment:                                    and how likely is " negative" here?

A small language model answers a question badly and goes on with a pattern well (Brown et al. 2020, arXiv:2005.14165;
Min et al. 2022, arXiv:2202.12837): hence a pattern, whatever the labels. It leans to some of them whatever the text,
and more so to those of few tokens: that is what calibration removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likely.apps.label.reading import Ending
from likely.errors import DataError, OptionError

MOST_LABELS, LONGEST_LABEL, LONGEST_TEXT = 200, 100, 400  # labels; characters of one, of a description or an example
Example = tuple[str, str]  # a text and its label


@dataclass(frozen=True)
class Task:
    """`labels`, at least two; a description of each, "" = none; `question`: the word before a label; `examples`, each
    (text, label), shown before every text."""

    labels: tuple[str, ...]
    descriptions: tuple[str, ...] = ()
    question: str = "Label"
    examples: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "descriptions", tuple(self.descriptions) or ("",) * len(self.labels))
        object.__setattr__(self, "examples", tuple((text, label) for text, label in self.examples))
        check_labels(self.labels)
        if len(self.descriptions) != len(self.labels):
            raise OptionError(f"{len(self.descriptions)} descriptions were given for {len(self.labels)} labels.")
        unknown = {label for _, label in self.examples} - set(self.labels)
        if unknown:
            raise OptionError(f"An example has the label {min(unknown)!r}, which is none of {', '.join(self.labels)}.")

    @property
    def beginning(self) -> str:
        """What stands before every text."""
        told = [f"- {label}: {text}" for label, text in zip(self.labels, self.descriptions, strict=True) if text]
        lines = ["Labels: " + ", ".join(self.labels) + "."] if self.question == "Label" else []
        lines += told
        shown = [f"Text: {flat(text)}\n{self.question}: {label}\n" for text, label in self.examples]
        return "\n".join([*lines, *([""] if lines else []), *shown, ""]) if lines or shown else ""

    @property
    def ending(self) -> Ending:
        """What stands behind it, and the answers."""
        return Ending(f"\n{self.question}:", tuple(f" {label}" for label in self.labels))

    def show(self, examples: Iterable[Example]) -> Task:
        """The same task with these examples."""
        shown = tuple((flat(text)[:LONGEST_TEXT], label) for text, label in examples)
        return Task(self.labels, self.descriptions, self.question, shown)

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "labels": list(self.labels), "descriptions": list(self.descriptions), "question": self.question,
            "examples": [list(example) for example in self.examples],
        }  # fmt: skip

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Task:
        """What `state` gave. Raises TypeError or ValueError where it is something else."""
        shown = [text for pair in state["examples"] for text in pair]
        texts = [*state["labels"], *state["descriptions"], state["question"], *shown]
        if not all(isinstance(text, str) and len(text) <= 4 * LONGEST_TEXT for text in texts):
            raise ValueError("its task is not made of texts")
        examples = tuple((str(text), str(label)) for text, label in state["examples"])
        return cls(tuple(state["labels"]), tuple(state["descriptions"]), state["question"], examples)


def check_labels(labels: Sequence[str]) -> None:
    """Raises OptionError unless these are two labels or more, all different, none empty or endless."""
    if isinstance(labels, str):
        raise OptionError(f"labels={labels!r}: give a list of at least two labels.")
    bad = [label for label in labels if not isinstance(label, str) or not label.strip() or len(label) > LONGEST_LABEL]
    if bad:
        raise OptionError(f"{str(bad[0])[:60]!r} is no label: a label is a text of 1 to {LONGEST_LABEL} characters.")
    if any("\n" in label for label in labels):
        raise OptionError("A label has one line.")
    if len({label.strip().lower() for label in labels}) < len(labels):
        raise OptionError(f"Two labels are the same: {', '.join(labels)[:200]}.")
    if len(labels) < 2:
        only = f" (only {labels[0]!r} was given)" if labels else ""
        raise OptionError(f"At least two labels are needed to choose between{only}.")
    if len(labels) > MOST_LABELS:
        raise OptionError(f"{len(labels)} labels were given; at most {MOST_LABELS} can be told apart.")


def task_of(labels: Sequence[str] | Mapping[str, str]) -> Task:
    """A task of labels, or of labels and descriptions; that of sentiment where they are positive and negative."""
    names = list(labels)
    check_labels(labels if isinstance(labels, str) else names)
    if {name.lower() for name in names} == {"positive", "negative"}:
        own = {name.lower(): name for name in names}
        examples = tuple((text, own[label]) for text, label in SENTIMENT.examples)
        return Task(tuple(names), (), SENTIMENT.question, examples)
    described = tuple(flat(labels[name])[:LONGEST_TEXT] for name in names) if isinstance(labels, Mapping) else ()
    return Task(tuple(names), described)


def flat(text: str) -> str:
    """A text on one line. Raises DataError where there is none."""
    if not isinstance(text, str):
        raise DataError(f"A text is wanted, got {type(text).__name__}.")
    return " ".join(text.split())


SENTIMENT = Task(
    ("positive", "negative"), (), "Sentiment",
    (
        ("I loved every minute of it.", "positive"),
        ("The service was slow and the food was cold.", "negative"),
        ("Nothing works as promised, a waste of money.", "negative"),
        ("What a wonderful day, thank you all!", "positive"),
        ("The senator's plan would hurt the poorest families.", "negative"),
        ("Great picture, easy to set up, and it has never let me down.", "positive"),
        ("The new law is a welcome step forward.", "positive"),
        ("Ugh, missed my bus again and now it rains.", "negative"),
    ),
)  # fmt: skip

# Balanced, of several kinds: what the model's lean towards a label is measured on where nothing else is given.
ORDINARY = (
    "The hotel room was clean and quiet, and the staff helped us with everything.",
    "The hotel room was dirty and loud, and the staff ignored us.",
    "A moving film with two superb actors.", "A tedious film with two wooden actors.",
    "The battery lasts all week.", "The battery died after a day.",
    "My phone arrived early and works fine.", "My phone arrived broken and they refuse to refund it.",
    "Unemployment fell again, and wages are rising.", "Unemployment rose again, and wages are falling.",
    "The agreement ends years of bloodshed.", "The attack killed dozens of civilians.",
    "Passed my exam, so happy!", "Failed my exam, so sad.",
    "Happy birthday to the best sister in the world.", "I have a headache and I hate Mondays.",
    "The judge protected the rights of the accused.", "The judge lied about his income.",
    "It is easy to use and well worth the price.", "It is hard to use and not worth the price.",
    "She is honest, generous and brave.", "He is vain, greedy and cruel.",
    "The soup was delicious.", "The soup tasted of soap.",
)  # fmt: skip
EMPTY = ("N/A", "...", "-", "text", "See above.", "No text.")  # says nothing: Zhao et al. 2021, arXiv:2102.09690

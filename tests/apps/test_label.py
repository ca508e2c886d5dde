"""Labels: laws of calibration, reading against the network itself, learning, storing, and everything that can be
wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from likely import artifact
from likely.apps.label import SENTIMENT, Labeller, Task, measures
from likely.apps.label.calibration import calibration_error, coverage, fit_scale, remove_prior, softmax
from likely.apps.label.head import stratified
from likely.apps.label.reading import Ending, Reader
from likely.apps.label.task import ORDINARY
from likely.errors import ArtifactError, DataError, LikelyError, Mismatch, OptionError
from tests.apps.texts import sorted_texts, toy
from tests.language import decode_toys

# ------------------------------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("wanted", [None, np.array([0.6, 0.3, 0.1])])
def test_without_its_prior_a_model_gives_labels_in_the_wanted_shares(wanted: np.ndarray | None) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 3)) * 3 + np.array([0.0, -8.0, 5.0])
    bias = remove_prior(scores, wanted)
    shares = np.full(3, 1 / 3) if wanted is None else wanted
    assert softmax(scores + bias).mean(0) == pytest.approx(shares, abs=1e-6)
    assert bias.sum() == pytest.approx(0, abs=1e-9)
    assert remove_prior(scores + np.array([7.0, 0, 0]), wanted) == pytest.approx(
        bias - np.array([7.0, 0, 0]) + 7 / 3, abs=1e-5
    )


def drawn(n: int, K: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and labels drawn with the probabilities that they mean."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, K)) * 2
    labels = np.array([rng.choice(K, p=row) for row in softmax(scores)])
    return scores, labels


@pytest.mark.parametrize("K", [2, 4])
def test_scores_that_are_too_sure_become_probabilities(K: int) -> None:
    scores, labels = drawn(3000, K, 0)
    crooked = 4 * scores + np.arange(K)
    slope, bias = fit_scale(crooked, labels)
    assert slope == pytest.approx(0.25, rel=0.1)
    unseen, truth = drawn(3000, K, 1)
    p = softmax(slope * (4 * unseen + np.arange(K)) + bias)
    assert calibration_error(p, truth) < 0.03 < 0.1 < calibration_error(softmax(4 * unseen + np.arange(K)), truth)
    assert np.abs(p - softmax(unseen)).max() < 0.1


def test_calibration_error_of_a_known_case() -> None:
    p = np.full((100, 2), [0.8, 0.2])
    assert calibration_error(p, np.repeat([0, 1], 50), groups=1) == pytest.approx(0.3)
    assert calibration_error(p, np.repeat([0, 1], [80, 20]), groups=1) == pytest.approx(0.0)


@pytest.mark.parametrize("sure", [0.7, 0.9, 0.95])
def test_answers_that_are_sure_are_right_as_often(sure: float) -> None:
    scores, labels = drawn(4000, 2, 2)
    p = softmax(scores)
    answered, right = coverage(p, labels, sure)
    assert answered == (p.max(1) >= sure).mean()
    assert right >= sure
    assert coverage(p, labels, 0.0)[0] == 1
    assert np.isnan(coverage(p * 0 + 0.5, labels, 0.9)[1])


def test_folds_spread_every_label() -> None:
    labels = np.repeat([0, 1, 2], [50, 9, 5])
    folds = stratified(labels, 5, np.random.default_rng(0))
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1


# ----------------------------------------------------------------------------------------------------- reading


def test_reading_together_is_reading_alone() -> None:
    """Beginnings shared, padding, several endings, words of several tokens: as the network says of each text whole."""
    checkpoint = toy()
    network, encode = checkpoint.network, checkpoint.tokenizer.encode
    endings = [Ending("\nA:", (" yes", " not at all")), Ending(" It was", (" good", " the", " x"))]
    texts = ["a", "the cat and the dog", "another one, much longer than those before it", "12 and 13"]
    found = Reader(checkpoint, "Begin the list.\n", endings, layers=[1, 2]).read(texts, "Text: ")
    head = encode("Begin the list.\n")
    for at, text in enumerate(texts):
        own = encode("Text: " + text)
        for s, ending in enumerate(endings):
            tail = encode(ending.text)
            for k, word in enumerate(ending.words):
                ids = head + own + tail + encode(word)
                with torch.no_grad():
                    each = network.logits(network(torch.tensor([ids])))[0].log_softmax(-1)
                start = len(head + own + tail)
                whole = sum(float(each[place - 1, ids[place]]) for place in range(start, len(ids)))
                assert found.logp[s][at, k] == pytest.approx(whole, abs=2e-4)
        with torch.no_grad():
            h = network.blocks[0](network.embed(torch.tensor([head + own])), *turn(network, len(head + own)), None, 0)
        assert found.mean[at, 0] == pytest.approx(h[0, len(head) :].mean(0).numpy(), abs=2e-4)
    assert found.last.shape == (2, 4, 2, 32)
    assert found.cut == 0


def turn(network, length):
    """Rotations of the first `length` steps, and no mask."""
    from likely.nn.rope import angles

    return angles(network.arch.rope, network.arch.head, torch.arange(length)[None], torch.float32), None


def test_a_long_text_is_read_at_both_ends() -> None:
    reader = Reader(toy(), "", [Ending("?", (" a",))])
    long = "begin " + "x" * 3000 + " end"
    read = reader.read([long, "short"])
    assert read.cut == 1
    half = reader.room // 2
    ends = toy().tokenizer.decode(toy().tokenizer.encode(long)[: reader.room - half]) + long[-half:]
    assert reader.read([ends]).logp[0][0, 0] == pytest.approx(read.logp[0][0, 0], abs=1e-3)
    labeller = Labeller.zero_shot(["a", "b"], ["text"] * 20, model=toy())
    labeller.label([long])
    assert "Of 1 text only the beginning and the end were read" in labeller.notes[0]


def test_what_leaves_no_room_is_said() -> None:
    task = Task(("a", "b"), examples=tuple(("long " * 70, "a") for _ in range(4)))
    with pytest.raises(OptionError, match="nothing is left for the text"):
        Labeller.zero_shot(task, model=toy())


# ---------------------------------------------------------------------------------------------------- learning


@pytest.fixture(scope="module")
def learned() -> Labeller:
    texts, labels = sorted_texts(60)
    return Labeller.fit(texts, labels, model=toy())


def test_it_learns_from_examples(learned: Labeller) -> None:
    texts, labels = sorted_texts(80, seed=1)
    found = learned.test(texts, labels)
    assert found["accuracy"] >= 0.95
    assert found["auroc"] >= 0.98
    assert learned.about["unseen"]["accuracy"] >= 0.9
    assert learned.about["examples"] == 60


def test_shown_examples_are_not_learned_from(learned: Labeller) -> None:
    shown = learned.task.examples
    assert 2 <= len(shown) <= 8
    assert {label for _, label in shown} == {"digits", "words"}
    assert learned.about["unseen"]["texts"] == 60 - len(shown)


def test_unsure_texts_stay_without_a_label(learned: Labeller) -> None:
    texts, _ = sorted_texts(30, seed=2)
    texts += ["1a", "b2 c3"]
    frame = learned.label(texts, sure=0.9)
    assert frame.columns == ["label", "probability", "p:digits", "p:words"]
    assert (frame["label"].is_null() == (frame["probability"] < 0.9)).all()
    assert np.allclose(frame["p:digits"] + frame["p:words"], 1)
    assert learned.label(texts)["label"].null_count() == 0
    assert learned.label([]).shape == (0, 4)


def test_same_seed_same_labeller(learned: Labeller) -> None:
    texts, labels = sorted_texts(60)
    again = Labeller.fit(texts, labels, model=toy())
    new = sorted_texts(10, seed=3)[0]
    assert np.array_equal(again.probabilities(new), learned.probabilities(new))


def test_more_than_two_labels_and_rare_ones() -> None:
    texts, labels = sorted_texts(40)
    texts, labels = [*texts, "Q!", "R! S!", "Q! Q!"], [*labels, "cry", "cry", "cry"]
    made = Labeller.fit(texts, labels, descriptions={"cry": "letters with a bang"}, model=toy())
    assert made.labels == ("cry", "digits", "words")
    assert "- cry: letters with a bang" in made.task.beginning
    assert made.probabilities(["S! Q!", "12 34"]).shape == (2, 3)
    assert made.test(["12 34 5"], ["digits"])["auroc"] is None


def test_the_lean_of_a_model_is_removed_on_texts_of_the_kind() -> None:
    texts, _ = sorted_texts(40)
    made = Labeller.zero_shot({"digits": "numbers", "a few words": ""}, texts, model=toy())
    assert made.probabilities(texts).mean(0) == pytest.approx([0.5, 0.5], abs=1e-5)
    assert made.notes == []
    uneven = Labeller.zero_shot(["digits", "words"], texts, model=toy(), shares={"digits": 0.8, "words": 0.2})
    assert uneven.probabilities(texts).mean(0) == pytest.approx([0.8, 0.2], abs=1e-5)


def test_without_unlabelled_texts_it_is_said_what_the_lean_was_measured_on() -> None:
    made = Labeller.sentiment(model=toy(1024))
    assert made.task == SENTIMENT
    assert "sentences of our own" in made.notes[0]
    made.offset = 2 * made.offset  # half of the lean is removed: these sentences are of another kind than the texts
    assert made.probabilities(ORDINARY).mean(0) == pytest.approx([0.5, 0.5], abs=1e-5)
    assert "say nothing" in Labeller.zero_shot(["a", "b"], ["one"], model=toy()).notes[0]


def test_positive_and_negative_are_the_task_of_sentiment() -> None:
    texts, labels = sorted_texts(30)
    names = {"digits": "Negative", "words": "Positive"}
    made = Labeller.fit(texts, [names[label] for label in labels], model=toy(1024))
    assert made.task.question == "Sentiment"
    assert ("I loved every minute of it.", "Positive") in made.task.examples
    assert made.about["unseen"]["texts"] == 30


def test_measures_of_a_known_case() -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    found = measures(p, np.array([0, 0, 1, 1]))
    assert found["accuracy"] == 0.75
    assert found["f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert found["auroc"] == 1.0


# ----------------------------------------------------------------------------------------------------- storing


def test_saved_and_loaded_it_says_the_same(learned: Labeller, tmp_path: Path) -> None:
    new = sorted_texts(10, seed=3)[0]
    for number, made in enumerate([learned, Labeller.zero_shot(["digits", "words"], new * 2, model=toy())]):
        path = made.save(tmp_path / f"{number}.labels")
        again = Labeller.load(path, model=toy())
        assert np.array_equal(again.probabilities(new), made.probabilities(new))
        assert str(again) == str(made)


def test_a_file_is_checked_before_it_is_believed(learned: Labeller, tmp_path: Path) -> None:
    path = learned.save(tmp_path / "my.labels")
    card, tensors = artifact.read(path)
    wrong = [
        (card | {"task": {"labels": ["a"]}}, tensors),
        (card | {"task": card["task"] | {"question": 3}}, tensors),
        (card | {"slope": "steep"}, tensors),
        (card, {name: value for name, value in tensors.items() if name != "head.bias"}),
        (card, tensors | {"head.bias": torch.zeros(3)}),
        (card, tensors | {"offset": torch.full((2,), float("nan"))}),
        (card, tensors | {name: tensors[name][..., :9] for name in ("head.middle", "head.spread", "head.weight")}),
        (card | {"app": "monitor"}, tensors),
    ]
    for number, (own, arrays) in enumerate(wrong):
        artifact.write(tmp_path / f"{number}.labels", own, {k: v.contiguous() for k, v in arrays.items()})
        with pytest.raises(ArtifactError):
            Labeller.load(tmp_path / f"{number}.labels", model=toy())
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match="damaged"):
        Labeller.load(path, model=toy())


def test_another_checkpoint_is_refused(learned: Labeller, tmp_path: Path) -> None:
    path = learned.save(tmp_path / "my.labels")
    other = replace(decode_toys.checkpoint(seed=4, context=768, layers=3), source="elsewhere")
    with pytest.raises(Mismatch, match="is another model"):
        Labeller.load(path, model=other)
    with pytest.raises(LikelyError, match="toy"):  # it was nowhere on disk
        Labeller.load(path)


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("texts", "labels", "wanted"),
    [
        (["a"] * 20, ["x"] * 20, "At least two labels"),
        (["a"] * 20, ["x"] * 19 + ["y"], "'y' has one example"),
        (["a"] * 20, ["x"] * 19, "20 texts need"),
        (["a"] * 19 + [" "], ["x", "y"] * 10, "Number 20 of the examples is empty"),
        (["a"] * 5, ["x", "y", "x", "y", "x"], "at least 8"),
        (["a"] * 20, ["x", "y"] * 9 + ["x", None], "Example 20 has no label"),
        (["a"] * 20, ["x", "X"] * 10, "Two labels are the same"),
        ("a text", "xy", "got one text"),
    ],
)
def test_examples_that_cannot_be_learned_from(texts: list[str], labels: list[str], wanted: str) -> None:
    with pytest.raises(LikelyError, match=wanted):
        Labeller.fit(texts, labels, model=toy())


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (["one"], "only 'one'"),
        ([], "At least two"),
        (["a", ""], "no label"),
        (["a", "b" * 101], "no label"),
        (["a", "b\nc"], "one line"),
        ("positive", "list of at least two"),
        ([str(number) for number in range(201)], "at most 200"),
    ],
)
def test_labels_that_are_none(labels: list[str], wanted: str) -> None:
    with pytest.raises(OptionError, match=wanted):
        Labeller.zero_shot(labels, model=toy())


def test_other_wishes_that_make_no_sense(learned: Labeller) -> None:
    with pytest.raises(OptionError, match="sure=1"):
        learned.label(["a"], sure=1.0)
    with pytest.raises(DataError, match="Number 2 of the texts is empty"):
        learned.label(["a", "  "])
    with pytest.raises(Mismatch, match="'other' is none of digits, words"):
        learned.test(["a"], ["other"])
    for shares in ({"a": 0.5}, {"a": 0.7, "b": 0.7}, {"a": 1.0, "b": 0.0}):
        with pytest.raises(OptionError, match="share"):
            Labeller.zero_shot(["a", "b"], model=toy(), shares=shares)
    with pytest.raises(OptionError, match="is described"):
        Labeller.fit(["a", "b"] * 10, ["x", "y"] * 10, descriptions={"z": "?"}, model=toy())
    with pytest.raises(OptionError, match="none of"):
        Task(("a", "b"), examples=(("text", "c"),))

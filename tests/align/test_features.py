"""What rewards look at: words, vectors, a generator's steps, a language model's states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from likely.align.features import SHAPE, Raw, Scaling, Vectors, Words, directions, shapes, spoken
from likely.align.preference import Candidate
from likely.errors import DataError, Mismatch, Unsupported


def test_shapes_say_how_a_text_is_made() -> None:
    found = dict(zip(SHAPE, shapes(["Red cats. Red cats. Red cats."], ["Which cats?"])[0], strict=True))
    assert found["characters"] == pytest.approx(np.log(30))
    assert found["words"] == pytest.approx(np.log(7))
    assert found["sentences"] == pytest.approx(np.log(4))
    assert found["different words"] == pytest.approx(2 / 6)
    assert found["repeated triples"] == pytest.approx(0.5)
    assert found["ends a sentence"] == 1
    assert found["words from the prompt"] == 0.5
    assert found["words of the prompt used"] == 0.5
    assert found["begins with a capital"] == 1


def test_an_empty_text_has_a_shape() -> None:
    assert np.isfinite(shapes(["", "!"], ["", "What?"])).all()


def test_texts_come_in_several_forms() -> None:
    talk = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    assert spoken(["So.", ("Why?", "So."), talk, {"prompt": "Why?", "answer": "So."}]) == (
        ["So."] * 4, ["", "Why?", "Why?", "Why?"],
    )  # fmt: skip
    assert spoken(["So."], [talk[:1]])[1] == ["Why?"]
    for wrong in ("one text", [7], [None]):
        with pytest.raises(DataError, match="text"):
            spoken(wrong)
    with pytest.raises(DataError, match="as many prompts"):
        spoken(["a"], ["b", "c"])


def test_words_are_hashed_alike_each_time() -> None:
    words = Words()
    one, other = words.read(["a red cat", "a blue dog"]), words.read(["a blue dog"])
    assert one.wide.shape == (2, words.sizes[1])
    assert one.numbers.shape == (2, words.sizes[0])
    assert (one.wide[[1]] != other.wide).nnz == 0
    with pytest.raises(Unsupported, match="image/png"):
        words.take([Candidate(b"x", "image/png")], [None])


def test_rows_of_tfidf_have_length_1_and_unknown_words_none() -> None:
    words = Words()
    scaling = Scaling.learn(words.read(["a red cat", "a blue dog", "one more"]))
    wide = scaling.wide(words.read(["a red cat", "", "zzzz"]))
    size = np.sqrt(np.asarray(wide.multiply(wide).sum(1)).ravel())
    assert size == pytest.approx([1, 0, 0])


def test_numbers_are_standardised_and_held_in_bounds() -> None:
    x = np.random.default_rng(0).normal(3, 5, (50, 4))
    x[:, 3] = 7
    scaling = Scaling.learn(Raw(x, None))
    z = scaling.numbers(Raw(x, None))
    assert z[:, :3].mean(0) == pytest.approx(0, abs=1e-9)
    assert z[:, :3].std(0) == pytest.approx(1)
    far = scaling.numbers(Raw(np.full((1, 4), 1e9), None))
    assert np.abs(far).max() <= 8
    assert far[0, 3] == 0


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_directions_are_orthonormal_and_hold_most(kind: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 40))
    basis = directions(sparse.csr_array(x) if kind == "sparse" else x)
    assert len(basis) == 3
    assert basis @ basis.T == pytest.approx(np.eye(3), abs=1e-9)
    assert x @ basis.T @ basis == pytest.approx(x, abs=1e-8)


def test_vectors_must_be_vectors() -> None:
    vectors = Vectors()
    rows, _ = vectors.take([Candidate(b"[1, 2]", "application/json"), Candidate(b"[3, 4.5]", "application/json")], [])
    assert vectors.read(rows).numbers.tolist() == [[1, 2], [3, 4.5]]
    assert vectors.sizes == (2, 0)
    with pytest.raises(Mismatch, match="2 numbers"):
        vectors.read(torch.zeros(1, 3))
    with pytest.raises(DataError, match="finite"):
        vectors.read([[1.0, float("nan")]])
    with pytest.raises(DataError, match="list of numbers"):
        vectors.take([Candidate(b'{"a": 1}', "application/json")], [])
    with pytest.raises(DataError, match="different lengths"):
        vectors.take([Candidate(b"[1]", "application/json"), Candidate(b"[1, 2]", "application/json")], [])


def test_a_candidate_of_several_messages_is_its_text() -> None:
    talk = b'[{"role": "assistant", "content": "So."}, {"role": "user", "content": "No."}]'
    assert Words().take([Candidate(talk, "application/json")], [None])[0] == ["So.\nNo."]
    for other in (b'{"town": "Ulm"}', b"[]", b"[1]", b"{"):
        with pytest.raises(Unsupported, match="application/json"):
            Words().take([Candidate(other, "application/json")], [None])

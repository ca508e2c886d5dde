"""Agreement: textbook values, and warnings that say what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from likely.align import exchange
from likely.align.agreement import alpha, measure, wilson
from likely.align.preference import Comparison, Judgements
from tests.align.judged import data, item, say

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), the example of four observers and twelve units.
FOUR = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def test_alpha_of_krippendorffs_examples() -> None:
    units = [[vote for vote in column if vote is not None] for column in zip(*FOUR, strict=True)]
    assert alpha(units) == pytest.approx(0.743, abs=5e-4)
    # The same source: two observers, ten binary units, 14 of 20 values "0".
    a, b = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert alpha(zip(a, b, strict=True)) == pytest.approx(0.095, abs=5e-4)


def test_alpha_by_hand() -> None:
    # Units (x, x), (x, y), (y, y): n = 6, D_o = 2/6, n_x = n_y = 3, D_e = 18/30.
    assert alpha(["xx", "xy", "yy"]) == pytest.approx(1 - (2 / 6) / (18 / 30))
    assert alpha(["xx", "yy"]) == 1
    assert alpha(["xy", "yx"]) == pytest.approx(1 - 1 / (8 / 12))
    assert alpha(["xx", "yy", "z"]) == 1  # one vote alone says nothing


def test_alpha_without_variation_or_without_company_has_no_value() -> None:
    assert alpha(["xx", "xxx"]) is None
    assert alpha(["x", "y"]) is None
    assert alpha([]) is None


def test_votes_at_random_have_an_alpha_of_nothing() -> None:
    rng = np.random.default_rng(0)
    assert abs(alpha(rng.integers(0, 3, (3000, 3)).tolist()) or 1) < 0.03


def test_wilson_by_hand() -> None:
    share = wilson(8, 10)  # (0.8 + 0.19207 -+ 1.96 sqrt(0.016 + 0.0096036)) / 1.38415
    assert (share.low, share.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 5).low == 0
    assert wilson(5, 5).high == 1
    assert np.isnan(wilson(0, 0).share)


def test_sides_do_not_matter_for_agreement() -> None:
    items = [item(f"i{k}") for k in range(12)]
    rows: list[Comparison] = []
    for k, one in enumerate(items):  # ann and bob always want the same; it stands on the other side for bob
        good = k % 2
        rows.append(say(one, ("left", "right")[good], "ab"))
        rows.append(say(one, ("right", "left")[good], "ba", by="bob"))
    made = measure(Judgements(tuple(items), tuple(rows)))
    assert made.alpha == 1
    assert made.observed == 1
    assert made.several == 12
    assert made.decisive.share == 1
    assert made.left.share == 0.5


def test_undone_and_repeated_showings_are_no_votes_of_their_own() -> None:
    q = item()
    one, wrong = say(q, "left"), say(q, "right", by="bob")
    right = say(q, "left", by="bob")
    again = say(q, "right", repeats=one.id)
    made = measure(Judgements((q,), (one, wrong, right, again, wrong.taken_back())))
    assert made.observed == 1
    assert made.units == made.several == 1


def test_self_agreement_over_repeats_and_exchanged_sides() -> None:
    items = [item(f"i{k}") for k in range(4)]
    first = [say(one, "left", "ab") for one in items]
    again = [
        say(items[0], "left", "ab", repeats=first[0].id),  # same
        say(items[1], "right", "ab", repeats=first[1].id),  # changed
        say(items[2], "right", "ba", repeats=first[2].id),  # same, sides exchanged
        say(items[3], "left", "ba", repeats=first[3].id),  # followed the side
    ]
    made = measure(Judgements(tuple(items), (*first, *again)))
    assert (made.itself.share, made.itself.of) == (0.5, 4)
    assert (made.swapped.share, made.swapped.of) == (0.5, 2)
    assert made.annotators[0].itself.of == 4


def test_a_ranking_votes_on_all_its_pairs() -> None:
    q = item("q", "abc")
    one = say(q, "ranking", "abc", ranking=((0,), (1,), (2,)))
    two = say(q, "ranking", "cba", by="bob", ranking=((2,), (0,), (1,)))  # a, c, b
    made = measure(Judgements((q,), (one, two)))
    assert made.units == made.several == 3
    assert made.decisive.of == 3
    assert made.decisive.share == pytest.approx(2 / 3)


def test_one_who_always_says_left_is_named() -> None:
    items = [item(f"i{k}") for k in range(20)]
    rows = [say(one, "left", ("ab", "ba")[k % 2]) for k, one in enumerate(items)]
    rows += [say(one, "left" if k % 3 else "right", by="bob") for k, one in enumerate(items)]
    made = measure(Judgements(tuple(items), tuple(rows)))
    assert any("'ann' said left in all 20" in text for text in made.warnings)
    assert not any("'bob'" in text for text in made.warnings)
    assert made.annotators[0].left.share == 1
    # Files that do not say who stood where say nothing about sides.
    blind = [say(one, "left", flags=("unordered",)) for one in items]
    assert not any("left" in text for text in measure(Judgements(tuple(items), tuple(blind))).warnings)


def test_contradictions_and_circles_are_named() -> None:
    q, r = item("q", "abc"), item("r", "abc")
    both = [say(q, "left", "ab"), say(q, "left", "ba")]
    circle = [say(r, "left", "ab"), say(r, "left", "bc"), say(r, "left", "ca")]
    made = measure(Judgements((q, r), (*both, *circle)))
    assert any("both ways" in text and "'q'" in text for text in made.warnings)
    assert any("circle" in text and "'r'" in text for text in made.warnings)
    straight = [say(r, "left", "ab"), say(r, "left", "bc"), say(r, "left", "ac")]
    assert not any("circle" in text for text in measure(Judgements((r,), tuple(straight))).warnings)


def test_too_few_one_annotator_none_in_common_none_at_all() -> None:
    q, r = item("q"), item("r")
    assert measure(Judgements((q,), ())).warnings == ("There are no judgements.",)
    alone = measure(Judgements((q,), (say(q, "left"),))).warnings
    assert any("Only 1 judgement" in text for text in alone)
    assert any("one annotator, 'ann'" in text for text in alone)
    apart = measure(Judgements((q, r), (say(q, "left"), say(r, "left", by="bob"))))
    assert any("No pair was judged by two" in text for text in apart.warnings)
    assert apart.alpha is None


def test_the_measures_are_json_and_the_same_each_time() -> None:
    items = [item(f"i{k}") for k in range(30)]
    rng = np.random.default_rng(1)
    rows = [say(one, str(rng.choice(["left", "right", "tie"])), by=by) for one in items for by in ("ann", "bob")]
    one, two = (measure(Judgements(tuple(items), tuple(rows)), seed=3) for _ in range(2))
    assert one.to_dict() == two.to_dict()
    made = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert made["swapped"]["share"] is None
    assert one.interval is not None
    assert one.alpha is not None
    assert one.interval[0] < one.alpha < one.interval[1]
    assert "Krippendorff" in str(one)


def test_pandalms_annotators() -> None:
    made = measure(exchange.read(data("pandalm_testset_half_a.jsonl.gz")))
    assert made.several == 504
    assert made.alpha is not None
    # Cohen's kappa of each two in the paper is 0.85 to 0.88 on all of the set (Wang et al. 2023).
    assert 0.8 < made.alpha < 0.9

"""Rewards learned from judgements: the likelihood, what is found again, what is reported, files, errors."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from likely import artifact
from likely.align import likelihood, reward_report
from likely.align.features import Vectors
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.align.reward import RewardModel, fit_reward, folded, gather
from likely.errors import ArtifactError, DataError, LikelyError, OptionError, UnknownName, Unsupported

TRUE = np.array([1.5, -1.0, 0.0])
GOOD = {"ann": 2.0, "bob": 1.0, "coin": 0.1}  # reliability


def planted(items: int = 60, people: dict[str, float] | None = None, ties: float = -1.0, seed: int = 0) -> Judgements:
    """Vectors of three numbers, judged by people who see TRUE through noise."""
    rng = np.random.default_rng(seed)
    made, said = [], []
    for k in range(items):
        x = rng.normal(size=(2, 3)).round(3)
        item = Item(f"i{k}", None, tuple(Candidate(json.dumps(list(row)).encode(), "application/json") for row in x))
        made.append(item)
        for who, s in (GOOD if people is None else people).items():
            z = torch.tensor([s * float(TRUE @ (x[0] - x[1]))])
            choice = ("left", "right", "tie")[int(rng.choice(3, p=_shares(z, ties)))]
            said.append(Comparison(item.id, tuple(item.by_id), who, choice, id=f"{k} {who}"))
    return Judgements(tuple(made), tuple(said))


def _shares(z: torch.Tensor, ties: float) -> np.ndarray[Any, Any]:
    return likelihood.outcomes(z.double(), ties, -4.0)[0].numpy()


@pytest.fixture(scope="module")
def model() -> RewardModel:
    return fit_reward(planted(), "vectors")


# ------------------------------------------------------------------------------------------------ likelihood


def some(M: int = 80, ties: bool = True) -> tuple[likelihood.Said, likelihood.Law, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    apart = torch.randn(M, 4, generator=rng, dtype=torch.float64)
    law = likelihood.Law(
        torch.tensor([1.0, -0.5, 0.2, 0.0]).double(), torch.tensor([0.4, 0.0, -0.4]).double(),
        -0.5 if ties else -math.inf, -2.0,
    )  # fmt: skip
    who = torch.randint(0, 3, (M,), generator=rng)
    outcome = torch.multinomial(law.shares(apart, who), 1, generator=rng).squeeze(1)
    weight = torch.rand(M, generator=rng, dtype=torch.float64) + 0.2
    return likelihood.Said(apart, outcome, weight, who), law, torch.full((4,), 2.0, dtype=torch.float64)


def test_the_law_is_bradley_terry_where_nobody_ties_or_throws_coins() -> None:
    z = torch.tensor([-2.0, 0.0, 1.3]).double()
    P = likelihood.outcomes(z, -math.inf, -800.0)
    assert torch.allclose(P[:, 0], torch.sigmoid(z))
    assert bool((P[:, 2] == 0).all())


def test_the_law_with_ties_is_that_of_davidson() -> None:
    a, b, nu = math.exp(0.7), math.exp(-0.2), 0.8
    P = likelihood.outcomes(torch.tensor([0.9]).double(), math.log(nu), -800.0)[0]
    total = a + b + nu * math.sqrt(a * b)
    assert P.tolist() == pytest.approx([a / total, b / total, nu * math.sqrt(a * b) / total])


def test_slope_and_curvature_are_those_of_the_posterior() -> None:
    said, law, ridge = some()
    slope, (observed, expected) = likelihood.derivatives(law, said, ridge)

    def moved(k: int, by: float) -> likelihood.Law:
        e = torch.zeros(9, dtype=torch.float64)
        e[k] = by
        return likelihood.Law(law.w + e[:4], law.s + e[4:7], law.nu + float(e[7]), law.eps + float(e[8]))

    h = 1e-5
    for k in range(9):
        up, down = moved(k, h), moved(k, -h)
        by_hand = (likelihood.posterior(up, said, ridge) - likelihood.posterior(down, said, ridge)) / (2 * h)
        assert by_hand == pytest.approx(float(slope[k]), abs=1e-5)
        column = (likelihood.derivatives(up, said, ridge)[0] - likelihood.derivatives(down, said, ridge)[0]) / (2 * h)
        assert torch.allclose(column, -observed[k], atol=1e-4)
    assert float(torch.linalg.eigvalsh(expected).min()) > 0


@pytest.mark.parametrize("ties", [True, False])
def test_the_slope_is_zero_at_the_fit_and_the_fit_is_a_maximum(ties: bool) -> None:
    said, _, ridge = some(ties=ties)
    law = likelihood.fit(said, ridge, 3, ties=ties)
    slope, (observed, _) = likelihood.derivatives(law, said, ridge)
    free = [*range(7), *([7] if ties else []), 8]
    assert float(slope[free].abs().max()) < 1e-6
    assert float(torch.linalg.eigvalsh(observed[free][:, free]).min()) > 0
    assert math.isfinite(law.nu) == ties


def test_a_weight_of_two_is_the_answer_given_twice() -> None:
    said, _, ridge = some(30)
    twice = likelihood.Said(*[torch.cat([part, part]) for part in said])
    heavy = said._replace(weight=2 * said.weight)
    a, b = (likelihood.fit(one, ridge, 3, ties=True) for one in (twice, heavy))
    assert torch.allclose(a.w, b.w, atol=1e-7)


# ---------------------------------------------------------------------------------------------------- fitting


def test_a_planted_reward_is_found(model: RewardModel) -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    found = np.corrcoef(model.rewards(x).numpy(), x.numpy() @ TRUE)[0, 1]
    assert found > 0.95
    report = model.report
    assert report is not None
    assert report.ties > 0
    assert report.majority is not None
    assert report.majority > 0.7


def test_who_throws_coins_is_found_out(model: RewardModel) -> None:
    assert model.reliability["ann"] > model.reliability["bob"] > model.reliability["coin"]
    assert math.prod(model.reliability.values()) == pytest.approx(1)
    left, right = torch.tensor([1.0]), torch.tensor([0.0])
    sure = {name: float(model.probability(left, right, name)[0, 0]) for name in GOOD}
    assert sure["ann"] > sure["coin"]
    with pytest.raises(UnknownName, match="ann"):
        model.probability(left, right, "anne")


def test_rewards_of_the_candidates_have_mean_0_and_deviation_1(model: RewardModel) -> None:
    candidates = [one for item in planted().items for one in item.candidates]
    rewards = np.array(model.judge(candidates))
    assert rewards.mean() == pytest.approx(0, abs=1e-9)
    assert rewards.std() == pytest.approx(1)


def test_the_same_judgements_give_the_same_model(model: RewardModel) -> None:
    again = fit_reward(planted(), "vectors")
    assert torch.equal(again.piece.numbers, model.piece.numbers)
    assert again.report == model.report


def test_a_strong_preference_weighs_more() -> None:
    judgements = planted(people={"ann": 2.0})
    flipped = [
        replace(one, id=f"x{k}", choice={"left": "right", "right": "left"}.get(one.choice, one.choice), strength=1)
        for k, one in enumerate(judgements.comparisons)
    ]
    strong = [replace(one, strength=3) for one in judgements.comparisons]
    model = fit_reward(Judgements(judgements.items, (*strong, *flipped)), "vectors")
    assert float(model.piece.numbers[0]) > 0  # the slight ones say the opposite
    assert model.report is not None
    assert any("both ways" in note for note in model.report.notes)


def test_rankings_count_as_one_judgement_and_stay_together() -> None:
    rng, items, said = np.random.default_rng(1), [], []
    for k in range(24):
        x = rng.normal(size=(4, 3)).round(3)
        item = Item(f"i{k}", None, tuple(Candidate(json.dumps(list(row)).encode(), "application/json") for row in x))
        order = np.argsort(-(x @ TRUE + 0.3 * rng.normal(size=4)))
        items.append(item)
        said.append(Comparison(item.id, tuple(item.by_id), "ann", "ranking", tuple((int(p),) for p in order)))
    judgements = Judgements(tuple(items), tuple(said))
    evidence = gather(judgements, Vectors())
    assert sum(pair.weight for pair in evidence.pairs) == pytest.approx(24)
    fold = folded([pair.item for pair in evidence.pairs], 5, 0)
    groups: dict[str, set[int]] = {}
    for pair, at in zip(evidence.pairs, fold, strict=True):
        groups.setdefault(pair.group, set()).add(int(at))
    assert all(len(where) == 1 for where in groups.values())
    assert len(set(fold.tolist())) == 5
    model = fit_reward(judgements, "vectors")
    assert model.report is not None
    assert model.report.accuracy > 0.8


# ----------------------------------------------------------------------------------------------------- report


def test_the_ceiling_by_hand() -> None:
    item = Item("q", None, (Candidate.text("a"), Candidate.text("b")))
    a, b = item.by_id
    said = [Comparison("q", (a, b), "ann", "left"), Comparison("q", (b, a), "bob", "right"),
            Comparison("q", (a, b), "eve", "tie")]  # fmt: skip
    pairs = Judgements((item,), tuple(said)).pairs()
    # ann and bob both say a; the others of each are one for a and one tie: a. eve's others: a, and her tie is a half.
    person, reward, targets = reward_report.ceilings(pairs, np.array([1.0, -1.0, 1.0]))
    assert (person, reward, targets) == (pytest.approx(2.5 / 3), 1.0, 3)
    assert reward_report.ceilings(pairs, np.array([-1.0, 1.0, -1.0]))[1] == 0.0
    assert reward_report.ceilings(pairs[:1], np.array([1.0])) == (None, None, 0)


def test_calibration_error_by_hand() -> None:
    p = np.repeat([0.2, 0.9], 50)
    hit = np.r_[np.arange(50) < 10, np.arange(50) < 25]
    assert reward_report.ece(p, hit) <= 0.5
    assert reward_report.ece(p, np.r_[hit[:50], hit[50:]]) > 0.1
    assert reward_report.ece(np.full(100, 0.5), np.arange(100) % 2 == 0) == pytest.approx(0)


def test_overconfidence_is_cooled() -> None:
    rng, M = np.random.default_rng(0), 600
    z = rng.normal(size=M) * 4
    sign = np.where(rng.random(M) < 1 / (1 + np.exp(-z / 4)), 1.0, -1.0)
    held = reward_report.Held(np.arange(M) % 5, sign, z, z, np.zeros(M), np.zeros(M))
    assert 2.5 < reward_report.temperature(held) < 6
    assert reward_report.ece(reward_report.calibrated(held), sign > 0) < reward_report.ece(
        held.shares()[:, 0], sign > 0
    )


def test_the_report_can_be_read(model: RewardModel) -> None:
    text = str(model.report)
    for words in ("accuracy", "ceiling", "ECE", "coin: accuracy", "reliability"):
        assert words in text


# ------------------------------------------------------------------------------------------------------- file


def test_a_file_gives_the_same_rewards(model: RewardModel, tmp_path: Any) -> None:
    path = model.save(tmp_path / "taste.likely")
    again = RewardModel.load(path)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    assert again(x) == model(x)
    assert again.report == model.report
    assert again.reliability == model.reliability
    assert torch.equal(
        again.probability(torch.ones(1), torch.zeros(1)), model.probability(torch.ones(1), torch.zeros(1))
    )
    with pytest.raises(LikelyError, match="3 numbers"):
        again(torch.zeros(2, 4))


def damaged(card: dict[str, Any], arrays: dict[str, torch.Tensor], how: str) -> None:
    match how:
        case "nan":
            arrays["weight.numbers"][0] = math.nan
        case "short":
            arrays["weight.numbers"] = arrays["weight.numbers"][:1]
        case "float32":
            arrays["scaling.mean"] = arrays["scaling.mean"].float()
        case "spread":
            arrays["scaling.std"][0] = 0.0
        case "missing":
            del arrays["law.s"]
        case "scale":
            card["scale"] = -1.0
        case "text":
            card["shift"] = "0"
        case "features":
            card["features"]["name"] = "os.system"
        case "huge":
            card["features"]["state"]["size"] = 10**12
        case "report":
            card["report"]["by_margin"] = 7
        case "gone":
            del card["temperature"]
        case "path":
            card["features"] = {"name": "language", "state": {"fingerprint": "0", "name": "/etc", "source": "/etc"}}


@pytest.mark.parametrize(
    "how",
    ["nan", "short", "float32", "spread", "missing", "scale", "text", "features", "huge", "report", "gone", "path"],
)
def test_a_damaged_file_is_refused(model: RewardModel, tmp_path: Any, how: str) -> None:
    path = model.save(tmp_path / "taste.likely")
    card, arrays = artifact.read(path)
    damaged(card, arrays, how)
    artifact.write(path, card, arrays)
    with pytest.raises(OptionError if how == "path" else ArtifactError):
        RewardModel.load(path)


def test_other_files_are_refused(tmp_path: Any) -> None:
    path = tmp_path / "other.likely"
    artifact.write(path, {"app": "label"}, {"x": torch.zeros(1)})
    with pytest.raises(ArtifactError, match="not a reward model"):
        RewardModel.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="damaged"):
        RewardModel.load(path)


# ----------------------------------------------------------------------------------------------------- errors


def only(judgements: Judgements, choice: str) -> Judgements:
    return Judgements(judgements.items, tuple(replace(one, choice=choice) for one in judgements.comparisons))


def test_what_cannot_be_learned_from_is_said() -> None:
    judged = planted(people={"ann": 1.0})
    with pytest.raises(DataError, match="no judged pairs"):
        fit_reward(Judgements())
    with pytest.raises(DataError, match="60 skipped"):
        fit_reward(only(judged, "skip"), "vectors")
    with pytest.raises(DataError, match="60 judged pairs are ties"):
        fit_reward(only(judged, "tie"), "vectors")
    with pytest.raises(DataError, match="'ann' always says left"):
        fit_reward(only(judged, "left"), "vectors")
    few = planted(items=9, people={"ann": 1.0}, ties=-9.0)
    with pytest.raises(DataError, match=r"9 items.*at least 10"):
        fit_reward(few, "vectors")
    with pytest.raises(Unsupported, match="application/json"):
        fit_reward(judged, "words")
    with pytest.raises(UnknownName, match="words"):
        fit_reward(judged, "word")
    with pytest.raises(OptionError, match="folds=1"):
        fit_reward(judged, "vectors", folds=1)


def test_who_never_looks_is_left_out() -> None:
    judged = planted(people={"ann": 2.0})
    blind = [replace(one, id=f"b{k}", annotator="bob", choice="left") for k, one in enumerate(judged.comparisons)]
    model = fit_reward(Judgements(judged.items, (*judged.comparisons, *blind)), "vectors")
    assert set(model.reliability) == {"ann"}
    assert model.report is not None
    assert any("'bob'" in note for note in model.report.notes)


def test_who_is_shown_the_best_first_and_ranks_so_did_look() -> None:
    judged = planted(items=30, people={"ann": 2.0}, ties=-9.0)
    three = []
    for k, item in enumerate(judged.items):
        extra = Candidate(json.dumps([-0.1 * k, 0.3, 0.0]).encode(), "application/json")
        best = sorted((*item.candidates, extra), key=lambda one: -float(TRUE @ json.loads(one.content)))
        three.append(Item(item.id, None, tuple(best)))
    said = [Comparison(one.id, tuple(one.by_id), "ann", "ranking", ((0,), (1,), (2,))) for one in three]
    model = fit_reward(Judgements(tuple(three), tuple(said)), "vectors")
    assert model.report is not None
    assert model.report.accuracy > 0.8
    assert model.report.notes == []


def test_sides_that_are_not_known_are_no_habit() -> None:
    judged = planted(people={"ann": 2.0}, ties=-9.0)
    left = []
    for one in judged.comparisons:
        shown = one.shown if one.choice == "left" else one.shown[::-1]
        left.append(replace(one, shown=shown, choice="left", flags=("unordered",)))
    with pytest.raises(DataError, match=r"'ann' always says left \(60 of 60\)"):
        gather(Judgements(judged.items, tuple(replace(one, flags=()) for one in left)), Vectors())
    assert len(gather(Judgements(judged.items, tuple(left)), Vectors()).pairs) == 60
    # One who never looks at sides is left out with what has sides, and heard where there are none.
    both = [replace(one, id=f"b{k}", flags=()) for k, one in enumerate(left[:20])]
    evidence = gather(Judgements(judged.items, (*left, *both)), Vectors())
    assert len(evidence.pairs) == 60
    assert evidence.notes[0] == "left out, since they always say one side: 'ann'"


def test_answers_that_contradict_each_other_are_said_to_do_so() -> None:
    judged = planted(items=30, people={"ann": 1.0}, ties=-9.0)
    other = {"left": "right", "right": "left", "tie": "tie"}
    even = "^30 of 30 pairs were decided as often one way as the other. "
    for who, said in [("ann", even + "30 pairs were decided both ways by one person"), ("bob", even + "So nothing")]:
        against = [
            replace(one, id=f"x{k}", annotator=who, choice=other[one.choice])
            for k, one in enumerate(judged.comparisons)
        ]
        with pytest.raises(DataError, match=said) as caught:
            fit_reward(Judgements(judged.items, (*judged.comparisons, *against)), "vectors")
        assert "features" not in str(caught.value)


def test_what_is_no_judgements_is_said(model: RewardModel) -> None:
    for given in ("judgements.db", None, [1]):
        with pytest.raises(OptionError, match=r"Store\('judgements.db'\).judgements\(\)"):
            fit_reward(given)  # type: ignore[arg-type]
    for folds in ("5", 2.5, True, 21):
        with pytest.raises(OptionError, match="folds="):
            fit_reward(planted(), "vectors", folds=folds)  # type: ignore[arg-type]
    for seed in (-1, 0.5, "0"):
        with pytest.raises(OptionError, match="seed="):
            fit_reward(planted(), "vectors", seed=seed)  # type: ignore[arg-type]


def test_no_items_have_no_rewards(model: RewardModel) -> None:
    texts = [Item(f"i{k}", None, (Candidate.text(f"good {k}"), Candidate.text(f"bad {k}"))) for k in range(12)]
    sides = [("left", 1), ("right", -1)] * 6
    said = [Comparison(i.id, tuple(i.by_id)[::way], "ann", side)
            for i, (side, way) in zip(texts, sides, strict=True)]  # fmt: skip
    words = fit_reward(Judgements(tuple(texts), tuple(said)))
    assert words(["good 3"])[0] > words(["bad 3"])[0]
    for one in (model, words):
        assert one([]) == []
        assert one([], prompts=[]) == []
        assert one.judge([]) == []
        assert one.rewards([]).dtype == torch.float64
    with pytest.raises(DataError, match="as many prompts"):
        words([], prompts=["Why?"])
    with pytest.raises(DataError, match="one text was given"):
        words("")


def test_candidates_that_are_all_alike_teach_nothing() -> None:
    same = tuple(Candidate(b"[1, 2]", "application/json", seed=seed) for seed in (1, 2))
    items = tuple(Item(f"i{k}", None, same) for k in range(12))
    said = tuple(Comparison(i.id, tuple(i.by_id), "ann", "left" if k % 2 else "right") for k, i in enumerate(items))
    with pytest.raises(DataError, match="features say nothing"):
        fit_reward(Judgements(items, said), "vectors")

"""How answers are read after their prompts: padding and shared prompts change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likely.align.features import SHAPE
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.align.reward import RewardModel, fit_reward
from likely.align.states import Language
from likely.errors import DataError, Mismatch, OptionError
from likely.language import answers
from tests.language.tune_toys import checkpoint

PROMPTS = ["the dog", "the dog", "a fox jumps"]
ANSWERS = ["over", "the lazy dog jumps over", "x"]


@pytest.mark.parametrize("template", [True, False])
def test_together_is_as_one_by_one_and_as_the_whole_text(template: bool) -> None:
    model = checkpoint() if template else checkpoint(None)
    found = answers.read(model, ANSWERS, PROMPTS)
    for k, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        alone = answers.read(model, [answer], [prompt])
        assert np.allclose(alone.mean[0], found.mean[k], atol=1e-4)
        assert np.allclose(alone.last[0], found.last[k], atol=1e-4)
        before = (model.chat([{"role": "user", "content": prompt}]) if template
                  else model.tokenizer.encode(prompt + "\n"))  # fmt: skip
        ids = [*before, *model.tokenizer.encode(answer), min(model.ends)]
        with torch.no_grad():
            logits = model.network.logits(model.network(torch.tensor([ids])))[0].log_softmax(-1)
        told = sum(float(logits[t - 1, ids[t]]) for t in range(len(before), len(ids)))
        assert found.logp[k] == pytest.approx(told, abs=1e-3)
        assert found.tokens[k] == len(ids) - len(before)


def test_empty_answers_no_prompts_and_long_texts_are_read() -> None:
    found = answers.read(checkpoint(None), ["", "fox", "dog " * 3000], [None, "", "the " * 3000])
    assert np.isfinite(found.mean).all()
    assert found.tokens[0] == 1
    with pytest.raises(DataError, match="texts"):
        answers.read(checkpoint(None), [7], [None])  # type: ignore[list-item]


def test_a_reward_on_states_is_learned_kept_and_tied_to_its_model(tmp_path) -> None:  # type: ignore[no-untyped-def]
    items, said = [], []
    for k in range(14):
        item = Item(f"i{k}", "Who?", (Candidate.text(f"the dog {k}"), Candidate.text(f"a quick brown fox jumps {k}")))
        items.append(item)
        ids = tuple(item.by_id) if k % 2 else tuple(item.by_id)[::-1]
        said.append(Comparison(item.id, ids, "ann", "right" if k % 2 else "left"))
    language = Language(checkpoint())
    model = fit_reward(Judgements(tuple(items), tuple(said)), language)
    assert language.sizes[0] == len(SHAPE) + 2
    assert model.report is not None
    assert model.report.accuracy == 1
    texts = ["the dog", "a quick brown fox jumps"]
    rewards = model(texts, ["Who?"] * 2)
    assert rewards[1] > rewards[0]
    path = model.save(tmp_path / "taste.likely")
    assert RewardModel.load(path, checkpoint())(texts, ["Who?"] * 2) == rewards
    with pytest.raises(OptionError, match="model="):
        RewardModel.load(path)
    with pytest.raises(Mismatch, match="another language model"):
        RewardModel.load(path, checkpoint(seed=3))

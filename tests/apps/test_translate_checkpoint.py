"""Translation by a checkpoint: the sentences of a T5 are those of transformers; what must be kept is kept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
import transformers

from likely.apps.translate import by_checkpoint
from likely.apps.translate.checkpoint import Chatting
from likely.apps.translate.shield import kept
from likely.apps.translate.translator import Translator
from likely.errors import ArtifactError, OptionError, Unsupported
from likely.language.decode import Engine
from tests.language import decode_toys, tune_toys
from tests.language.test_t5 import CONFIGS
from tests.language.toys import folder, settle

TEXT = "Open %s now. <b>Go</b> to {place}!"


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = settle(transformers.T5ForConditionalGeneration(CONFIGS["t5"]))
    return folder(tmp_path_factory.mktemp("t5") / "model", model)


def test_a_t5_writes_what_it_writes_in_transformers(t5: Path) -> None:
    made = by_checkpoint(t5, "German")
    writer = made.writer
    (ours,) = writer.write(["Two words"])
    source = writer.checkpoint.encode("translate English to German: Two words")  # type: ignore[attr-defined]
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(t5)
    ends = sorted(writer.checkpoint.ends)  # type: ignore[attr-defined]
    with torch.no_grad():
        mask, most = torch.ones(1, len(source), dtype=torch.long), 3 * len(source) + 16
        found = model.generate(
            torch.tensor([source]), attention_mask=mask, do_sample=False, use_cache=False, max_new_tokens=most,
            decoder_start_token_id=0, eos_token_id=ends, pad_token_id=0,
        )[0, 1:].tolist()  # fmt: skip
    end = next((at for at, id in enumerate(found) if id in ends), len(found))
    assert ours == writer.checkpoint.tokenizer.decode(found[:end]).strip()  # type: ignore[attr-defined]
    assert len(found) > 3


def test_checkpoints_keep_what_must_be_kept(t5: Path) -> None:
    for made in (
        by_checkpoint(t5, "German"),
        Translator(Chatting(Engine(tune_toys.checkpoint()), "English", "German")),
    ):
        said = made.translate([TEXT, "12"])
        assert Counter(kept(said[0])) == Counter(kept(TEXT))
        assert said[1] == "12"
        assert "English to German" in str(made)


def test_what_does_not_translate_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no chat template"):
        Chatting(Engine(decode_toys.checkpoint()), "English", "German")
    with pytest.raises(OptionError, match="named in English"):
        by_checkpoint(tmp_path, " ")
    with pytest.raises(ArtifactError):
        by_checkpoint(tmp_path / "none", "German")

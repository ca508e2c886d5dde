"""A writer that learned from your pairs: our `seq2seq` family on byte-level pairs, source and target in one vocabulary.

    log p(target | source) = sum_s log softmax(head(h_s) + lexicon_s)[target_s]           families/seq2seq

What helps where pairs are few (docs/log.md, 2026-11-27): a lexicon, counted before the network learns, of what each
token stands for; frequent words are tokens, others are spelt in pieces; numbers, placeholders and names are marks in
both texts; pairs of as many sentences are cut into sentences, too; small batches of like length; little dropout.
(Sennrich and Zhang 2019, arXiv:1905.11901, on what matters with little data.) Written by a beam search.

Privacy: a piece of more than one byte becomes a token only if `LEAST` pairs hold the word; no pair is kept in the file,
but the lexicon says what such tokens stand for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from likely import artifact
from likely.apps.translate.names import Names, show
from likely.apps.translate.pairs import Pair
from likely.apps.translate.segment import cut, halves
from likely.apps.translate.shield import FIRST, MARK, MOST, shield, twin
from likely.apps.translate.translator import Translator
from likely.codecs.text.vocabulary import Vocabulary
from likely.core import Batch, Budget, Listener, Tokens, Training
from likely.errors import ArtifactError, DataError, LikelyError, OptionError
from likely.families.seq2seq import Seq2seq, Seq2seqConfig
from likely.train.loop import History, fit
from likely.version import VERSION

PAD, BOS, EOS, OWN = 0, 1, 2, 3  # ids before those of the vocabulary
LENGTH = 72  # tokens of a sentence; longer ones are cut
SIZE, LEAST = 8000, 3  # tokens of the vocabulary; pairs behind each
FEWEST = 20  # pairs
LEXICON, MOST_CANDIDATES = 16, 64  # of a token
BEAMS, ALPHA, BETA = 4, 0.6, 0.5


class Own:
    """The learned writer."""

    def __init__(self, words: Vocabulary, model: Seq2seq, about: str = "") -> None:
        self.words, self.model, self.about = words, model.eval(), about
        self.names, self.beams = Names(words), BEAMS

    def write(self, sentences: Sequence[str]) -> list[str]:
        """Sentences with marks, in the other language."""
        named = [self.names.hide(sentence) for sentence in sentences]
        parts = [list(fitting(self.words, one.text)) for one in named]
        flat = [ids for own in parts for ids in own]
        if not flat:
            return [""] * len(sentences)
        said = iter(self._search(flat))
        return [show(" ".join(next(said) for _ in own), one.names) for own, one in zip(parts, named, strict=True)]

    def _search(self, rows: Sequence[list[int]]) -> list[str]:
        found = self.model.search(Batch(padded(rows)), beams=self.beams, alpha=ALPHA, beta=BETA)
        return [decode(self.words, row) for row in found.x.tolist()]


def learn(
    pairs: Sequence[Pair],
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    width: int = 160,
    depth: int = 2,
    dropout: float = 0.1,
    listen: Listener | None = None,
    checkpoint: Path | None = None,
) -> tuple[Translator, History]:
    """A translator from pairs, and how learning went. `checkpoint`: a folder; the same call goes on from there.

    Raises DataError where pairs are fewer than FEWEST, OptionError, TrainingError, StorageError.
    """
    if len(pairs) < FEWEST:
        raise DataError(f"{len(pairs)} pairs were given; a translator learns from {FEWEST} or more, better 5,000.")
    if not 16 <= width <= 2048 or not 1 <= depth <= 24:
        raise OptionError(f"width={width} must be 16 to 2048, depth={depth} 1 to 24.")
    words, rows = prepared(pairs)
    sources, targets = encode(words, [row.source for row in rows]), encode(words, [row.target for row in rows])
    short = [at for at in range(len(rows)) if max(len(sources[at]), len(targets[at])) < LENGTH]
    if len(short) < FEWEST:
        raise DataError(
            f"Only {len(short)} of the pairs are short enough to learn from: {LENGTH - 1} tokens a sentence."
        )
    data = Batch(padded([targets[at] for at in short]), given=Batch(padded([sources[at] for at in short])))
    space = Tokens(OWN + len(words) + MOST, LENGTH, PAD, BOS, EOS)
    torch.manual_seed(seed)
    config = Seq2seqConfig(
        width=width,
        encoder=depth,
        depth=depth,
        heads=max(1, width // 32),
        dropout=dropout,
        smooth=0.1,
        shared=True,
        lexicon=LEXICON,
    )
    model = Seq2seq(space, space, config)
    history = fit(
        model, data, Budget(minutes, steps), training=regimen(width), seed=seed, listen=listen, checkpoint=checkpoint
    )
    about = f"seq2seq of {sum(p.numel() for p in model.parameters()) / 1e6:.1f} million weights, {len(pairs):,} pairs"
    return Translator(Own(words, model, about)), history


def regimen(width: int) -> Training:
    """How it is trained: small batches, since pairs are few; a rate that falls with the width."""
    return Training(
        batch=24, steps=9000, rate=min(1e-3, 0.16 / width), warmup=0.08, decay=0.05, betas=(0.9, 0.98),
        clip=float(LENGTH), precision="float32", ema=0.998, holdout=0.03, patience=12, pool=32,
    )  # fmt: skip


def prepared(pairs: Sequence[Pair]) -> tuple[Vocabulary, list[Pair]]:
    """The vocabulary of pairs, and what is learned from."""
    each = [examples([pair]) for pair in dict.fromkeys(pairs)]
    # A pair is one text here, both languages and all of its sentences: what it alone holds must not become a token.
    texts = [MARK.sub(" ", "\n".join(text for row in rows for text in row)) for rows in each]
    words = Vocabulary.of_pairs(texts, LEAST, SIZE)
    names = Names(words)
    return words, list(dict.fromkeys(names.pair(row) for rows in each for row in rows))


def examples(pairs: Sequence[Pair]) -> list[Pair]:
    """What is learned from: pairs with marks; of as many sentences on both sides, sentence by sentence."""
    out: list[Pair] = []
    for source, target in pairs:
        mine, theirs = cut(source)[1::2], cut(target)[1::2]
        both = list(zip(mine, theirs, strict=True)) if len(mine) == len(theirs) else []
        if len(both) > 1:
            out += [_example(*pair) for pair in both]
        if len(both) <= 1 or len(both) == 2:
            out.append(_example(" ".join(source.split()), " ".join(target.split())))
    return list(dict.fromkeys(out))


def _example(source: str, target: str) -> Pair:
    shielded = shield(source)
    return Pair(shielded.text, twin(target, shielded.kept))


def fitting(words: Vocabulary, sentence: str) -> Iterator[list[int]]:
    """The ids of a sentence, in as many parts as it takes for each to fit."""
    ids = encode(words, [sentence])[0]
    if len(ids) < LENGTH:
        yield ids
        return
    for part in halves(sentence):  # a character has four ids at most, so this ends
        yield from fitting(words, part)


def encode(words: Vocabulary, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts: pieces, and an id for each mark."""
    runs = [MARK.split(text) for text in texts]
    flat = iter(words.encode([run for own in runs for run in own]))
    mark = OWN + len(words) - FIRST
    out = []
    for text, own in zip(texts, runs, strict=True):
        ids = [OWN + int(id) for id in next(flat)]
        for found, _ in zip(MARK.findall(text), own[1:], strict=True):
            ids += [mark + ord(found), *(OWN + int(id) for id in next(flat))]
        out.append(ids)
    return out


def decode(words: Vocabulary, ids: Sequence[int]) -> str:
    """The text of ids, up to the end."""
    known, out, run = len(words), [], []
    for id in [*ids, EOS]:
        if OWN <= id < OWN + known:
            run.append(id - OWN)
            continue
        out.append(words.decode(run).decode("utf-8", "replace"))
        run = []
        if id == EOS:
            break
        if id >= OWN + known:
            out.append(chr(FIRST + id - OWN - known))
    return "".join(out)


def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """(B, LENGTH) ids, each row with its end."""
    out = torch.full((len(rows), LENGTH), PAD)
    for at, row in enumerate(rows):
        out[at, : len(row) + 1] = torch.tensor([*row, EOS])
    return out


# ---------------------------------------------------------------------------------------------------------- files


def save(translator: Translator, path: str | Path) -> Path:
    """Write NAME.likely: one file, no code in it, no pair. Raises OptionError for a checkpoint's, StorageError."""
    own = translator.writer
    if not isinstance(own, Own):
        raise OptionError("This translator is a checkpoint, which is a file already: only learned ones are saved.")
    config = dataclasses.asdict(cast(Any, own.model.config))
    card = {"app": "translate", "version": VERSION, "about": own.about, "config": config, "words": own.words.state()}
    artifact.write(path, card, dict(own.model.state_dict()))
    return Path(path)


def load(path: str | Path) -> Translator:
    """Read what `save` wrote. Raises ArtifactError where the file is no translator, or damaged."""
    card, tensors = artifact.read_app(path, "translate", "a translator", "likely translate fit pairs.tsv -o de.likely")
    try:
        config = Seq2seqConfig(**card["config"])
        words, about = Vocabulary.load(card["words"]), str(card["about"])[:200]
        # Before a network is made: its size is what these say, and the file must hold as much.
        sound = config.shared and config.hidden == 0 and config.encoder == config.depth and config.style == "rope"
        sound = sound and 0 <= config.lexicon <= MOST_CANDIDATES
        if not sound or not 16 <= config.width <= 2048 or not 1 <= config.depth <= 24:
            raise ValueError("its sizes are none that are written")
        held = sum(tensor.numel() for tensor in tensors.values())
        if held < config.width * (len(words) + 12 * config.depth * config.width):
            raise ValueError("it holds fewer weights than its sizes want")
        space = Tokens(OWN + len(words) + MOST, LENGTH, PAD, BOS, EOS)
        model = Seq2seq(space, space, config)
        wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if wanted != given or not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ValueError("its weights do not fit its sizes")
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, LikelyError) as error:
        raise ArtifactError(f"{str(path)!r} is a damaged translator ({str(error)[:120]}): fit it again.") from error
    return Translator(Own(words, model, about))

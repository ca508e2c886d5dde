"""What came of ranking: how far people agree, which model they prefer, what to do with it.

`gather` measures, `text` writes it for a terminal; `results_page` writes the same as a page.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass

from likely.align.agreement import Agreement, measure
from likely.align.preference import Judgements
from likely.align.ranking import Ranking, rank
from likely.errors import LikelyError

DRAWS = 300  # of the bootstraps
GOOD = 50  # decided pairs from which a reward is worth fitting
PEOPLE = 10  # whose names are written into a command
CONTROL = {code: None for code in (*range(9), *range(11, 32), 127, *range(128, 160))}


@dataclass(frozen=True)
class Results:
    """`ranking` None: `why` says why there is none. `source`: the store, as it is typed."""

    counts: dict[str, int]
    agreement: Agreement
    ranking: Ranking | None
    why: str
    source: str
    media: tuple[str, ...]

    @property
    def steps(self) -> list[tuple[str, str]]:
        """What to do next: (why, a command)."""
        source, found = shlex.quote(self.source), []
        decided = self.counts["pairs"] - self.counts["ties"]
        people = [one.name for one in self.agreement.annotators]
        judge = (
            f"likely rank --store {source}" if self.counts["items"] else f"likely rank MODEL.likely --store {source}"
        )
        if decided < GOOD:
            found.append((f"Judge on: {decided} pairs are decided, {GOOD} are a start.", judge + _by(people)))
        if len(people) < 2:
            pair = [people[0], "anna" if people[0] == "bob" else "bob"] if people else ["anna", "bob"]
            found.append(("Let a second person judge, to learn how far people agree.", judge + _by(pair)))
        if decided:
            found.append(("Move a generator towards what is preferred.",
                          f"likely align MODEL.likely --judgements {source} -o liked.likely"))  # fmt: skip
        if decided and any(one.startswith("text/") for one in self.media):
            found.append(("Or a language model.", f"likely rlhf MODEL --judgements {source} -o mine"))
        return found


def _by(people: list[str]) -> str:
    """Who judges, as it is typed; nobody is `me`."""
    if people in ([], ["me"]):
        return ""
    said = any("," in name or name != name.strip() or not name.isprintable() for name in people)
    names = "NAME" if said or len(people) > PEOPLE else shlex.quote(",".join(people))
    return f" --annotators {names}"


def gather(judgements: Judgements, source: str, *, draws: int = DRAWS, seed: int = 0) -> Results:
    """Everything that is measured; `draws`: bootstrap samples."""
    ranking, why = None, ""
    try:
        ranking = rank(judgements, draws=draws, seed=seed)
    except LikelyError as error:
        why = _unranked(judgements, source) or str(error)
    agreement = measure(judgements, draws=draws, seed=seed)
    media = Counter(one.media for item in judgements.items for one in item.candidates)
    return Results(
        judgements.counts(), agreement, ranking, why, source, tuple(name for name, _ in media.most_common(5))
    )


def _unranked(judgements: Judgements, source: str) -> str:
    """Why there is nothing to rank, and what to type; "" = for another reason."""
    pairs, models = judgements.pairs(), {one.model for item in judgements.items for one in item.candidates}
    if not pairs:
        model = "" if judgements.items else "MODEL.likely "
        return f"No pair is judged yet: likely rank {model}--store {shlex.quote(source)}"
    if any(pair.left.model != pair.right.model for pair in pairs):
        return ""
    said = "All outputs are of one model" if len(models) == 1 else "No judged pair is of two different models"
    return f"{said}: nothing to rank. Compare models: likely rank ONE.likely OTHER.likely"


def text(found: Results) -> str:
    """For a terminal; what came from others holds no control characters."""
    counts = found.counts
    lines = [
        f"{many(counts['active'], 'judgement')} of {many(counts['items'], 'item')} by "
        f"{many(counts['annotators'], 'annotator')} ({counts['undone']} taken back, "
        f"{many(counts['repeats'], 'repeat')})",
        f"{many(counts['pairs'], 'pair')}: {counts['pairs'] - counts['ties']} decided, {counts['ties']} ties; "
        f"{counts['bad']} both bad, {counts['skip']} skipped",
        "", str(found.agreement), "", str(found.ranking) if found.ranking is not None else found.why,
    ]  # fmt: skip
    for why, command in found.steps:
        lines += ["", why, f"  {command}"]
    return plain("\n".join(lines))


def many(n: int, noun: str) -> str:
    """1 pair, 2 pairs."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def plain(words: str) -> str:
    """Without characters that a terminal obeys."""
    return words.translate(CONTROL)

"""Guesses of what comes next: what followed the last few tokens the last time they occurred (Saxena 2023, prompt
lookup; Leviathan et al. 2023, arXiv:2211.17192, for verifying guesses in one pass).

Reading several tokens at once costs hardly more than reading one, since the weights are fetched once. A guess is kept
as far as it is what is drawn anyway, so texts are the same with and without.
"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST, SHORTEST = 4, 2


def lookup(prompt: Sequence[int], ids: Sequence[int], most: int) -> list[int]:
    """At most `most` tokens that followed the latest earlier occurrence of the last 4, 3 or 2 tokens; [] = none."""
    text = [*prompt, *ids]
    for n in range(LONGEST, SHORTEST - 1, -1):
        end = text[-n:]
        for at in range(len(text) - n - 1, -1, -1):
            if text[at] == end[0] and text[at : at + n] == end:
                return text[at + n : at + n + most]
    return []

"""Does it hand out what it learned? Copies and near copies of images and windows, and who was learned from.

The questions and the arithmetic are those of tables (`privacy.py`): never "is a made item close to a training item",
for real items are, too, but "is it closer than an item the model never saw". Here items are vectors of plain values
(pixels averaged down, moments of a window), not what a network sees in them: a network that learned from training
items sees those items differently from all others, made ones included, and would cry wolf or sleep.

Shape letters: T training items, H hold-out items, M made items, F numbers of a vector.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likely.evaluate import judge, picture, privacy
from likely.evaluate.arrays import Array, Stages
from likely.evaluate.auroc import Area, auroc
from likely.evaluate.card import Near, Row
from likely.evaluate.distance import Features, nearest
from likely.evaluate.manifold import unit
from likely.evaluate.vocabulary import Words

ATTACKED = 5_000  # training and hold-out items that an attacker is asked about
FINE = 65_536  # floats are compared to so many parts of 1
HELD = 10_000  # made items in the attacker's hands, and training items that distances are measured to


@dataclass(frozen=True)
class Vectors:
    """Training (T, F), hold-out (H, F) and made (M, F) items, each in a random order."""

    train: Features
    fresh: Features
    made: Features


def memorised(items: Vectors, copies: privacy.Rate, words: Words, say: Stages) -> tuple[list[Row], Near]:
    """The rows of "is it private?", and the picture of distances. `copies` are the exact ones."""
    rows = [judge.copying("copies", "Exact copies", copies, f"equal a training {words.one}", words)]
    say(f"an attacker looks for training {words.many}", 0.8)
    train, fresh, made = unit(items.train[:HELD], items.fresh[:ATTACKED], items.made[:HELD])
    k = min(len(train), len(fresh), ATTACKED)
    attack = privacy.attack(train[:k], fresh[:k], made)
    half = k // 2  # fresh items in the place of the made ones: half of the hold-out plays them, the other is attacked
    calm = privacy.attack(train[:half], fresh[half : 2 * half], fresh[:half])
    say("near copies", 0.9)
    near = privacy.Distances(nearest(made[:ATTACKED], train)[0], nearest(fresh, train)[0])
    rate = privacy.near_copies(near)
    rows.append(judge.copying("near_copies", "Near copies", rate, judge.near_words(words), words))
    copier = auroc(np.zeros(k), -near.fresh[:k]).value  # a copy of the training items is at distance 0 from each
    middle = calm.membership if half > 1 else Area(0.5, 0.0)
    rows.append(judge.membership(attack.membership, middle, copier, words))
    rows.append(judge.closeness(attack.dcr, calm.dcr, copier, min(len(made), k), words))
    return rows, picture.distances(near)


def copies(train: Array, fresh: Array, made: Array) -> privacy.Rate:
    """How many made and hold-out items (M, *) equal a training item, number for number."""
    known, new, old = keys(train), keys(made), keys(fresh)
    return privacy.rate(np.isin(new, known), np.isin(old, known))


def keys(x: Array) -> NDArray[np.uint64]:
    """(N,) equal for items that are equal; floats are compared to 1/65,536, whatever their precision."""
    found = np.empty(len(x), np.uint64)
    for i, one in enumerate(x):
        if x.dtype.kind == "f":
            one = np.round(one.astype(np.float64) * FINE) + 0.0  # no -0
        found[i] = int.from_bytes(hashlib.blake2b(one.tobytes(), digest_size=8).digest(), "little")
    return found


def closest(train: Features, made: Features, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The `most` made items (M, F) that are nearest to a training item (T, F), and those training items; places."""
    train, made = unit(train, made)
    far = nearest(made, train)[0]
    places = np.argsort(far, kind="stable")[:most]
    partner = [int(((train - made[i]) ** 2).sum(axis=1).argmin()) for i in places]
    return places, np.array(partner, np.int64)

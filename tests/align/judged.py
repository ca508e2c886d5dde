"""Judgements for tests: short to write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from likely.align.preference import Candidate, Comparison, Item

DATA = Path(os.environ.get("LIKELY_SHARED_DATA", "/nowhere")) / "preferences"


def data(name: str) -> Path:
    """A file of people's judgements, or a skipped test."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {name}: set LIKELY_SHARED_DATA to the folder that has preferences/{name}")
    return path


def item(name: str = "q", answers: str = "ab", models: str = "") -> Item:
    """An item with a candidate a letter."""
    made = [Candidate.text(f"{name} {x}", model=x if not models else models[k]) for k, x in enumerate(answers)]
    return Item(name, f"What is {name}?", tuple(made))


def say(of: Item, choice: str, order: str = "", by: str = "ann", **about: Any) -> Comparison:
    """A comparison of an item's candidates, in the order of these letters of models."""
    known = {one.model: name for name, one in of.by_id.items()}
    shown = tuple(known[x] for x in order) if order else tuple(of.by_id)[:2]
    return Comparison(of.id, shown, by, choice, **about)

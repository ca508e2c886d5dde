"""likely list and likely show: which parts there are and fit each other; what a model file holds."""

from __future__ import annotations

import likely
from likely.cli.options import Json, Model, show_json


def list_(as_json: Json = False) -> None:
    """Codecs, families, which of them fit, and what each family can do."""
    grid = likely.grid.grid()
    if as_json:
        show_json(grid)
        return
    for codec in grid["codecs"]:
        print(f"{codec['name']:<12} {codec['about']}\n             families: {', '.join(codec['families'])}")
    print()
    for family in grid["families"]:
        print(f"{family['name']:<12} {family['about']}\n             can: {', '.join(family['can'])}")


def show(model: Model, as_json: Json = False) -> None:
    """What a model file holds: likely show patients.likely"""
    gen = likely.load(model)
    card = gen.card
    if as_json:
        show_json(
            {key: value for key, value in card.items() if key != "codec"}
            | {"columns": [str(c) for c in gen.codec.describe()]}
        )
        return
    print(gen)
    print(card["choice"])
    print(f"seed {card['seed']}, likely {card['library']}, target {card['target'] or 'none'}\n")
    for column in gen.codec.describe():
        print(column)
    for promise in gen.codec.promises():
        print(promise)
    print(
        "\n"
        + (gen.report().answer if card.get("report") else "It holds no report: likely report MODEL --holdout new.csv")
    )

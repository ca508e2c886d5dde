"""Figures of the families of cells: trees, masked, exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

import likely
from figures_style import LOOK, MADE, REAL, SOFT, draw
from likely.core import Batch, Budget, Cells
from likely.families.exact import Exact
from likely.families.trees import Trees


def trees() -> Figure:
    """Two columns of SUPPORT2 on logarithmic axes; those who died in hospital lie on the line."""
    names = ["age", "dzgroup", "num.co", "slos", "d.time", "death", "hospdead"]
    table = likely.data.support2().select(names).sample(fraction=1, shuffle=True, seed=0)
    learned, held = table[:4000], table[4000:5500]
    rng = np.random.default_rng(0)

    def made(*constraints: str) -> pl.DataFrame:
        return likely.fit(learned, constraints=list(constraints), control=0, progress=False).sample(len(held), seed=0)

    panels = {
        "Real, held out": held,
        "Made by trees": made(),
        "With a constraint": made("slos <= d.time"),
        "Shuffled columns": pl.DataFrame([held[name].gather(rng.permutation(len(held))) for name in names]),
    }
    figure = draw(2.35)
    axes = figure.subplots(1, 4, sharex=True, sharey=True)
    for ax, (title, frame) in zip(axes, panels.items(), strict=True):
        ax.plot([3, 400], [3, 400], lw=0.5, color=SOFT)
        for died, colour in ((0, MADE), (1, LOOK)):
            some = frame.filter(pl.col("hospdead") == died)
            ax.plot(some["slos"], some["d.time"], ".", ms=2.2, mew=0, alpha=0.7, color=colour)
        below = float((frame["d.time"] < frame["slos"]).mean())
        ax.set_title(f"{title}\n{below:.0%} below the line")
        ax.set(xscale="log", yscale="log", xlabel="days in hospital", box_aspect=1)
    axes[0].set_ylabel("days until death\nor last contact")
    for place, word, colour in ((0.17, "died there", LOOK), (0.05, "left alive", MADE)):
        axes[0].text(0.97, place, word, transform=axes[0].transAxes, ha="right", fontsize=8, color=colour)
    return figure


def masked() -> Figure:
    """One network of Adult's rows, asked for ages by marital status, and for marital status by age."""
    names = ["age", "marital-status", "education", "hours-per-week", "sex", "income-per-year"]
    table = likely.data.adult().select(names).sample(fraction=1, shuffle=True, seed=0)
    learned, held = table[:10_000], table[10_000:]
    model = likely.fit(learned, family="masked", control=0, progress=False)
    figure = draw(3.4)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.12])
    status = {"Never-married": "never married", "Married-civ-spouse": "married", "Widowed": "widowed"}
    bins = np.arange(15, 95, 5)
    for ax, (value, name) in zip(left.subplots(3, 1, sharex=True), status.items(), strict=True):
        real = held.filter(pl.col("marital-status") == value)["age"]
        made = model.sample(3000, given={"marital-status": value}, seed=0)["age"]
        ax.hist(real, bins, density=True, color=REAL, alpha=0.6)
        ax.hist(made, bins, density=True, histtype="step", color=MADE, lw=1.4)
        ax.text(0.98, 0.8, name, transform=ax.transAxes, ha="right")
        ax.set(yticks=[], xlim=(15, 90))
        ax.spines["left"].set_visible(False)
    ax.set_xlabel("age in years")
    left.suptitle("Age, given marital status", x=0.02, ha="left", fontsize=9)
    status["Divorced"] = "divorced"
    axes = right.subplots(3, 1, sharex=True)
    for ax, (low, high) in zip(axes, ((17, 24), (35, 44), (65, 90)), strict=True):
        real = held.filter(pl.col("age").is_between(low, high))["marital-status"]
        made = model.sample(3000, given={"age": (low, high)}, seed=0)["marital-status"]
        for k, value in enumerate(status):
            shares = [float((column == value).mean()) for column in (real, made)]
            ax.barh(k - 0.2, shares[0], 0.38, color=REAL, alpha=0.6)
            ax.barh(k + 0.2, shares[1], 0.38, color=MADE)
        ax.set(yticks=range(4), yticklabels=status.values(), xlim=(0, 1))
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
        ax.text(0.99, 0.1, f"age {low} to {high}", transform=ax.transAxes, ha="right")
    axes[0].text(0.7, 0.5, "real, held out", transform=axes[0].transAxes, fontsize=8, color=SOFT, ha="right")
    axes[0].text(0.74, 0.5, "made", transform=axes[0].transAxes, fontsize=8, color=MADE)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("share of these people")
    right.suptitle("Marital status, given age", x=0.02, ha="left", fontsize=9)
    return figure


def exact() -> Figure:
    """Counting: one column of known probabilities; and three columns that hang together, which it cannot know."""
    rng = np.random.default_rng(0)
    figure = draw(2.9)
    one, two = figure.subplots(1, 2)
    true = 0.52 ** np.arange(12)
    true /= true.sum()
    for n, colour, mark in ((30, LOOK, "^"), (300, REAL, "s"), (30_000, MADE, "o")):
        model = Exact(Cells((12,)))
        x = torch.from_numpy(rng.choice(12, (n, 1), p=true))
        model.fit(Batch(x), Budget(), rng=torch.Generator())
        learned = model.log_prob(Batch(torch.arange(12)[:, None])).exp()
        one.plot(true, learned, mark, ms=5, mew=0, color=colour, label=f"{n:,} rows")
    one.plot([2e-4, 1], [2e-4, 1], "-", lw=0.6, color=SOFT, zorder=0)
    one.set(xscale="log", yscale="log", xlabel="true probability of a code", ylabel="learned probability")
    one.set_title("One column: no code is impossible")
    one.legend(loc="upper left", handletextpad=0.2)

    C = 5  # codes of three columns: each the code before it, the next one, or any
    first, follow = np.array([0.4, 0.25, 0.15, 0.12, 0.08]), 0.75 * np.eye(C) + 0.2 * np.roll(np.eye(C), 1, 1) + 0.01
    shape = np.einsum("i,ij,jk->ijk", first, follow, follow)
    law, every = shape.ravel(), torch.cartesian_prod(*[torch.arange(C)] * 3)

    def entropy(p: np.ndarray) -> float:
        return -float((p * np.log(p)).sum())

    def nats(family: Any, n: int) -> float:
        model = family(Cells((C, C, C)))
        model.fit(Batch(every[rng.choice(len(law), n, p=law)]), Budget(), rng=torch.Generator().manual_seed(0))
        return -float(law @ model.log_prob(Batch(every)).double().numpy())

    rows = [10, 30, 100, 300, 1000, 3000, 10_000]
    for family, name, colour, times, place in (
        (Exact, "exact", LOOK, 20, (400, 4.58)),
        (Trees, "trees", MADE, 3, (130, 3.85)),
    ):
        two.plot(
            rows,
            [np.mean([nats(family, n) for _ in range(times)]) for n in rows],
            "o-",
            ms=3.5,
            mew=0,
            lw=1.2,
            color=colour,
        )
        two.text(*place, name, color=colour)
    margins = sum(entropy(shape.sum(axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    for level, name in ((margins, "sum of the columns' entropies"), (entropy(law), "entropy of the rows: the truth")):
        two.axhline(level, lw=0.6, color=SOFT, zorder=0)
        two.text(10_000, level - 0.04, name, color=SOFT, fontsize=8, ha="right", va="top")
    two.set(xscale="log", xlabel="rows learned from", ylabel="expected nats a row", ylim=(2.5, 5.15))
    two.set_title("Three columns that hang together")
    return figure

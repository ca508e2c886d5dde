"""Figures of the families of reals: vae, autoencoder, flow, gan, cyclegan. Digits are split as in digits_bench.py."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn.datasets import load_digits, make_moons
from torch import Tensor

import results
from digits_bench import LEARN, SPACE, frechet
from figures_style import HEAT, INK, LINE, LOOK, MADE, PAPER, SOFT, bare, draw, sheet
from likely.core import Batch, Budget, Cells, Reals
from likely.families.autoencoder import Autoencoder
from likely.families.cyclegan import CycleGan, unpaired
from likely.families.flow import Flow, FlowConfig
from likely.families.gan import Gan, GanConfig
from likely.families.vae import Vae
from likely.latent import arc
from likely.train.loop import fit


def digits() -> tuple[Tensor, Tensor]:
    """All digits (n, 1, 8, 8) in [-1, 1] and which they are, in the benchmark's order: LEARN to learn from first."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.data))
    x = torch.from_numpy((data.data[order] / 8 - 1).astype(np.float32)).view(-1, *SPACE.shape)
    return x, torch.from_numpy(data.target[order]).long()


def vae() -> Figure:
    """Four sheets of digits."""
    x, label = digits()
    learned, held = x[:LEARN], x[LEARN:]
    torch.manual_seed(0)
    writer = Vae(SPACE, Cells((10,)))
    fit(writer, Batch(learned, Batch(label[:LEARN, None])), Budget(steps=600), seed=0)
    torch.manual_seed(0)
    model = Vae(SPACE)
    fit(model, Batch(learned), Budget(steps=600), seed=0)
    asked = torch.arange(10).repeat(3)[:, None]
    named = writer.sample(30, Batch(asked), rng=torch.Generator().manual_seed(0))
    walks = []
    for a, b in (((0, 1), (6, 1)), ((4, 3), (9, 3)), ((3, 3), (8, 4))):
        ends = torch.stack([held[label[LEARN:] == digit][k] for digit, k in (a, b)])
        z = model.embed(Batch(ends)).double().numpy()
        between = model.restore_from(torch.from_numpy(arc(z[0], z[1], 8)).float())
        walks.append(torch.cat([ends[:1], between, ends[1:]]))
    rng = torch.Generator().manual_seed(0)
    normal, mixture = model.restore_from(torch.randn(LEARN, model.size, generator=rng)), model.sample(LEARN, rng=rng)
    distance = [frechet(made.flatten(1).numpy(), held.flatten(1).numpy()) for made in (normal, mixture)]
    panels = {
        "Asked for by label, 0 to 9": named.split(10),
        "From a real digit (left end) to another (right end)": walks,
        f"From N(0, I): Fréchet distance {distance[0]:.2f}": normal[:30].split(10),
        f"From the fitted mixture: Fréchet distance {distance[1]:.2f}": mixture[:30].split(10),
    }
    figure = draw(2.8)
    figure.get_layout_engine().set(wspace=0.06, hspace=0.04)
    for ax, (title, rows) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        sheet(ax, rows)
        ax.set_title(title)
    return figure


def autoencoder() -> Figure:
    """Held-out digits, some of them damaged: what comes back, and the nats of every pixel."""
    x, label = digits()
    torch.manual_seed(0)
    model = Autoencoder(SPACE)
    fit(model, Batch(x[:LEARN]), Budget(steps=800), seed=0)
    held = x[LEARN:]
    good = torch.stack([held[label[LEARN:] == digit][2] for digit in range(8)])
    given = good.clone()
    given[2, 0, 5:] = -1.0  # its lower part is missing
    given[3, 0, 3, :] = 1.0  # a line through it
    given[4, 0, 0:2, 0:2] = 1.0  # a blot
    given[5, 0] = (given[5, 0] + 0.5 * torch.randn(8, 8, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    given[6, 0, 2, 6] = 1.0  # one pixel
    given[7, 0] = given[7, 0].T.clone()  # lying down
    back, nats = model.restore_from(model.embed(Batch(given))), model.errors(Batch(given))
    usual = model.errors(Batch(held)).sum(1)
    names = ["whole", "whole", "erased", "crossed", "blot", "noise", "one pixel", "turned"]
    figure = draw(3.6)
    axes = figure.subplots(4, 8)
    for j in range(8):
        for ax, image in zip(axes[:3, j], (good, given, back), strict=False):
            ax.imshow(image[j, 0], cmap=PAPER, vmin=-1, vmax=1, interpolation="nearest")
        shown = axes[3, j].imshow(nats[j].view(8, 8), cmap=HEAT, vmin=0, vmax=12, interpolation="nearest")
        axes[0, j].set_title(names[j], loc="center")
        axes[3, j].set_xlabel(f"{nats[j].sum():.0f} nats", color=INK)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, color=LINE)
    for ax, name in zip(axes[:, 0], ("digit", "given", "back", "surprise"), strict=True):
        ax.set_ylabel(name, rotation=0, ha="right", va="center", color=INK)
    bar = figure.colorbar(shown, cax=axes[3, -1].inset_axes([1.12, 0, 0.1, 1]), ticks=[0, 6, 12], label="nats a pixel")
    bar.outline.set_visible(False)
    bar.ax.set_yticklabels(["0", "6", "12+"])
    print(f"autoencoder: undamaged held-out digits median {usual.median():.0f}, 99 % {usual.quantile(0.99):.0f} nats")
    return figure


def in_steps(model: Flow, steps: int, solver: str) -> Flow:
    """The same flow, drawn another way."""
    config = replace(model.config, steps=steps, solver=solver)
    return Flow(model.space, None, config).restore(model.tensors()).eval()


def flow() -> Figure:
    """Two moons: paths, and samples in few steps; digits below, from the same noise in every row."""
    x, side = make_moons(20_000, noise=0.06, random_state=0)
    moons = torch.from_numpy(x.astype(np.float32))
    torch.manual_seed(0)
    model = Flow(Reals((2,)), config=FlowConfig(width=64, depth=2))
    fit(model, Batch(moons), Budget(steps=3000), training=replace(model.plan(), batch=512, rate=4e-3), seed=0)
    w, c, way = torch.randn(120, 2, generator=torch.Generator().manual_seed(1)), model.components, []
    grid = c.grid(32)
    with torch.no_grad():
        for k, t in enumerate(grid):
            spread = ((t * c.spread).square() + (1 - t).square()).sqrt()
            here = model.walk(w, model.field(None, 1.0), grid[: k + 1], "heun")
            way.append(c.unturn(spread * here) + t * c.mean)
    path = torch.stack(way)
    upper = side[torch.cdist(path[-1], moons).argmin(1)] == 0
    counts = (1, 2, 4, 8, 25)
    titles = [f"{n} step{'s' * (n != 1)}" for n in counts]
    figure = draw(4.0)
    top, low = figure.subfigures(2, 1, height_ratios=[1, 0.78])
    board = [["way", *[f"{solver} {n}" for n in counts]] for solver in ("euler", "multistep")]
    axes = top.subplot_mosaic(board, width_ratios=[2.2, 1, 1, 1, 1, 1])
    angles = torch.arange(32) * math.pi / 32
    lines = torch.stack([angles.cos(), angles.sin()])
    fresh = torch.from_numpy(make_moons(20_000, noise=0.06, random_state=1)[0].astype(np.float32))
    fresh = (fresh @ lines).sort(0).values
    ax = axes.pop("way")
    for which, colour in ((upper, LOOK), (~upper, MADE)):
        some = path[:, torch.from_numpy(which)].numpy()
        ax.plot(some[..., 0], some[..., 1], lw=0.5, color=colour, alpha=0.45)
        ax.plot(*some[0].T, ".", ms=3.5, mew=0, color=SOFT)
        ax.plot(*some[-1].T, ".", ms=5, mew=0, color=colour)
    ax.set_title("From noise (grey) to two moons")
    for name, small in axes.items():
        solver, n = name.split()
        made = in_steps(model, int(n), solver).sample(20_000, rng=torch.Generator().manual_seed(0))
        gap = ((made @ lines).sort(0).values - fresh).abs().mean()
        small.text(0.6, -1.45, f"{gap:.3f}", ha="center", va="top", fontsize=8, color=SOFT)
        small.plot(*made[:500].T, ".", ms=1.8, mew=0, color=INK, clip_on=False)
        small.set(xlim=(-1.4, 2.4), ylim=(-1.3, 1.8))
        if solver == "euler":
            small.set_title(titles[counts.index(int(n))], loc="center", fontsize=8.5)
        if n == "1":
            small.set_ylabel(solver, color=INK)
    for panel in (ax, *axes.values()):
        bare(panel)
        panel.set_aspect("equal", adjustable="datalim" if panel is ax else "box")
    torch.manual_seed(0)
    writer = Flow(SPACE)
    fit(writer, Batch(digits()[0][:LEARN]), Budget(steps=2800), seed=0)
    rows = [in_steps(writer, n, "multistep").sample(20, rng=torch.Generator().manual_seed(0)) for n in counts]
    sheet(low.subplots(), rows, titles)
    return figure


class Watched(Gan):
    """A gan that notes the weight of its penalty."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.trail: list[float] = []

    def adapt(self, sharpness: Tensor) -> None:
        """Move gamma, and note it."""
        super().adapt(sharpness)
        self.trail.append(float(self.gamma))


def gan() -> Figure:
    """Digits of every objective, and the weight of the penalty while the default learns."""
    record = {row["row"]: row for row in json.loads((results.FOLDER / "digits.json").read_text())["rows"][::-1]}
    x, trails = digits()[0], {}
    rows, names, values = [x[:16]], ["real"], [f"{record['floor: digits learned from']['FD']:.2f}"]
    for objective in ("relativistic", "wasserstein", "non-saturating", "hinge"):
        row = record[f"gan {objective}"]
        torch.manual_seed(row["seed"])
        model = Watched(SPACE, None, GanConfig(objective=objective))
        fit(model, Batch(x[:LEARN]), Budget(steps=row["steps"]), seed=row["seed"])
        made = model.sample(LEARN, rng=torch.Generator().manual_seed(row["seed"] + 1))
        here = frechet(made.flatten(1).numpy(), x[LEARN:].flatten(1).numpy())
        print(f"gan {objective}: distance {here:.3f} here, {row['FD']:.3f} in the record")
        rows.append(made[:16])
        names.append(objective)
        values.append(f"{row['FD']:.2f}")
        if model.trail:
            trails["digits"] = model.trail
    torch.manual_seed(0)
    angle = torch.randint(0, 8, (2000,)) * math.pi / 4
    ring = torch.stack([angle.cos(), angle.sin()], 1) * 2 + 0.25 * torch.randn(2000, 2)
    model = Watched(Reals((2,)), None, GanConfig(width=32, depth=2, latent=8))
    fit(model, Batch(ring), Budget(steps=1500), seed=0)
    trails["ring of eight clouds"] = model.trail
    figure = draw(3.9)
    top, low = figure.subfigures(2, 1, height_ratios=[1.2, 1])
    ax = top.subplots()
    sheet(ax, rows, names, values)
    ax.set_title("Digits by objective", fontsize=9)
    ax.text(1.0, 1.0, "Fréchet\ndistance", transform=ax.transAxes, fontsize=8, color=SOFT, va="bottom")
    ax = low.subplots()
    for (name, line), colour in zip(trails.items(), (MADE, LOOK), strict=True):
        ax.plot(range(1, len(line) + 1), line, lw=1.2, color=colour)
        ax.text(len(line), line[-1] * 0.75, name, color=colour, ha="right", va="top")
    ax.set(yscale="log", xlabel="steps", ylabel="gamma", xlim=(0, 1520), ylim=(4e-4, 2))
    ax.set_title("The penalty's weight while learning")
    return figure


def cyclegan() -> Figure:
    """Thin digits to bold ones, and to white ones on black: sets that share no digit, and the true partners."""
    x = digits()[0]
    a, b, test = x[:800], x[800:1600], x[1600:]
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "Bold strokes": lambda x: F.max_pool2d(F.pad(x, (1, 0, 1, 0), value=-1.0), 2, 1),
        "White on black": lambda x: -x,
    }
    figure = draw(1.55)
    figure.get_layout_engine().set(wspace=0.04)
    for ax, (name, change) in zip(figure.subplots(1, 2), changes.items(), strict=True):
        torch.manual_seed(0)
        model = CycleGan(SPACE, SPACE)
        fit(model, unpaired(a, change(b)), Budget(steps=400), seed=0)
        there = model.translate(test)
        back, partner = model.translate(there, back=True), change(test)
        found = torch.cdist(there.flatten(1), partner.flatten(1)).argmin(1) == torch.arange(len(test))
        print(f"cyclegan, {name}: cycle {float((back - test).abs().mean()) / 2:.3f}")
        sheet(ax, [part[:10] for part in (test, there, back, partner)], ["digit", "there", "back", "partner"])
        ax.set_title(f"{name}: partner found for {float(found.float().mean()):.0%}")
    return figure

"""Emoji: does translation between two sets without pairs find the pairs?

    npm pack @iconify-json/noto @iconify-json/twemoji           # unpack both
    python benchmarks/cyclegan_bench.py render noto/package twemoji/package emoji.npz     # needs resvg-py and Pillow
    OMP_NUM_THREADS=1 python benchmarks/cyclegan_bench.py fit emoji.npz [--steps 900] [--seeds 0]

Noto (Apache 2.0) and Twemoji (CC BY 4.0) draw the same 3,720 names; 32 x 32 pixels, RGB on white. Names that differ by
skin tone alone are one group. Of the groups 42 % give set A (Noto's drawing), 42 % set B (Twemoji's) and 16 % are for
testing, one name a group: what is drawn in A is not drawn in B, and the test is drawn in neither. So nothing tells
`cyclegan` which drawing belongs to which, and yet each test emoji has a true partner.

    distance    from a Noto emoji of the test to its Twemoji partner, mean over the test: as it is, and translated.
                `features` is the last hidden layer of a network of three convolutions learned on A and B, never on the
                test or on a pair, to tell nine categories and both sets apart: it sees what is drawn and how. Beside it
                `card`, the features that the report card of images learns from the same images and labels, plain
                pixels, pixels in blocks of 4 x 4, and shares of 64 colours
    as Twemoji  share of emoji that this network takes for Twemoji
    partner     share of test emoji whose nearest Twemoji of the test, in blocks, is their partner
    cycle       mean absolute difference of a test emoji from its translation there and back, pixels in [0, 1]
    controls    every pixel moved by the difference of the sets' mean colours, which needs no learning; and the same
                translator taught with true pairs of the names of A and B, pixel by pixel: what the pairs would give

  claims        feature distance at least 25 % lower (not reached: pairs themselves would give 23 to 28 %), cycle <= .1
"""

from __future__ import annotations

import argparse
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

TONE = re.compile(r"-(medium-light|medium-dark|light|medium|dark)-skin-tone")
COLUMNS = [
    "row",
    "seed",
    "features",
    "card",
    "pixels",
    "blocks",
    "colours",
    "as Twemoji",
    "partner",
    "cycle",
    "steps",
    "CPU s",
]


def render(folders: list[Path], out: Path) -> None:
    """Draw what both sets name: noto and twemoji (n, 32, 32, 3) bytes, names and categories."""
    import resvg_py
    from PIL import Image

    sets = {
        folder_name: json.loads((folder / "icons.json").read_text())
        for folder_name, folder in zip(("noto", "twemoji"), folders, strict=True)
    }
    listed = json.loads((folders[0] / "metadata.json").read_text())["categories"]
    category = {name: k for k, names in enumerate(listed.values()) for name in names}
    names = sorted(set(sets["noto"]["icons"]) & set(sets["twemoji"]["icons"]) & set(category))
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in sets}
    for name in names:
        for which, icons in sets.items():
            icon = icons["icons"][name]
            width, height = icon.get("width", icons["width"]), icon.get("height", icons["height"])
            box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{box}" width="{width}" height="{height}">{icon["body"]}</svg>'
            )
            png = resvg_py.svg_to_bytes(
                svg_string=svg, width=64, height=64, background="#ffffff", skip_system_fonts=True
            )
            image = Image.open(io.BytesIO(bytes(png))).convert("RGB").resize((32, 32), Image.Resampling.BOX)
            drawn[which].append(np.asarray(image))
    np.savez_compressed(
        out,
        names=np.array(names),
        category=np.array([category[name] for name in names]),
        **{which: np.stack(images) for which, images in drawn.items()},
    )


def pixels(x: Any) -> np.ndarray:
    """Tensors (B, 3, 32, 32) in [-1, 1] -> arrays (B, 32, 32, 3) from 0 to 255."""
    found: np.ndarray = ((x + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    return found


def colours(x: Any) -> Any:
    """Shares of 64 colours (B, 64)."""
    import torch.nn.functional as F

    code = (((x + 1) / 2 * 255).long() // 64).clamp(0, 3)
    code = (code[:, 0] * 16 + code[:, 1] * 4 + code[:, 2]).flatten(1)
    return F.one_hot(code, 64).float().mean(1)


def study(file: Path, steps: int, seeds: list[int]) -> None:
    """Fit, measure, print, save."""
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    import results
    from likely.core import Budget, Reals
    from likely.evaluate.features import learn
    from likely.families.cyclegan import CycleGan, unpaired
    from likely.train.loop import fit

    torch.set_num_threads(1)
    emoji = np.load(file)
    group = np.array([TONE.sub("", name) for name in emoji["names"]])
    groups = np.unique(group)
    order = np.random.default_rng(0).permutation(len(groups))
    cuts = int(0.42 * len(groups)), int(0.84 * len(groups))
    part = {groups[k]: int(place >= cuts[0]) + int(place >= cuts[1]) for place, k in enumerate(order)}
    side = np.array([part[name] for name in group])
    test = np.array([np.flatnonzero(group == name)[0] for name in groups if part[name] == 2])

    def images(which: str, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(emoji[which][rows]).permute(0, 3, 1, 2).float() / 127.5 - 1

    a, b = images("noto", np.flatnonzero(side == 0)), images("twemoji", np.flatnonzero(side == 1))
    noto, twemoji = images("noto", test), images("twemoji", test)
    print(f"A {len(a)}, B {len(b)}, test {len(noto)} emoji")

    class Seen(nn.Module):
        """What the features are: the last hidden layer of a small classifier."""

        def __init__(self, categories: int) -> None:
            super().__init__()
            self.convolutions = nn.ModuleList(
                [
                    nn.Conv2d(3, 32, 3, padding=1),
                    nn.Conv2d(32, 48, 3, stride=2, padding=1),
                    nn.Conv2d(48, 64, 3, stride=2, padding=1),
                ]
            )
            self.hidden, self.head = nn.Linear(4096, 64), nn.Linear(64, categories + 1)

        def features(self, x: Tensor) -> Tensor:
            for convolution in self.convolutions:
                x = F.silu(convolution(x))
            return F.silu(self.hidden(x.flatten(1)))

    def seen() -> Seen:
        torch.manual_seed(0)
        x = torch.cat([a, b])
        kind = torch.from_numpy(np.concatenate([emoji["category"][side == k] for k in (0, 1)])).long()
        drawn = torch.cat([torch.zeros(len(a)), torch.ones(len(b))])
        model = Seen(int(emoji["category"].max()) + 1)
        descent = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
        rounds = 800
        for k in range(rounds):
            rows = torch.randint(len(x), (64,))
            i, j = torch.randint(0, 7, (2,)).tolist()
            moved = F.pad(x[rows], (3, 3, 3, 3), value=1.0)[:, :, i : i + 32, j : j + 32]
            out = model.head(model.features(moved))
            loss = F.cross_entropy(out[:, :-1], kind[rows])
            loss = loss + F.binary_cross_entropy_with_logits(out[:, -1], drawn[rows])
            for parameters in descent.param_groups:
                parameters["lr"] = 2e-3 * (1 - k / rounds)
            descent.zero_grad()
            loss.backward()
            descent.step()
        return model.eval()

    judge = seen()

    kinds = np.concatenate([np.char.add(f"{k} ", emoji["category"][side == k].astype(str)) for k in (0, 1)])
    card = learn(pixels(torch.cat([a, b])), (0.0, 255.0), kinds, seed=0)

    views = {
        "features": judge.features,
        "card": lambda x: torch.from_numpy(card(pixels(x))),
        "pixels": lambda x: x.flatten(1),
        "blocks": lambda x: F.avg_pool2d(x, 4).flatten(1),
        "colours": colours,
    }

    @torch.no_grad()
    def distances(x: Tensor) -> dict[str, float]:
        row = {name: float((view(x) - view(twemoji)).norm(dim=1).mean()) for name, view in views.items()}
        nearest = torch.cdist(views["blocks"](x), views["blocks"](twemoji)).argmin(1)
        row["as Twemoji"] = float((judge.head(judge.features(x))[:, -1] > 0).float().mean())
        return {**row, "partner": float((nearest == torch.arange(len(x))).float().mean())}

    plain = distances(noto)
    other = torch.roll(torch.arange(len(twemoji)), 1)
    shifted = (noto + b.mean((0, 2, 3), keepdim=True) - a.mean((0, 2, 3), keepdim=True)).clamp(-1, 1)
    rows: list[dict[str, Any]] = [
        {"row": "Noto as it is", **plain},
        {"row": "mean colours moved", **distances(shifted)},
        {"row": "another Twemoji", **distances(twemoji[other])},
        {"row": "Twemoji itself", **distances(twemoji)},
    ]
    space = Reals((3, 32, 32), bounds=(-1.0, 1.0))

    def taught() -> dict[str, Any]:
        """The translator with true pairs."""
        torch.manual_seed(0)
        model = CycleGan(space, space)
        pairs = images("noto", np.flatnonzero(side < 2)), images("twemoji", np.flatnonzero(side < 2))
        descent = torch.optim.AdamW(model.translators["forth"].parameters(), 2e-3)
        rounds = 2100
        for k in range(rounds):
            rows = torch.randint(len(pairs[0]), (32,))
            for parameters in descent.param_groups:
                parameters["lr"] = 2e-3 * (1 - k / rounds)
            loss = (model.forth(pairs[0][rows]) - pairs[1][rows]).abs().mean()
            descent.zero_grad()
            loss.backward()
            descent.step()
        return {"row": "taught with pairs", **distances(model.translate(noto)), "steps": rounds}

    rows.append(taught())
    rows.append({"row": "nearer by", **{name: 1 - rows[-1][name] / plain[name] for name in views}})
    for seed in seeds:
        torch.manual_seed(seed)
        model = CycleGan(space, space)
        began = time.process_time()
        fit(model, unpaired(a, b, seed=seed), Budget(steps=steps), seed=seed)
        spent = time.process_time() - began
        there = model.translate(noto)
        cycle = float((model.translate(there, back=True) - noto).abs().mean()) / 2
        rows.append(
            {"row": "translated", "seed": seed, **distances(there), "cycle": cycle, "steps": steps, "CPU s": spent}
        )
        gain = {name: 1 - rows[-1][name] / plain[name] for name in views}
        rows.append({"row": "nearer by", "seed": seed, **gain})
        sheet(Path(file).with_name(f"cyclegan_{seed}.png"), [noto, there, twemoji])
    print(results.table(rows, COLUMNS))
    print(results.save("cyclegan", rows, gate="features nearer by >= .25, cycle <= .1"))


def sheet(path: Path, lines: list[Any]) -> None:
    """A picture: Noto, translated, Twemoji, one under the other."""
    from PIL import Image

    blocks = []
    for start in range(0, 72, 24):
        for x in lines:
            strip = ((x[start : start + 24].permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy()
            blocks.append(np.concatenate(list(strip), 1))
    picture = Image.fromarray(np.concatenate(blocks))
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(path)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    drawing = verbs.add_parser("render")
    drawing.add_argument("noto", type=Path)
    drawing.add_argument("twemoji", type=Path)
    drawing.add_argument("out", type=Path)
    fitting = verbs.add_parser("fit")
    fitting.add_argument("file", type=Path)
    fitting.add_argument("--steps", type=int, default=900)
    fitting.add_argument("--seeds", type=int, nargs="*", default=[0])
    arguments = parser.parse_args()
    if arguments.verb == "render":
        render([arguments.noto, arguments.twemoji], arguments.out)
    else:
        study(arguments.file, arguments.steps, arguments.seeds)


if __name__ == "__main__":
    main()

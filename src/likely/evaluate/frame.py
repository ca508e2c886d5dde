"""The frame of pages that stand alone: one file, nothing loaded, no scripts."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template


def framed(name: str, title: str, *, drawn: bool, styles: tuple[str, ...] = ("report",), **parts: str) -> str:
    """`templates/NAME.html` with its parts, as a whole page. `drawn`: it holds pictures. Raises KeyError where a
    part is missing."""
    main = Template(_read(f"{name}.html")).substitute(parts)
    return Template(_read("frame.html")).substitute(
        title=escape(title), style="".join(_read(f"{style}.css") for style in styles),
        images="; img-src data:" if drawn else "", main=main,
    )  # fmt: skip


def _read(name: str) -> str:
    return (files("likely.evaluate") / "templates" / name).read_text(encoding="utf-8")

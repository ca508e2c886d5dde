"""Files of prompts: each is read as it was written, and what is none is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from likely.align.prompts import read
from likely.errors import DataError

ODD = "\u2028\u2029\u0085\x0b\x0c\x1c"  # line breaks to Python, none to JSON lines


def test_a_line_ends_where_json_lines_end(tmp_path: Path) -> None:
    said = [f"Why{mark}so {k}?" for k, mark in enumerate(ODD)]
    rows = [json.dumps({"prompt": text}, ensure_ascii=False) for text in said]
    (tmp_path / "p.jsonl").write_bytes("\n".join(rows).encode())
    assert read(tmp_path / "p.jsonl") == said
    for end in ("\n", "\r\n"):
        (tmp_path / "p.txt").write_bytes(("\ufeff" + "".join(text + end for text in said)).encode())
        assert read(tmp_path / "p.txt") == said


@pytest.mark.parametrize(("name", "content", "message"), [
    ("p.jsonl", b'{"prompt": "a"}\r\n\r\n{"prompt": 3}', "line 3, prompt is '3'"),
    ("p.jsonl", b'{"prompt": "a\n"}', "line 1 is no JSON"),
    ("p.jsonl", b"\n \n", "holds no prompts"),
    ("p.txt", b"a\n\xff", "no UTF-8 text"),
])  # fmt: skip
def test_what_is_no_prompt(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)

"""What models are asked: the prompts of a file, in order, each once.

.txt      a prompt a line                     .jsonl     an object a line (or a JSON string):
    {"prompt": "Why is the sky blue?"}            a text
    {"messages": [{"role": ..., "content": ...}]} a conversation; an answer at its end is left out
    {"prompt": [messages]}                        the same
    {"given": {"sex": "F"}}                       a wish, for generators of tables and images

Other fields of an object are passed over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from likely.align import fields
from likely.errors import DataError

LARGEST = 2**28  # bytes of a file
MOST = 100_000
LINES = (".txt", ".text")
WANTED = '{"prompt": "..."}, {"messages": [{"role": "user", "content": "..."}]} or {"given": {"column": value}}'


def read(path: str | Path) -> list[Any]:
    """Prompts: texts, lists of messages, mappings (wishes). Raises DataError that names the line."""
    path = Path(path)
    try:
        if path.is_dir():
            raise DataError(f"{str(path)!r} is a folder; prompts are a .jsonl or .txt file, one a line.")
        if path.stat().st_size > LARGEST:
            raise DataError(f"{str(path)!r} has {path.stat().st_size:,} bytes; at most {LARGEST:,} are read.")
        lines = path.read_bytes().decode("utf-8-sig").split("\n")  # U+2028 and the like belong to a text
    except FileNotFoundError as error:
        raise DataError(f"There is no file {str(path)!r} of prompts: one a line, .txt or .jsonl.") from error
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is no UTF-8 text: {error.reason} at byte {error.start}.") from error
    plain = path.suffix.lower() in LINES
    found: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path.name}, line {number}"
            prompt = line.strip() if plain else _object(line, where)
            found.setdefault(fields.canonical(fields.plain(prompt, where)), prompt)
    if not found:
        raise DataError(f"{str(path)!r} holds no prompts: write one a line, {WANTED}.")
    if len(found) > MOST:
        raise DataError(f"{str(path)!r} holds {len(found):,} prompts; at most {MOST:,} are taken.")
    return list(found.values())


def _object(line: str, where: str) -> Any:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        whole = " The file looks like one JSON list: write its objects one a line." if line.lstrip()[:1] == "[" else ""
        raise DataError(f"{where} is no JSON ({str(error)[:80]}). Plain lines go into a .txt file.{whole}") from error
    if isinstance(found, str) and found.strip():
        return found
    if isinstance(found, dict):
        for name, check in (("prompt", _asked), ("messages", _messages), ("given", _wish)):
            if name in found:
                return check(found[name], f"{where}, {name}")
    raise DataError(f"{where} is {str(found)[:60]!r}; wanted is {WANTED}.")


def _asked(value: Any, where: str) -> Any:
    if isinstance(value, list):
        return _messages(value, where)
    if isinstance(value, str) and value.strip():
        return value
    raise DataError(f"{where} is {str(value)[:60]!r}; a text that says something is wanted, or a list of messages.")


def _messages(value: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{where} is {str(value)[:60]!r}; a list of messages is wanted.")
    made = []
    for message in value:
        if not isinstance(message, dict) or not all(isinstance(message.get(x), str) for x in ("role", "content")):
            raise DataError(f'{where}: {str(message)[:60]!r} is no message, such as {{"role": "user", "content": ""}}.')
        made.append({"role": message["role"], "content": message["content"]})
    while made and made[-1]["role"] == "assistant":
        made.pop()
    if not made:
        raise DataError(f"{where}: nobody asks anything in it.")
    return made


def _wish(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise DataError(f'{where} is {str(value)[:60]!r}; a wish such as {{"sex": "F"}} is wanted.')
    return value

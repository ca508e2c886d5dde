"""Examples to learn from -> ids, and which of them are learned.

    {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}, ...]}
                                     what the assistant says is learned, and the token that ends its turn
    {"prompt": ..., "answer": ...}   the same for one turn; without a chat template, the answer after the prompt
    {"text": ...}                    all of it is learned

Where in the ids of a conversation the assistant speaks is found by having the template write its beginnings: up to
where an answer begins, and up to where it has ended. What lies between is the answer. That holds for templates that
write a beginning as they write it in the whole; some do not (they drop earlier thoughts), and are refused by name of
the turn. Nothing is guessed from the text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from likely.errors import DataError, LikelyError
from likely.language.checkpoint import Checkpoint
from likely.language.template import check

ANSWERS = ("answer", "completion")
WANTED = 'one of {"prompt": ..., "answer": ...}, {"messages": [{"role": ..., "content": ...}]}, {"text": ...}'
LARGEST = 2**32  # bytes of a file of examples
LINE = 2**24  # characters of one example


class Example(NamedTuple):
    """`ids` of a text, and which of them are `learned`; the first never is: nothing comes before it."""

    ids: list[int]
    learned: list[bool]


def read(path: str | Path) -> list[dict[str, Any]]:
    """The examples of a JSONL file, one object a line. Raises DataError that names the line."""
    path, found = Path(path), []
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{str(path)!r} has {path.stat().st_size} bytes; {LARGEST} are read at most.")
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    found.append(_object(line, f"{path.name}, line {number}"))
    except FileNotFoundError as error:
        raise DataError(f"There is no {str(path)!r}.") from error
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is no UTF-8 text: {error.reason} at byte {error.start}.") from error
    if not found:
        raise DataError(f"{str(path)!r} holds no examples: write one JSON object a line, {WANTED}.")
    return found


def _object(line: str, where: str) -> dict[str, Any]:
    if len(line) > LINE:
        raise DataError(f"{where} has {len(line)} characters; {LINE} are read at most.")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        whole = " The file looks like one JSON list: write its objects one a line." if line.lstrip()[:1] == "[" else ""
        raise DataError(f"{where} is no JSON ({str(error)[:80]}).{whole}") from error
    if not isinstance(found, dict):
        raise DataError(f"{where} is {str(found)[:60]!r}; wanted is {WANTED}.")
    return found


def examples(checkpoint: Checkpoint, items: Sequence[Mapping[str, Any]], *, plain: bool = False) -> list[Example]:
    """Ids of all items, and what of them is learned. `plain`: pairs are written without the chat template.

    Raises DataError that counts items from 1.
    """
    found = []
    for number, item in enumerate(items, 1):
        try:
            found.append(example(checkpoint, item, plain=plain))
        except LikelyError as error:
            raise DataError(f"Example {number}: {error}") from error
    return found


def example(checkpoint: Checkpoint, item: Mapping[str, Any], *, plain: bool = False) -> Example:
    """Ids of one item, and what of it is learned. Raises DataError where it is none of the three kinds."""
    if not isinstance(item, Mapping):
        raise DataError(f"{str(item)[:60]!r} was given; wanted is {WANTED}.")
    answers = [name for name in ANSWERS if name in item]
    if "messages" in item:
        return conversation(checkpoint, item["messages"])
    if "prompt" in item and answers:
        prompt, answer = _text(item, "prompt"), _text(item, answers[0])
        if not answer.strip():
            raise DataError("its answer is empty: there is nothing to learn.")
        if checkpoint.template is None or plain:
            return _pair(checkpoint, prompt, answer)
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        return conversation(checkpoint, turns)
    if "text" in item:
        ids = [*checkpoint.encode(_text(item, "text")), *_end(checkpoint)]
        return Example(ids, [False] + [True] * (len(ids) - 1) if ids else [])
    raise DataError(f"it has {', '.join(map(repr, list(item)[:6])) or 'nothing'}; wanted is {WANTED}.")


def _pair(checkpoint: Checkpoint, prompt: str, answer: str) -> Example:
    before = checkpoint.encode(prompt)
    after = [*checkpoint.tokenizer.encode(answer), *_end(checkpoint)]
    learned = [False] * len(before) + [True] * len(after)
    learned[:1] = [False] * len(learned[:1])
    return Example([*before, *after], learned)


def conversation(checkpoint: Checkpoint, messages: Any) -> Example:
    """Ids of a conversation; what the assistant says is learned, up to and with the token that ends its turn."""
    check(messages)
    spoken = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    if not spoken:
        raise DataError("no message has the role 'assistant': there is nothing to learn.")
    if spoken[0] == 0:
        raise DataError("it begins with the assistant; a conversation begins with the user, or a system message.")
    whole = checkpoint.chat(messages, begin=False)
    learned = [False] * len(whole)
    for at in spoken:
        start = _shared(checkpoint, checkpoint.chat(messages[:at], begin=True), whole, at)
        stop = _shared(checkpoint, checkpoint.chat(messages[: at + 1], begin=False), whole, at)
        ends = [place for place in range(start, stop) if whole[place] in checkpoint.ends]
        stop = ends[0] + 1 if ends else stop  # a line break after the end belongs to the template
        learned[start:stop] = [True] * (stop - start)
    learned[0] = False
    return Example(whole, learned)


def _shared(checkpoint: Checkpoint, part: list[int], whole: list[int], turn: int) -> int:
    """How many ids a beginning shares with the whole. Raises DataError where it is no beginning of it.

    Ids may part before the texts do: a line break at the end of one and at the start of what follows can be one token.
    """
    count = next((at for at, (a, b) in enumerate(zip(part, whole, strict=False)) if a != b), min(len(part), len(whole)))
    rest, more = (checkpoint.tokenizer.decode(ids[count:], special=True) for ids in (part, whole))
    if count < len(part) and not (more.startswith(rest) and "\ufffd" not in rest):
        raise DataError(
            f"the chat template of {checkpoint.name!r} writes the conversation up to message {turn} differently once "
            "it goes on, so that what is learned of it cannot be told apart. Give each answer an example of its own: "
            "all messages before it, and the answer last."
        )
    return count


def _end(checkpoint: Checkpoint) -> list[int]:
    """What ends a text: of several, the first of the vocabulary; those that end turns were added later."""
    return [min(checkpoint.ends)] if checkpoint.ends else []


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item[name]
    if not isinstance(value, str):
        raise DataError(f"its {name!r} is {str(value)[:60]!r}; a text is wanted.")
    return value

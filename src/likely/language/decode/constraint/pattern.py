r"""Regular expressions as trees.

    abc  .            letters; any but a newline
    [a-z_]  [^"\\]    one of a set; one of all others
    \d \w \s \D \W \S digits, word letters, white space and their opposites, of ASCII
    \n \t \r \f \v \0 \xHH \uHHHH \UHHHHHHHH      and any sign after a backslash stands for itself
    (a)  (?:a)  a|b   groups, alternatives
    * + ? {m} {m,} {,n} {m,n}    repeated; a ? after one of them changes nothing, since the whole text is matched
    ^  $              at the beginning and the end of the whole, where they change nothing

What cannot be said by an automaton of bounded size is refused by name: back-references, look-around, word boundaries,
flags.
"""

from __future__ import annotations

from dataclasses import dataclass

from likely.errors import ConstraintError

LAST, MOST, DEEP, LONG = 0x10FFFF, 1000, 100, 10_000
Ranges = tuple[tuple[int, int], ...]

DIGIT: Ranges = ((48, 57),)
WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
SPACE: Ranges = ((9, 13), (32, 32))
SIGNS = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "0": 0}
WIDTHS = {"x": 2, "u": 4, "U": 8}
REFUSED = {
    "(?=": "look-ahead", "(?!": "look-ahead", "(?<=": "look-behind", "(?<!": "look-behind", "(?>": "an atomic group",
    "(?P=": "a back-reference", "(?(": "a condition", "(?#": "a comment",
}  # fmt: skip


@dataclass(frozen=True)
class OneOf:
    """A letter of these code points, sorted, apart."""

    ranges: Ranges


@dataclass(frozen=True)
class Row:
    """One after the other."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Either:
    """One of several."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Repeat:
    """`low` to `high` times; high None = any number."""

    part: Tree
    low: int
    high: int | None


Tree = OneOf | Row | Either | Repeat


def parse(pattern: str) -> Tree:
    """The tree of a pattern. Raises ConstraintError, which names what is wrong and where."""
    if not isinstance(pattern, str):
        raise ConstraintError(f"A pattern is a string, got {type(pattern).__name__}.")
    if len(pattern) > LONG:
        raise ConstraintError(f"The pattern has {len(pattern)} signs; at most {LONG}.")
    return _Parser(pattern).whole()


def joined(ranges: list[tuple[int, int]]) -> Ranges:
    """The same code points, sorted, apart."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def others(ranges: Ranges) -> Ranges:
    """All code points that are not in these."""
    out, at = list[tuple[int, int]](), 0
    for low, high in ranges:
        if at < low:
            out.append((at, low - 1))
        at = high + 1
    return (*out, (at, LAST)) if at <= LAST else tuple(out)


class _Parser:
    """Reads a pattern from left to right; `at` is the next sign."""

    def __init__(self, pattern: str) -> None:
        self.text, self.at, self.depth = pattern, 0, 0

    def wrong(self, what: str) -> ConstraintError:
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return ConstraintError(f"The pattern {shown!r} has {what} at {min(self.at, len(self.text))}.")

    def next(self, *options: str) -> bool:
        """Take one of these if it comes next."""
        for option in options:
            if self.text.startswith(option, self.at):
                self.at += len(option)
                return True
        return False

    def whole(self) -> Tree:
        tree = self.either()
        if self.at < len(self.text):
            raise self.wrong("a ) without its (")
        return tree

    def either(self) -> Tree:
        self.depth += 1
        if self.depth > DEEP:
            raise self.wrong(f"more than {DEEP} groups inside each other")
        parts = [self.row()]
        while self.next("|"):
            parts.append(self.row())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def row(self) -> Tree:
        parts: list[Tree] = []
        if self.depth == 1:
            self.next("^")
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            if self.text[self.at] == "$" and self.depth == 1 and self.text[self.at + 1 : self.at + 2] in ("", "|"):
                self.at += 1
                break
            parts.append(self.repeated(self.one()))
        return parts[0] if len(parts) == 1 else Row(tuple(parts))

    def repeated(self, part: Tree) -> Tree:
        times = self.times()
        if times is None:
            return part
        self.next("?")
        if self.next("+"):
            raise self.wrong("a possessive quantifier, which is not supported,")
        begin = self.at
        if self.times() is not None:
            self.at = begin
            raise self.wrong("a quantifier after a quantifier")
        return Repeat(part, *times)

    def times(self) -> tuple[int, int | None] | None:
        """How often, if a quantifier comes next."""
        for sign, low, high in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self.next(sign):
                return low, high
        close = self.text.find("}", self.at)
        if not self.text.startswith("{", self.at) or close < 0:
            return None
        least, comma, most = self.text[self.at + 1 : close].partition(",")
        if not (least or most) or any(part and not (part.isascii() and part.isdigit()) for part in (least, most)):
            return None  # a brace that is meant as one
        if max(len(least), len(most)) > 6 or max(int(least or 0), int(most or 0)) > MOST:
            raise self.wrong(f"a quantifier over {MOST}")
        first = int(least or 0)
        last = first if not comma else int(most) if most else None
        if last is not None and last < first:
            raise self.wrong(f"{{{first},{last}}}, which is never,")
        self.at = close + 1
        return first, last

    def one(self) -> Tree:
        sign = self.text[self.at]
        if sign == "(":
            return self.group()
        if sign in "*+?":
            raise self.wrong(f"a {sign} after nothing")
        if sign in "^$":
            raise self.wrong(f"a {sign} inside, which is not supported,")
        self.at += 1
        if sign == ".":
            return OneOf(others(((10, 10),)))
        if sign == "[":
            return self.set()
        if sign == "\\":
            return OneOf(self.escape())
        if 0xD800 <= ord(sign) < 0xE000:
            raise self.wrong("half a surrogate pair")
        return OneOf(((ord(sign), ord(sign)),))

    def group(self) -> Tree:
        for sign, name in REFUSED.items():
            if self.text.startswith(sign, self.at):
                raise self.wrong(f"{name}, which is not supported,")
        self.at += 1
        if self.next("?P<", "?<"):
            close = self.text.find(">", self.at)
            if close < 0 or not self.text[self.at : close].isidentifier():
                raise self.wrong("a group without a proper name")
            self.at = close + 1
        elif not self.next("?:") and self.text.startswith("?", self.at):
            raise self.wrong("flags, which are not supported,")
        tree = self.either()
        if not self.next(")"):
            raise self.wrong("a ( without its )")
        return tree

    def escape(self) -> Ranges:
        if self.at >= len(self.text):
            raise self.wrong("a backslash and nothing after it")
        sign = self.text[self.at]
        self.at += 1
        known = {"d": DIGIT, "w": WORD, "s": SPACE, "D": others(DIGIT), "W": others(WORD), "S": others(SPACE)}
        if sign in known:
            return known[sign]
        if sign in SIGNS:
            return ((SIGNS[sign], SIGNS[sign]),)
        if sign in WIDTHS:
            return self.coded(sign)
        if sign.isdigit():
            self.at -= 2
            raise self.wrong("a back-reference, which is not supported,")
        if sign.isalpha():
            self.at -= 2
            raise self.wrong(f"\\{sign}, which is not supported,")
        return ((ord(sign), ord(sign)),)

    def coded(self, sign: str) -> Ranges:
        r"""A code point in hexadecimal digits, after \x, \u or \U."""
        digits = self.text[self.at : self.at + WIDTHS[sign]]
        proper = len(digits) == WIDTHS[sign] and all(digit in "0123456789abcdefABCDEF" for digit in digits)
        value = int(digits, 16) if proper else -1
        if not 0 <= value <= LAST or 0xD800 <= value < 0xE000:
            raise self.wrong(f"a \\{sign} without the {WIDTHS[sign]} hexadecimal digits of a character")
        self.at += WIDTHS[sign]
        return ((value, value),)

    def set(self) -> Tree:
        begin, opposite, ranges = self.at, self.next("^"), list[tuple[int, int]]()
        first = True
        while first or not self.text.startswith("]", self.at):
            if self.at >= len(self.text):
                self.at = begin - 1
                raise self.wrong("a [ without its ]")
            first = False
            low = self.member()
            if self.text.startswith("-", self.at) and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.member()
                if len(low) > 1 or len(high) > 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1]:
                    raise self.wrong("a range between sets")
                if low[0][0] > high[0][0]:
                    raise self.wrong("a range that runs backwards")
                ranges.append((low[0][0], high[0][0]))
            else:
                ranges += low
        self.at += 1
        return OneOf(others(joined(ranges)) if opposite else joined(ranges))

    def member(self) -> Ranges:
        sign = self.text[self.at]
        self.at += 1
        return self.escape() if sign == "\\" else ((ord(sign), ord(sign)),)

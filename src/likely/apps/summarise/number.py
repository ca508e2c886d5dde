"""Numbers in a text, in digits and in words, with their units: "1,200 km", "two hundred and fifty", "3.5 %", "21st".

A number is its value, so that "twelve" and "12" are one. An ordinal (21st, third) is not the same as a cardinal.
Separators are read in every way that makes sense: 1.234 is 1234 (de) or 1.234 (en), and agrees with either.

Left out, because they are words more often than numbers: one, first, second, once, twice, single, both, no. Units come
from a closed list; what a number counts beyond it (sheep, votes) is not read.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

_ONES = (
    "zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
ONES = dict(zip(_ONES.split(), [0, *range(2, 20)], strict=True))
TENS = dict(zip(_TENS.split(), range(20, 100, 10), strict=True))
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SHORT = {"k": 1000, "m": 10**6, "mn": 10**6, "bn": 10**9, "b": 10**9, "tn": 10**12}  # behind a sum of money
VAGUE = {"hundreds", "thousands", "millions", "billions", "trillions", "dozens", "scores", "tens"}
ORDINALS = {
    "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
    "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16,
    "seventeenth": 17, "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "thirtieth": 30, "fortieth": 40,
    "fiftieth": 50, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip
_LAST = {"first": 1, "second": 2, **ORDINALS}  # after "twenty-"
UNITS = {
    form: unit
    for unit, forms in {
        "percent": "% percent pct", "dollar": "$ dollar dollars usd", "euro": "€ euro euros eur",
        "pound": "£ pound pounds gbp lb lbs", "yen": "¥ yen jpy", "cent": "cent cents", "penny": "pence penny",
        "kilometre": "km kilometre kilometres kilometer kilometers", "metre": "m metre metres meter meters",
        "centimetre": "cm centimetre centimetres centimeter centimeters",
        "millimetre": "mm millimetre millimetres millimeter millimeters", "mile": "mile miles",
        "foot": "foot feet ft", "inch": "inch inches", "yard": "yard yards", "acre": "acre acres",
        "hectare": "ha hectare hectares", "gram": "g gram grams gramme grammes",
        "kilogram": "kg kilogram kilograms kilo kilos", "tonne": "tonne tonnes ton tons", "ounce": "oz ounce ounces",
        "litre": "l litre litres liter liters", "millilitre": "ml millilitre millilitres milliliter milliliters",
        "gallon": "gallon gallons", "second": "s sec secs seconds", "minute": "min mins minute minutes",
        "hour": "h hr hrs hour hours", "day": "day days", "week": "week weeks", "month": "month months",
        "year": "year years yr yrs", "decade": "decade decades", "century": "century centuries",
        "degree": "° °c °f degree degrees", "watt": "w watt watts", "kilowatt": "kw kilowatt kilowatts",
        "megawatt": "mw megawatt megawatts", "volt": "v volt volts", "mph": "mph", "kilometre/hour": "km/h kph kmh",
        "metre/second": "m/s", "point": "point points", "vote": "vote votes",
    }.items()
    for form in forms.split()
}  # fmt: skip
_MONEY = {"$": "dollar", "£": "pound", "€": "euro", "¥": "yen"}
_DIGITS = re.compile(
    r"(?<![\w.,])(?P<sign>[-\u2212](?=[\d$£€¥])|minus\s+)?(?P<money>[$£€¥]\s?)?"
    r"(?P<digits>\d{1,3}(?:[,\u00a0\u202f ]\d{3})+(?:\.\d+)?(?!\d)|\d+(?:[.,]\d+)*)"
    r"(?P<ordinal>(?:st|nd|rd|th)\b)?"
    r"(?:(?P<gap>\s?-?)(?P<scale>hundred|thousand|million|billion|trillion|dozen|[kmb]n?\b|tn\b))?",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_UNIT = re.compile(r"[\s\u00a0-]{0,2}(%|°\s?[cf]?\b|km/h|m/s|per\s?cent|[^\W\d_]+)", re.IGNORECASE)
_RATE = re.compile(r"\s*(?:per|a|an|/)\s*([^\W\d_]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """`values`: every reading. `kind`: "count", "order", or a vague word ("hundreds"). `unit` "" = none known."""

    text: str
    values: frozenset[float]
    kind: str = "count"
    unit: str = ""

    def agrees(self, other: Number) -> bool:
        """Whether the other, of a source, says the same, units apart. A plus may stand for a minus (it fell 5)."""
        known = other.values | {-value for value in other.values if value < 0}
        return self.kind == other.kind and not known.isdisjoint(self.values)


def numbers(text: str) -> list[Number]:
    """The numbers of a text, in order."""
    found: list[tuple[int, Number]] = []
    taken = [False] * len(text)
    for match in _DIGITS.finditer(text):
        end, number = _digits(text, match)
        found.append((match.start(), number))
        taken[match.start() : end] = [True] * (end - match.start())
    spelled = [match for match in _WORD.finditer(text) if not taken[match.start()]]
    found += _spelled(text, spelled)
    return [number for _, number in sorted(found, key=lambda pair: pair[0])]


def _digits(text: str, match: re.Match[str]) -> tuple[int, Number]:
    values = readings(match["digits"])
    scale = (match["scale"] or "").lower()
    end = match.end()
    if scale in SHORT and not (match["money"] or scale in ("bn", "mn", "tn")):
        scale, end = "", match.start("gap")  # 5 m is a length
    factor = {"dozen": 12, **SCALES, **SHORT}.get(scale, 1)
    sign = -1 if match["sign"] else 1
    values = frozenset(round(sign * factor * value, 9) for value in values)
    kind = "order" if match["ordinal"] else "count"
    unit = _MONEY.get((match["money"] or "").strip(), "") or unit_after(text, end)
    return end, Number(text[match.start() : end].strip(), values, kind, unit)


def readings(digits: str) -> frozenset[float]:
    """Every value that digits with separators may mean: "1.234" is 1234 or 1.234, "1,5" is 1.5."""
    plain = re.sub(r"[\u00a0\u202f ]", "", digits)
    found = set()
    if re.fullmatch(r"\d+(?:\.\d+)?", plain):
        found.add(float(plain))
    if re.fullmatch(r"\d+,\d+", plain):
        found.add(float(plain.replace(",", ".")))
    for thousand, point in ((",", "."), (".", ",")):
        t, p = re.escape(thousand), re.escape(point)
        if re.fullmatch(rf"\d{{1,3}}(?:{t}\d{{3}})+(?:{p}\d+)?", plain):
            found.add(float(plain.replace(thousand, "").replace(point, ".")))
            if thousand == "," and plain.count(",") == 1 and "." not in plain:
                found.discard(float(plain.replace(",", ".")))  # 1,234 is a thousand where 1,2 would be a fraction
    if not found:  # 1.2.3, 192.168.0.1: a name of digits, which agrees with itself alone
        found.add(zlib.crc32(plain.encode()) + 0.5)
    return frozenset(found)


def unit_after(text: str, at: int) -> str:
    """The unit that stands right behind a number, "" where it is none of the list."""
    match = _UNIT.match(text, at)
    if match is None:
        return ""
    form = re.sub(r"\s", "", match[1].lower())
    unit = UNITS.get(form, "")
    rate = _RATE.match(text, match.end()) if unit else None
    over = UNITS.get(rate[1].lower(), "second" if rate[1].lower() == "second" else "") if rate else ""
    return f"{unit}/{over}" if over else unit


def _spelled(text: str, spelled: list[re.Match[str]]) -> list[tuple[int, Number]]:
    """Numbers in words: runs such as two hundred and fifty-one, a dozen, the third, thousands, half."""
    found: list[tuple[int, Number]] = []
    at = 0
    while at < len(spelled):
        word = spelled[at][0].lower()
        if word in VAGUE:
            found.append((spelled[at].start(), Number(word, frozenset({0.0}), word)))
        if word == "half":
            found.append((spelled[at].start(), Number(word, frozenset({0.5}))))
        end, value, kind = _run(text, spelled, at)
        if end > at:
            start, stop = spelled[at].start(), spelled[end - 1].end()
            found.append((start, Number(text[start:stop], frozenset({float(value)}), kind, unit_after(text, stop))))
        at = max(end, at + 1)
    return found


def _run(text: str, spelled: list[re.Match[str]], at: int) -> tuple[int, int, str]:
    """Where the number that begins at word `at` ends, its value, its kind; (at, 0, "") where none begins."""
    total, part, end, last = 0, 0, at, ""
    small = (*ONES, *TENS, "one")

    def word(place: int) -> str:
        return spelled[place][0].lower() if place < len(spelled) else ""

    while end < len(spelled) and (end == at or _joined(text, spelled[end - 1], spelled[end])):
        now = word(end)
        if now == "and" and last in SCALES and word(end + 1) in small:
            end += 1
            continue
        if now in TENS and last not in small:
            part += TENS[now]
        elif (now in ONES and last not in ONES) or (now == "one" and last and last not in ONES):
            part += ONES.get(now, 1)
        elif now in SCALES or now == "dozen":
            part = max(part, 1) * SCALES.get(now, 12)
            if part >= 1000:
                total, part = total + part, 0
        elif now in ORDINALS or (now in _LAST and last in TENS):
            return end + 1, total + part + _LAST[now], "order"
        else:
            break
        last, end = now, end + 1
    return (end, total + part, "count") if end > at else (at, 0, "")


def _joined(text: str, one: re.Match[str], other: re.Match[str]) -> bool:
    return re.fullmatch(r"\s+|-", text[one.end() : other.start()]) is not None

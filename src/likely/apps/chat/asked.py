"""What kind of answer a question wants, and whether a sentence holds one.

    How much is a ticket?  -> money        When do you open?   -> a time or a date     How heavy is it?  -> a weight
    How many seats?        -> a number     Who reads?          -> a name, a person     Your phone number? -> telephone

A sentence that holds nothing of the kind does not answer, however many words it shares: this is what tells "What does
the heater cost?" from all else that is said about the heater. Patterns, English; other questions want "anything".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ANYTHING = "anything"

NUMBER = (
    r"(?:\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|dozen|"
    r"half|quarter|third|once|twice|single|several|no|none|both)\b)"
)
CLOCK = (
    r"\b\d{1,2}[:.]\d\d\b|\b\d{1,2}\s?(?:am|pm|a\.m\.|p\.m\.|o'clock)\b"
    r"|\b(?:noon|midnight|half past|quarter (?:past|to))\b"
    r"|\b(?:from|until|till|at|before|after|by|between) (?:\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|"
    r"eleven|twelve)\b|\bhours? (?:before|after|earlier|later)"
)
TIME = (
    r"\b\d{1,2}[:.]\d\d\b|\b\d{1,2}\s?(?:am|pm|a\.m\.|p\.m\.|o'clock)|\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
    r"|\bweek(?:days?|ends?)\b|\b(?:january|february|march|april|may|june|july|august|september|october|november|"
    r"december|spring|summer|autumn|winter|christmas|easter|noon|midnight|morning|evening|night|daily|today|tomorrow|"
    r"always|hours?|minutes?|days?|weeks?|months?|years?)\b|\b(?:19|20)\d\d\b"
)
SPAN = (
    r"\b(?:seconds?|minutes?|hours?|days?|nights?|weeks?|fortnights?|months?|years?|forever|permanent\w*|until)\b"
    r"|\b(?:milli|centi|kilo)?met(?:er|re)s?\b|\b(?:mm|cm|m|km|inch\w*|feet|foot|miles?)\b"
)
SIZE = (
    r"\b(?:\w*met(?:er|re)s?|mm|cm|m|km|inch\w*|feet|foot|miles?|yards?|acres?|lit(?:er|re)s?|minutes?|hours?|square|"
    r"blocks?|stops?|people|persons?|guests?|seats?)\b|%|[€$£]|\b(?:pounds|euros?|dollars?)\b"
)
PLACE = (
    r"\b(?:in|at|on|behind|beside|besides|next to|near|opposite|under|above|below|between|inside|outside|from|to|"
    r"upstairs|downstairs|here|left|right|north|south|east|west|shops?)\b|https?:|www\.|@"
)
PERSON = (
    r"(?i:\b(?:mr|mrs|ms|dr|prof|who|whoever|staff|team|manager|owner|teacher|doctor|nurse|director|head|members?|"
    r"everyone|everybody|anyone|anybody|nobody|person|people|men|women|adults?|children|students?|customers?|guests?|"
    r"parents?|we|you|they|company|office|reception)\b)"
    r"|(?<![.!?:]\s)(?<!^)\b[A-Z][a-zà-ÿ]+"  # a name: a capital that begins no sentence
)
MONEY = (
    r"[€$£¥]|\b(?:euros?|eur|pounds?|gbp|dollars?|usd|cents?|pence|francs?|chf|yen|crowns?|kr|rupees?|price|fees?|"
    r"free|nothing|charged?|costs?)\b"
)
OFTEN = (
    r"\b(?:every|each|once|twice|times?|daily|weekly|monthly|yearly|annual\w*|a (?:day|week|month|year)|per|always|"
    r"never)\b"
)
WEIGHT = r"\b(?:kilo\w*|kg|grams?|g|tons?|tonnes?|pounds?|lbs?|ounces?|oz|stone)\b"


@dataclass(frozen=True)
class Kind:
    """A kind of answer: what a question for it looks like, and patterns that all stand in an answer of the kind."""

    name: str
    question: re.Pattern[str]
    answer: tuple[re.Pattern[str], ...]


def _kind(name: str, question: str, *answer: str, cased: bool = False) -> Kind:
    patterns = tuple(re.compile(pattern, 0 if cased else re.IGNORECASE) for pattern in answer)
    return Kind(name, re.compile(question, re.IGNORECASE), patterns)


KINDS = (  # the first whose question fits counts
    _kind(
        "telephone",
        r"\b(?:phone|telephone|fax)\s?(?:number|no\b)|\b(?:hotline|helpline)\b.*\bnumber\b|\byour (?:tele)?phone$"
        r"|\bnumber\b.*\b(?:call|ring|service line|hotline|phone)",
        r"\d[\d ()/+-]{4,}\d",
    ),
    _kind("mail address", r"\be-?mail address|\bwhat(?:'s| is) (?:your|the) e-?mail", "@"),
    _kind(
        "web address",
        r"\bweb ?(?:site|page|address)\b|\burl\b",
        r"https?:|www\.|\b\w+\.(?:com|org|net|example|io|eu)\b",
    ),
    _kind(
        "password",
        r"\b(?:password|passcode|(?:pin|door|key) code|pin|login)\b",
        r"\b(?:password|passcode|pin|code|login)\b",
    ),
    _kind(
        "weight",
        r"\bhow heavy\b|\bhow much (?:does|do|can|will|may) .*\b(?:weigh|carry|lift|bear)\b|\bweigh(?:t|s)?\b",
        NUMBER, WEIGHT,
    ),
    _kind("loudness", r"\bhow (?:loud|noisy|quiet)\b", r"\b(?:db|decibels?|loud\w*|silent\w*|quiet\w*|noise|noisy)\b"),
    _kind(
        "temperature", r"\bhow (?:hot|warm|cold|cool)\b|\btemperature\b",
        NUMBER, r"°|\bdegrees?\b|\bcelsius\b|\bfahrenheit\b|\bkelvin\b",
    ),
    _kind(
        "money",
        r"\bhow much (?:is|are|was|were|do|does|did|will|would|money|for|extra|more|to|a|an|the|per)\b"
        r"|\bhow expensive\b"
        r"|\b(?:what|how)(?:'s)? (?!happens).*\b(?:costs?|prices?|fees?|fare|charges?|rates?|deposit|salary|wage|earn|"
        r"owe|pay)\b|\bwhat(?:'s| is) the (?:\w+ )?fine\b|^\s*(?:price|cost|fee)s?\b|^(?:and )?how much\W*$",
        NUMBER + r"|\b(?:free|nothing)\b", MONEY,
    ),
    _kind("number", r"\bhow many\b|\bwhat number of\b", NUMBER),
    _kind("age", r"\bhow old\b|\b(?:what|which|minimum) age\b", NUMBER),
    _kind("frequency", r"\bhow (?:often|frequent\w*|regular\w*)\b", OFTEN),
    _kind(
        "span", r"\b(?:how long|how soon|how quick\w*|how fast|how much time|(?:what|which) is the longest)\b",
        NUMBER, SPAN,
    ),
    _kind("size", r"\bhow (?:deep|wide|tall|high|far|big|large|small|thick|broad|steep)\b|\bwhat size\b", NUMBER, SIZE),
    _kind("clock", r"\b(?:what|which) (?:time|hour)\b|\bat what hour\b", CLOCK),
    _kind(
        "time",
        r"(?<!happens )\bwhen\b(?!.*\bwhat\b)|\b(?:what|which) (?:days?|date|hours|month|year)\b"
        r"|\b(?:opening|closing) (?:hours|times?)\b",
        TIME,
    ),
    _kind(
        "person", r"^\W*(?:and |so |but )?(?:who|whom)\b|\bwhose\b|\bwhich (?:person|teacher|colleague|doctor)\b",
        PERSON, cased=True,
    ),
    _kind("place", r"^\W*(?:and |so |but )?where\b|\bwhat(?:'s| is) (?:your|the) (?:postal )?address\b", PLACE),
)  # fmt: skip
_BY_NAME = {kind.name: kind for kind in KINDS}


def asked(question: str) -> str:
    """The kind of answer a question wants: the name of one of KINDS, or ANYTHING."""
    return next((kind.name for kind in KINDS if kind.question.search(question)), ANYTHING)


def holds(sentence: str, kind: str) -> bool:
    """Whether a sentence holds an answer of a kind."""
    return kind not in _BY_NAME or all(pattern.search(sentence) for pattern in _BY_NAME[kind].answer)

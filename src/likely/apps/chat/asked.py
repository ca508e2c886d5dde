"""What kind of answer a question wants, and whether a sentence holds one.

    How much is a ticket?  -> money        When do you open?   -> a time or a date     How heavy is it?  -> a weight
    How many seats?        -> a number     Who reads?          -> a name, a person     What is your number? -> a
    telephone

A sentence that holds nothing of the kind does not answer, however many words it shares: this is what tells "What does
the heater cost?" from all that is said about the heater. Patterns, English; other questions want "anything".
"""

from __future__ import annotations

import re

NUMBER = (
    r"(?:\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|dozen|"
    r"half|quarter|third|once|twice|single|several|no|none|both)\b)"
)
TIME = (
    r"(?:\b\d{1,2}[:.]\d\d\b|\b\d{1,2}\s?(?:am|pm|a\.m\.|p\.m\.|o'clock)|\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
    r"|\bweek(?:days?|ends?)\b|\b(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|spring|summer|autumn|winter|christmas|easter|noon|midnight|morning|evening|night|daily|today|tomorrow|always|"
    r"hours?|minutes?|days?|weeks?|months?|years?)\b|\b(?:19|20)\d\d\b)"
)
SPAN = r"\b(?:seconds?|minutes?|hours?|days?|nights?|weeks?|fortnights?|months?|years?|forever|permanent\w*)\b"
PLACE = (
    r"\b(?:in|at|on|behind|beside|besides|next to|near|opposite|under|above|below|between|inside|outside|from|to|"
    r"upstairs|downstairs|here|left|right|north|south|east|west|shops?)\b|https?:|www\.|@"
)
PERSON = (
    r"\b(?:mr|mrs|ms|dr|prof|who|whoever|staff|team|manager|owner|teacher|doctor|nurse|director|head|member|members|"
    r"everyone|everybody|anyone|anybody|nobody|person|people|men|women|adults?|children|students?|customers?|guests?|"
    r"parents?|we|you|they|company|office|reception)\b"
)
NAME = r"(?<![.!?:]\s)(?<!^)\b[A-Z][a-zà-ÿ]+"
MONEY = (
    r"(?:[€$£¥]|\b(?:euros?|eur|pounds?|gbp|dollars?|usd|cents?|pence|francs?|chf|yen|crowns?|kr|rupees?|price|fee|fees|"
    r"free|nothing|charge|charged|costs?)\b)"
)

# What a question looks like -> what its answer must look like. The first that matches counts.
KINDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("telephone", r"\b(?:phone|telephone|hotline|helpline)\s*(?:number)?\b.*\bnumber\b|\b(?:phone|telephone|fax)\s?(?:number|no\b)"  # noqa: E501
     r"|\bnumber\b.*\b(?:call|ring|service line|hotline|phone)|\b(?:your|the) (?:phone|telephone)\b$", (r"\d[\d ()/+-]{4,}\d",)),  # noqa: E501
    ("mail address", r"\be-?mail address|\bwhat(?:'s| is) (?:your|the) e-?mail", (r"@",)),
    ("web address", r"\b(?:website|web ?site|web ?page|url|web address)\b", (r"https?:|www\.|\b\w+\.(?:com|org|net|example|io|eu)\b",)),  # noqa: E501
    ("password", r"\b(?:password|passcode|pin code|door code|pin|login|key code)\b", (r"\b(?:password|passcode|pin|code|login)\b",)),  # noqa: E501
    ("weight", r"\bhow heavy\b|\bhow much (?:does|do|can|will|may) .*\b(?:weigh|carry|lift|bear)\b|\bweight\b|\bweigh\b",  # noqa: E501
     (NUMBER, r"\b(?:kilo\w*|kg|grams?|g|tons?|tonnes?|pounds?|lbs?|ounces?|oz|stone)\b")),
    ("loudness", r"\bhow (?:loud|noisy|quiet)\b", (r"\b(?:db|decibels?|loud\w*|silent\w*|quiet\w*|noise|noisy)\b",)),
    ("temperature", r"\bhow (?:hot|warm|cold|cool)\b|\btemperature\b", (NUMBER, r"°|\bdegrees?\b|\bcelsius\b|\bfahrenheit\b|\bkelvin\b")),  # noqa: E501
    ("money", r"\bhow much (?:is|are|was|were|do|does|did|will|would|money|for|extra|more|to|a|an|the|per)\b|\bhow expensive\b"  # noqa: E501
     r"|\b(?:what|how)(?:'s)? (?!happens).*\b(?:cost|price|prices|fee|fees|fare|charge|charges|rate|rates|deposit|fine|salary|wage|earn|owe|pay)\b"  # noqa: E501
     r"|^\s*(?:price|cost|fee)s?\b|^(?:and )?how much\W*$|\bwhat(?:'s| is) the (?:\w+ )?fine\b",
     (NUMBER + r"|\b(?:free|nothing)\b", MONEY)),
    ("number", r"\bhow many\b|\bwhat number of\b", (NUMBER,)),
    ("age", r"\bhow old\b|\b(?:what|which|from what|minimum) age\b", (NUMBER,)),
    ("frequency", r"\bhow (?:often|frequent\w*|regular\w*)\b|\bhow many times\b",
     (r"\b(?:every|each|once|twice|times?|daily|weekly|monthly|yearly|annual\w*|a (?:day|week|month|year)|per|always|never)\b",)),  # noqa: E501
    ("span", r"\b(?:how long|how soon|how quick\w*|how fast|how much time|(?:what|which) is the longest)\b",
     (NUMBER, SPAN + r"|\b(?:milli|centi|kilo)?met(?:er|re)s?\b|\b(?:mm|cm|m|km|inch\w*|feet|foot|miles?)\b|\buntil\b")),  # noqa: E501
    ("size", r"\bhow (?:deep|wide|tall|high|far|big|large|small|thick|broad|steep)\b|\bwhat size\b",
     (NUMBER, r"\b(?:\w*met(?:er|re)s?|mm|cm|m|km|inch\w*|feet|foot|miles?|yards?|acres?|lit(?:er|re)s?|minutes?|hours?|"  # noqa: E501
      r"square|blocks?|stops?|people|persons?|guests?|seats?)\b|%|[€$£]|\b(?:pounds|euros?|dollars?)\b")),
    ("time", r"(?<!happens )\bwhen\b(?!.*\bwhat\b)|\bwhat (?:time|day|date|days|hours|month|year)\b|\bwhich (?:days?|month|date|hours)\b"  # noqa: E501
     r"|\b(?:till|until|since|from|by) when\b|\b(?:opening|closing) (?:hours|times?)\b", (TIME,)),
    ("person", r"^\W*(?:and |so |but )?(?:who|whom)\b|\bwhose\b|\bwhich (?:person|teacher|colleague|doctor)\b", (f"(?i:{PERSON})|{NAME}",)),  # noqa: E501
    ("place", r"^\W*(?:and |so |but )?where\b|\bwhat(?:'s| is) (?:your|the) (?:postal )?address\b", (PLACE,)),
)  # fmt: skip
_QUESTIONS = tuple((kind, re.compile(question, re.IGNORECASE), patterns) for kind, question, patterns in KINDS)
_CASED = frozenset(("person",))
_ANSWERS = {
    kind: tuple(re.compile(pattern, 0 if kind in _CASED else re.IGNORECASE) for pattern in patterns)
    for kind, _, patterns in KINDS
}
ANYTHING = "anything"


def asked(question: str) -> str:
    """The kind of answer a question wants: one of KINDS, or ANYTHING."""
    return next((kind for kind, pattern, _ in _QUESTIONS if pattern.search(question)), ANYTHING)


def holds(sentence: str, kind: str) -> bool:
    """Whether a sentence holds an answer of a kind."""
    return all(pattern.search(sentence) for pattern in _ANSWERS.get(kind, ()))

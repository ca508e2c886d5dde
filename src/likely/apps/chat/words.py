"""Words of a text, as retrieval, the gate and the verification see them: one reading for all three.

    word     letters and digits together; 1,240, 10:30, 6.90 and mail@some.where are one word each
    stem     what two forms of a word have in common: classes, class -> class; firing, fired -> fir. In the spirit of
             Porter 1980, far shorter: it need not be linguistics, only the same for question and document
    number   digits without separators; words up to twelve, tens and common fractions as digits: twelve -> 12
    common   content that says little: time, look, new
    content  a stem that is no function word and no scaffolding of a question (can, please, want, how, much, ...)

English. In other languages nothing is a function word and the endings are wrong, so that rarity alone has to tell what
matters: it works, less well.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

WORD = re.compile(
    r"[^\W_][\w.+-]{0,80}@[^\W_]+(?:[.-][^\W_]+)+"  # mail addresses
    r"|(?:https?://|www\.)[^\s<>()\[\]\"“”]{1,500}[\w/]"
    r"|\d+(?:[.,:]\d+)+|[^\W_]+(?:['’][^\W_]+)*"
)
ADDRESS = re.compile(r"@|//|www\.")
NUMBERS = {
    word: str(value)
    for value, words in {
        0: "zero", 1: "", 2: "two twice both", 3: "three thrice", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight",  # noqa: E501
        9: "nine", 10: "ten", 11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen fortnight", 15: "fifteen",
        16: "sixteen", 17: "seventeen", 18: "eighteen", 19: "nineteen", 20: "twenty", 30: "thirty", 40: "forty",
        50: "fifty", 60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety", 100: "hundred", 1000: "thousand",
    }.items()
    for word in words.split()
}  # fmt: skip
MAGNITUDES = frozenset(("half", "third", "thirds", "quarter", "quarters", "dozen", "million", "billion", "percent"))


def _these(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTION = _these(
    """a an the this that these those it its it's there here he she they them their theirs his her hers him we us our
    ours
    you your yours i me my mine one ones who whom whose which what when where why how if whether and or but nor so than
    then as at by for from in into of off on onto out over to up with within without about after before during until
    till
    between through under above along be am is are was were been being isn't aren't wasn't weren't i'm you're we're
    they're that's what's who's where's how's there's i've you've we've he's she's i'd you'd i'll you'll we'll do does
    did
    done doing don't doesn't didn't have has had having haven't hasn't can could cannot can't couldn't may might must
    mustn't shall should shouldn't will would won't wouldn't need needs needn't ought let let's get gets got getting
    give
    gives go goes going gone come comes make makes put take takes want wants wish like please thanks thank hi hello hey
    tell say says know show mean means happen happens allow allowed permitted possible anyone anybody anything
    someone somebody something any some each every all both much many more most less least few lot also too very just
    only even still already again now ever yes no not never none neither such same other another own else really
    actually exactly maybe perhaps long far old big often soon am pm etc whatever whenever wherever sort kind thing
    things
    way use used using able ask question wonder wondering"""
)
# Content, but of the kind that everybody uses about everything: it weighs half.
COMMON = _these(
    """time people year day thing man woman life world part place case week number point fact hand name start turn look
    find try leave call work bring begin seem feel become show hear play run move live believe hold happen provide sit
    stand lose meet include continue set learn change lead understand watch follow stop create speak add spend grow
    open walk win offer remember love consider appear wait serve expect build stay fall cut reach remain help suggest
    raise pass require report decide pull keep see think worry care check choose drive arrive bit lot good new first
    last great little right high different small large next early young important bad best better sure free whole
    particular certain special extra available following main real full nice normal usual ready enough around today
    tomorrow together alone away inside outside home house job kind idea problem reason result end side line longest
    biggest nearest earliest latest cheapest maximum minimum total"""
)
NEGATIONS = _these(
    """no not never none nothing nobody neither nor without cannot unless except excluding only forbidden prohibited
    closed free"""
)
ENDINGS = (  # what is left must have so many letters
    ("ations", 4), ("ation", 4), ("ments", 4), ("ment", 4), ("ingly", 3), ("edly", 3), ("ness", 4), ("ings", 3),
    ("ing", 3), ("ied", 2), ("ed", 3), ("ers", 4), ("er", 4), ("ly", 4), ("able", 4), ("ible", 4), ("ery", 5),
)  # fmt: skip
IRREGULAR = {
    form: base
    for base, forms in {
        "keep": "kept", "lend": "lent", "buy": "bought", "sell": "sold", "leave": "left leaves", "lose": "lost loses",
        "break": "broke broken", "bring": "brought", "pay": "paid", "send": "sent", "find": "found", "hold": "held",
        "teach": "taught", "throw": "threw thrown", "write": "wrote written", "speak": "spoke spoken", "spend": "spent",
        "build": "built", "meet": "met", "sleep": "slept", "feed": "fed", "feel": "felt", "fall": "fell fallen",
        "drive": "drove driven", "ride": "rode ridden", "eat": "ate eaten", "drink": "drank drunk", "wear": "wore worn",
        "choose": "chose chosen", "grow": "grew grown", "fly": "flew flown", "forget": "forgot forgotten",
        "begin": "began begun", "steal": "stole stolen", "sit": "sat", "stand": "stood", "win": "won", "run": "ran",
        "see": "saw seen", "child": "children", "man": "men", "woman": "women", "person": "people persons",
        "foot": "feet", "tooth": "teeth", "mouse": "mice", "life": "lives", "knife": "knives", "shelf": "shelves",
        "half": "halves", "wife": "wives", "leaf": "leafs", "mean": "meant", "burn": "burnt", "learn": "learnt",
    }.items()
    for form in forms.split()
}  # fmt: skip


@dataclass(frozen=True)
class Word:
    """`text` in lower case, `stem`, and where it stands: text[start:end]. `name`: it begins with a capital inside a
    sentence, or holds both letters and digits or several capitals."""

    text: str
    stem: str
    start: int
    end: int
    name: bool = False

    @property
    def number(self) -> bool:
        """Whether it is a number, in digits or as a word."""
        return self.stem[0].isdigit() or self.text in MAGNITUDES

    @property
    def content(self) -> bool:
        """Whether it says something, rather than holding the sentence together."""
        return self.text not in FUNCTION and (len(self.stem) > 1 or self.stem.isalnum())

    @property
    def weight(self) -> float:
        """What it counts beside other content words."""
        return 0.5 if self.text in COMMON else 1.0


def words(text: str) -> list[Word]:
    """All words of a text, in order."""
    text = unicodedata.normalize("NFC", text) if not text.isascii() else text
    found, fresh = [], True
    last = 0
    for match in WORD.finditer(text):
        raw = match.group()
        between = text[last : match.start()]
        fresh = fresh or any(mark in between for mark in '.!?:\n•"“(')
        mixed = any(c.isdigit() for c in raw) and any(c.isalpha() for c in raw)
        name = mixed or (raw[0].isupper() and (not fresh or sum(c.isupper() for c in raw) > 1) and raw != "I")
        name = name or bool(ADDRESS.search(raw))
        lower = raw.lower().replace("’", "'")
        found.append(Word(lower, stem(lower), match.start(), match.end(), name))
        last, fresh = match.end(), False
    return found


def stems(text: str) -> list[str]:
    """Stems of all words, function words too: what an index holds."""
    return [word.stem for word in words(text)]


def content(text: str) -> list[str]:
    """Stems of the content words, each once, in order."""
    return list(dict.fromkeys(word.stem for word in words(text) if word.content))


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of a word in lower case; of a number its digits: 1,240 -> 1240, twelve -> 12, 17:00 -> 17:00."""
    if ADDRESS.search(word):
        return re.sub(r"[\W_]", "", word)
    if word[0].isdigit():
        return _digits(word)
    if word in NUMBERS:
        return NUMBERS[word]
    word = _plain(word.partition("'")[0] if word.endswith("'s") else word.replace("'", ""))
    word = IRREGULAR.get(word, word)
    if len(word) <= 3 or not word.isascii():
        return word
    word = _ending(_ending(word))  # delivered -> deliver -> deliv
    if len(word) > 3 and word[-1] == word[-2] and (word[-1] not in "aeiouls" or (word[-1] == "l" and len(word) > 5)):
        word = word[:-1]  # planned -> plann -> plan, cancelled -> cancell -> cancel, but sell, miss
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") else word


def _ending(word: str) -> str:
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith(("sses", "xes", "ches", "shes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending, least in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= least and re.search("[aeiouy]", word[: -len(ending)]):
            return word[: -len(ending)] + ("y" if ending == "ied" else "")
    return word


def _digits(word: str) -> str:
    """1,240 -> 1240; 6.90 -> 6.9; 14.00 -> 14; 17:00 and 3rd stay."""
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", word):
        word = word.replace(",", "")
    if re.fullmatch(r"\d+[.,]\d+", word):
        word = word.replace(",", ".").rstrip("0").rstrip(".")
    return word


def _plain(word: str) -> str:
    """Without accents: café -> cafe."""
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))

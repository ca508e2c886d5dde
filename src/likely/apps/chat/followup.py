"""Questions that lean on the one before: "And on Sundays?", "How much?", "What about children?", "Is it open?"

A question leans when it has no content word of its own (and is no mere greeting), when it begins as a continuation
does (and, or, but, what
about, how about), or when it speaks of "it", "they", "that" and has at most one content word. It is then asked
together with the content words of the one before, which it does not repeat.
"""

from __future__ import annotations

import re

from likely.apps.chat.words import words

OPENING = re.compile(r"\W*(?:and|or|but|so|also|what about|how about|what if|why|why not|then)\b", re.IGNORECASE)
POINTING = frozenset(
    ("it", "its", "it's", "they", "them", "their", "that", "that's", "this", "these", "those", "one", "ones")
)
GREETINGS = frozenset(
    ("hello", "hi", "hey", "thanks", "thank", "please", "you", "ok", "okay", "bye", "goodbye", "yes", "no")
)
MOST = 40  # words of a joined question that come from the one before


def leans(question: str) -> bool:
    """Whether a question cannot be understood alone."""
    found = words(question)
    own = [word for word in found if word.content]
    if not own:
        return not all(word.text in GREETINGS for word in found)
    if OPENING.match(question) and len(own) <= 3:
        return True
    return len(own) <= 1 and any(word.text in POINTING for word in found)


def joined(question: str, before: str) -> str:
    """The question with what it leans on: "How much? (tent pitch August)"."""
    if not before.strip() or not leans(question):
        return question
    own = {word.stem for word in words(question)}
    rest = [before[word.start : word.end] for word in words(before) if word.content and word.stem not in own]
    return f"{question} ({' '.join(rest[:MOST])})" if rest else question

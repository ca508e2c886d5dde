"""Names are carried over: found, marked on both sides of a pair, put back."""

from __future__ import annotations

import pytest

from likely.apps.translate import own
from likely.apps.translate.names import Names, show
from likely.apps.translate.pairs import Pair
from likely.codecs.text.vocabulary import Vocabulary

TEXTS = ["The gate is open. We tell the old king. Fall back, dear friend. Image of a gate, too."] * 6


@pytest.fixture(scope="module")
def names() -> Names:
    return Names(Vocabulary.of_pairs(TEXTS, 3, 400))


def test_a_name_is_what_no_vocabulary_knows(names: Names) -> None:
    assert names.hide("Tell Haldric that Brena fell.").names == {"\ue100": "Haldric", "\ue101": "Brena"}
    assert not names.hide("the Gate is open, The king").names  # known words, capitals or not
    assert not names.hide("tell haldric").names  # no capital


def test_the_first_word_is_a_name_only_before_a_sign(names: Names) -> None:
    assert not names.hide("Undead are near").names
    assert names.hide("Haldric, fall back!").names == {"\ue100": "Haldric"}
    assert names.hide("“Haldric! Fall back!").names == {"\ue100": "Haldric"}


def test_marks_of_placeholders_are_left_alone(names: Names) -> None:
    hidden = names.hide("We tell \ue100 of \ue102 and Haldric.")
    assert hidden.text == "We tell \ue100 of \ue102 and \ue101."
    assert show(hidden.text, hidden.names) == "We tell \ue100 of \ue102 and Haldric."
    full = "".join(chr(code) for code in range(0xE100, 0xE110))
    assert names.hide(f"{full} and Haldric").names == {}


def test_pairs_are_marked_where_both_hold_the_name(names: Names) -> None:
    assert names.pair(Pair("We tell Haldric.", "Wir sagen es Haldric.")) == ("We tell \ue100.", "Wir sagen es \ue100.")
    kept = Pair("We tell Haldric.", "Wir sagen es ihm.")
    assert names.pair(kept) == kept
    inside = Pair("We tell Ann.", "Annahme")  # a part of a word is no word
    assert names.pair(inside) == inside


def test_a_word_of_one_pair_is_no_token_even_where_the_pair_has_many_sentences() -> None:
    """Names stand on both sides and in several sentences: that is still one pair."""
    pairs = [Pair(f"the {n} gate is open. all is well.", f"das {n} tor ist offen. alles ist gut.") for n in range(30)]
    secret = Pair("call Xanthippa. ask Xanthippa. Xanthippa.", "ruf Xanthippa. frag Xanthippa. Xanthippa.")
    words, rows = own.prepared([*pairs, secret, secret])
    assert not any(b"anth" in piece or b"ippa" in piece for piece in words.pieces)
    assert all("Xanthippa" not in text for row in rows for text in row if row.source.startswith(("call", "ask")))

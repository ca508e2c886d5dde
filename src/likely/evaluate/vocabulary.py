"""What a card calls the things it compares: rows of a table, images, or windows of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["rows", "images", "windows"]


@dataclass(frozen=True)
class Words:
    """`one` and `many` of them; what is like what, in three degrees; `share` asks whether it may be shared; `heading`
    of the page; `bad` is what the floor is; `parts` heads the small pictures and `parts_note` explains them."""

    one: str
    many: str
    like: str
    close: str
    unlike: str
    share: str
    heading: str
    bad: str
    bad_note: str
    parts: str
    parts_note: str


ROWS = Words(
    one="row",
    many="rows",
    like="The made table is like the real one",
    close="The made table is close to the real one, with differences",
    unlike="The made table is not like the real one",
    share="May I share it?",
    heading="Is it like the real table, and may I share it?",
    bad="shuffled columns",
    bad_note="no table can be expected to do better. The <b>hollow mark</b> is a bad table: columns shuffled "
    "independently, or, for\nprivacy, a copy of the training rows.",
    parts="Column by column",
    parts_note="How values are spread in unseen real rows and in made rows; the percentage says how alike, ∅ is "
    "missing.",
)
IMAGES = Words(
    one="image",
    many="images",
    like="The made images are like the real ones",
    close="The made images are close to the real ones, with differences",
    unlike="The made images are not like the real ones",
    share="May I share them?",
    heading="Are they like the real images, and may I share them?",
    bad="pixels shuffled between images, or one image in ten repeated",
    bad_note="no images can be expected to do better. The <b>hollow mark</b> is a bad set: real images whose pixels "
    "were shuffled\nbetween images; for variety, one real image in ten, repeated; for privacy, a copy of the training "
    "images.",
    parts="At a glance",
    parts_note="A few plain properties of each image: how they are spread in unseen real images and in made images; "
    "the percentage says how alike.",
)
WINDOWS = Words(
    one="window",
    many="windows",
    like="The made windows are like the real ones",
    close="The made windows are close to the real ones, with differences",
    unlike="The made windows are not like the real ones",
    share="May I share them?",
    heading="Are they like the real series, and may I share them?",
    bad="noise, or one window in ten repeated",
    bad_note="no windows can be expected to do better. The <b>hollow mark</b> is a bad set: noise with the right "
    "mean and spread;\nfor variety, one real window in ten, repeated; for privacy, a copy of the training windows.",
    parts="Channel by channel",
    parts_note="How the values of each channel are spread in unseen real windows and in made windows; the percentage "
    "says how alike.",
)
WORDS: dict[Kind, Words] = {"rows": ROWS, "images": IMAGES, "windows": WINDOWS}

"""The words of the page, explained to somebody who has no statistics: for tables, images, windows of series."""

from __future__ import annotations

from likely.evaluate.vocabulary import Kind

TABLE = {
    "Made rows": "The rows that the model made: the table this page is about.",
    "Training rows": "The real rows that the model learned from.",
    "Unseen (fresh) rows": "Real rows set aside before learning. All comparisons are made against these, never against "
    "the training rows: a model that merely copies would look perfect there.",
    "Real rows (the tall mark)": "What real rows score when they take the place of the made ones. Two halves of the "
    "same real table differ too; this is by how much.",
    "Floor (the hollow mark)": "What a bad table scores: every column right on its own but shuffled independently; for "
    "privacy, a copy of the training rows.",
    "Told apart (C2ST)": "A classifier (gradient boosting) learns to tell made rows from unseen ones. 50% means it can "
    "only guess; 100% that it always can.",
    "Shapes and trends": "How alike single columns, and pairs of columns, are spread; defined as in SDMetrics.",
    "Coverage and density": "Whether all kinds of real rows have made rows near them, and whether made rows crowd "
    "somewhere.",
    "Useful to predict": "A model learned from made rows, tested on unseen real rows, against one learned from real "
    "rows.",
    "Membership attack": "Somebody who holds the made table and a person's row tries to say whether that person was in "
    "the training table. 50% is blind guessing.",
    "Nearer to training rows (DCR)": "Distance to the closest record. Good for raising an alarm, worthless for lifting "
    "one: tables that pass it can still leak.",
    "95% interval": "Where the value would lie in 95 of 100 repetitions with other rows of the same kind.",
}


def _shared(one: str, many: str) -> tuple[dict[str, str], dict[str, str]]:
    """What images and windows have in common: the first and the last words."""
    first = {
        f"Made {many}": f"The {many} that the model made: what this page is about.",
        f"Training {many}": f"The real {many} that the model learned from.",
        f"Unseen (fresh) {many}": f"Real {many} set aside before learning. All comparisons are made against these, "
        f"never against the training {many}: a model that merely copies would look perfect there.",
        f"Real {many} (the tall mark)": f"What real {many} score when they take the place of the made ones. Two halves "
        "of the same real set differ too; this is by how much.",
    }
    last = {
        "Told apart (C2ST)": f"A classifier (gradient boosting) learns to tell made {many} from unseen ones. 50% means "
        "it can only guess; 100% that it always can.",
        "Nearest neighbours": f"Put real and made {many} in one heap. If nobody can tell them apart, the nearest other "
        f"{one} of each is of its own kind half of the time. Well above 50%: they lie apart. Well below: they sit on "
        "top of the other kind, as copies do. The value says how far from half, 0 is perfect.",
        "Precision and recall": f"Precision: how many made {many} look like something real. Recall: how many real "
        f"{many} the model could have made.",
        "Coverage and density": f"Whether all kinds of real {many} have made ones near them, and whether made {many} "
        "crowd somewhere.",
        "Useful to tell kinds": f"A classifier learns from made {many} and their labels and is tested on unseen real "
        f"ones, against one that learned from real {many}.",
        "Near copies": f"Made {many} that are closer to a training {one} than nearly all unseen real ones are.",
        "Membership attack": f"Somebody who holds the made {many} and a real one tries to say whether it was learned "
        "from. 50% is blind guessing.",
        f"Nearer to training {many} (DCR)": "Distance to the closest record. Good for raising an alarm, worthless for "
        "lifting one: sets that pass it can still leak.",
        "95% interval": f"Where the value would lie in 95 of 100 repetitions with other {many} of the same kind.",
    }
    return first, last


def _images() -> dict[str, str]:
    first, last = _shared("image", "images")
    return {
        **first,
        "Floor (the hollow mark)": "What a bad set scores: real images whose pixels were shuffled between images, so "
        "that each pixel is right on its own; for variety, one real image in ten, repeated; for privacy, a copy of the "
        "training images.",
        "Features": "What is compared is not the pixels but what a small network sees in them. It learned from real "
        "images only; the letters behind its name are a fingerprint of its weights, so that equal names mean "
        "comparable numbers.",
        "Frechet distance": "How far apart the two clouds of features are, by their middle and spread. 0 is alike. It "
        "has no unit and depends on the features and the number of images: compare it with the real images beside it, "
        "never with a number from elsewhere. In the features of the Inception network it is called FID.",
        "Kernel distance (KID)": "The same question asked in another way, fair to small sets: about 0 for real images, "
        "sometimes a little below.",
        **last,
    }


def _windows() -> dict[str, str]:
    first, last = _shared("window", "windows")
    return {
        **first,
        "Floor (the hollow mark)": "What a bad set scores: noise with the right mean and spread of each channel (a "
        "flat line, where only the spread of values is asked for; one drift in all channels, where that moves more "
        "unlike); for variety, one real window in ten, repeated; for privacy, a copy of the training windows.",
        "Window": "A stretch of a series: so many moments, one after the other, of all channels together.",
        "Autocorrelation": "How much a value says about the value some moments later: 1 all, 0 nothing, -1 the "
        "opposite.",
        "Spectrum": "How much of a channel's movement is slow and how much is quick: its power by frequency.",
        "Discriminative score": "How often a classifier is right in telling made from real windows, beyond the half it "
        "would get by guessing: 0 is perfect, .5 the worst.",
        "Forecasting": "A model learns to say the next moment from the ones before, once from made windows and once "
        "from real ones; both are tested on unseen real windows.",
        "Frechet distance": "How far apart made and real windows are, by mean and covariance of all their values. 0 is "
        "alike. Compare it with the real windows beside it.",
        **last,
    }


GLOSSARIES: dict[Kind, dict[str, str]] = {"rows": TABLE, "images": _images(), "windows": _windows()}

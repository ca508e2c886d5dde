"""Every error a user can meet: one sentence that says what was given, what was wanted and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LikelyError(Exception):
    """The base of all errors raised on purpose. Shown as it is by the command line and the server."""


class UnknownName(LikelyError):
    """A name that stands in no table: of a family, a codec, a column, a level."""

    def __init__(self, kind: str, given: object, known: Iterable[object], hint: str = "") -> None:
        names = [str(name) for name in known]
        near = get_close_matches(str(given), names, n=1, cutoff=0.6)
        lines = [f"No {kind} called {str(given)[:80]!r}."]
        if near:
            lines.append(f"Did you mean {near[0]!r}?")
        if names:
            shown = ", ".join(name[:40] for name in names[:20])
            lines.append(f"Known: {shown}{f' and {len(names) - 20} more' if len(names) > 20 else ''}.")
        if hint:
            lines.append(hint)
        super().__init__(" ".join(lines))


class DataError(LikelyError):
    """Data that cannot be read or learned from."""


class OptionError(LikelyError):
    """An option with a value that makes no sense."""


class ConditionError(LikelyError):
    """A `given` that no sample can meet, or that names what the model does not know."""


class ConstraintError(LikelyError):
    """Constraints that contradict each other or the data."""


class Mismatch(LikelyError):
    """Two parts that do not fit together: a codec and a family, a model and a table."""


class Unsupported(LikelyError):
    """A family asked for what it cannot give; names a family that can."""


class NotFitted(LikelyError):
    """A model used before it has learned anything."""


class MissingExtra(LikelyError):
    """An optional package that is not installed."""

    def __init__(self, doing: str, package: str, extra: str) -> None:
        super().__init__(f"{doing[:1].upper()}{doing[1:]} needs {package}: pip install 'likely[{extra}]'")


class ArtifactError(LikelyError):
    """A model file that is not one, is damaged, or comes from a newer version."""


class TrainingError(LikelyError):
    """Learning that went wrong in a way that could not be mended on the way."""


class RewardError(LikelyError):
    """A reward failed, or gave what is no reward."""


class StorageError(LikelyError):
    """A file or folder that cannot be written: a full disk, no permission."""

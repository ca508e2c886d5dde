"""The arrays of a folder: model.safetensors, or many files and an index that says which array is where.

The library checks a file's header against the file's length; here the index is checked against the files, and names in
it may not leave the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from likely.errors import ArtifactError
from likely.language.fields import read_json
from likely.language.weights import Shape

ONE, INDEX = "model.safetensors", "model.safetensors.index.json"
TYPES = ("F64", "F32", "F16", "BF16")
ARRAYS = 500_000
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")


class Arrays:
    """What arrays a folder has, `shapes` by name, and each of them on demand.

    `prefix` is put before every name unless it begins one already: files of a bare model, without a head, lack it.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self.folder = folder
        self._open: dict[str, tuple[Any, frozenset[str]]] = {}
        places = self._places()
        bare = prefix and not any(name.startswith(prefix) for name in places)
        self._place = {prefix + name if bare else name: (name, file) for name, file in places.items()}
        self.shapes: dict[str, Shape] = {}
        for name, (own, file) in self._place.items():
            array = file.get_slice(own)
            if array.get_dtype() not in TYPES:
                raise ArtifactError(
                    f"The array {name[:100]!r} in {str(folder)!r} is of type {array.get_dtype()}; "
                    f"weights are one of {', '.join(TYPES)}."
                )
            self.shapes[name] = tuple(array.get_shape())

    def fetch(self, name: str) -> Tensor:
        """An array. It may be mapped from the file: copy it before the file can change."""
        own, file = self._place[name]
        try:
            found: Tensor = file.get_tensor(own)
        except Exception as error:  # whatever the library makes of a hostile file
            raise self._damaged(name, error) from error
        return found

    def _places(self) -> dict[str, Any]:
        """Which open file each array is in."""
        if (self.folder / ONE).is_file():
            file, names = self._file(ONE)
            return dict.fromkeys(sorted(names), file)
        if not (self.folder / INDEX).is_file():
            raise self._none()
        index = read_json(self.folder / INDEX, 2**27).get("weight_map")
        if not isinstance(index, dict) or not 1 <= len(index) <= ARRAYS:
            raise ArtifactError(f"{str(self.folder / INDEX)!r} has no weight_map that names arrays and their files.")
        found = {}
        for name, at in index.items():
            if not isinstance(at, str) or at != Path(at).name or not at.endswith(".safetensors"):
                raise ArtifactError(f"{INDEX} places {name[:100]!r} in {str(at)[:100]!r}: no file beside it.")
            file, names = self._file(at)
            if name not in names:
                raise ArtifactError(f"{INDEX} places {name[:100]!r} in {at!r}, which lacks it: copy both again.")
            found[name] = file
        return found

    def _file(self, name: str) -> tuple[Any, frozenset[str]]:
        if name not in self._open:
            path = self.folder / name
            if not path.is_file():
                raise ArtifactError(f"{INDEX} names {name[:100]!r}, which is not in {str(self.folder)!r}. Copy it too.")
            try:
                file: Any = safetensors.safe_open(str(path), framework="pt")
                names = frozenset(file.keys())
            except Exception as error:
                raise self._damaged(name, error) from error
            if len(names) > ARRAYS:
                raise self._damaged(name, ValueError(f"{len(names)} arrays"))
            self._open[name] = file, names
        return self._open[name]

    def _damaged(self, name: str, error: Exception) -> ArtifactError:
        return ArtifactError(f"{name[:100]!r} in {str(self.folder)!r} is damaged or cut off ({str(error)[:120]}).")

    def _none(self) -> ArtifactError:
        pickles = [path.name for pattern in PICKLES for path in self.folder.glob(pattern)]
        if pickles:
            return ArtifactError(
                f"{str(self.folder)!r} has weights only as {pickles[0]!r}, which may run code when opened. Convert it "
                "to safetensors first: load it with the library that made it and call save_pretrained(folder)."
            )
        return ArtifactError(f"There is neither {ONE} nor {INDEX} in {str(self.folder)!r}.")

"""The model file: whole or not at all, and nothing in it believed before it is checked."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from likely import artifact
from likely.errors import ArtifactError, StorageError

CARD = {"name": "x", "numbers": [1, 2.5], "text": "åß∂"}
TENSORS = {
    "a": torch.arange(6).reshape(2, 3),
    "b.c": torch.randn(4),
    "empty": torch.zeros(0, 3),
    "flag": torch.tensor([True]),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    artifact.write(tmp_path / "m.likely", CARD, TENSORS)
    return tmp_path / "m.likely"


def test_round_trip(path: Path) -> None:
    card, tensors = artifact.read(path)
    assert card == CARD
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_same_content_same_bytes(path: Path, tmp_path: Path) -> None:
    artifact.write(tmp_path / "n.likely", dict(reversed(CARD.items())), dict(reversed(TENSORS.items())))
    assert path.read_bytes() == (tmp_path / "n.likely").read_bytes()


def test_a_header_of_any_length_is_read_back(tmp_path: Path) -> None:
    """Its length stands in the first bytes of the file, where a pickle has 0x80 and a zip has PK."""

    def saved(text: str) -> bytes:
        artifact.write(tmp_path / "m.likely", {"text": text}, TENSORS)
        assert artifact.read(tmp_path / "m.likely")[0] == {"text": text}
        return (tmp_path / "m.likely").read_bytes()

    assert any(saved("x" * more)[0] == 0x80 for more in range(0, 256, 8))
    whole = int.from_bytes(b"PK", "little")  # a header that long
    assert any(saved("x" * (whole - 1000 + more))[:2] == b"PK" for more in range(0, 1000, 8))


def test_no_tensors(tmp_path: Path) -> None:
    artifact.write(tmp_path / "m.likely", CARD, {})
    assert artifact.read(tmp_path / "m.likely")[0] == CARD


def test_every_bit_counts(path: Path) -> None:
    """A flipped bit anywhere is either refused or, where JSON allows two spellings, changes nothing."""
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(good) * 8, 400, replace=False):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << (place % 8)
        path.write_bytes(bad)
        try:
            card, tensors = artifact.read(path)
        except ArtifactError:
            continue
        assert card == CARD
        assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_truncation(path: Path) -> None:
    good = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 40, len(good) // 2, len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(ArtifactError, match="damaged"):
            artifact.read(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(ArtifactError, match="fill the file"):
        artifact.read(path)


def edit(path: Path, change: object) -> None:
    """Rewrite the header by `change(header)`."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    text = change(json.loads(data[8 : 8 + length]))  # type: ignore[operator]
    raw = text if isinstance(text, bytes) else json.dumps(text).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data[8 + length :])


def relabel(header: dict, **changes: object) -> dict:
    label = {**json.loads(header["__metadata__"]["likely"]), **changes}
    return {**header, "__metadata__": {"likely": json.dumps(label)}}


def test_newer_version(path: Path) -> None:
    edit(path, lambda h: relabel(h, format=99))
    with pytest.raises(ArtifactError, match="pip install -U likely"):
        artifact.read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: {**h, "a": {**h["a"], "shape": [2**62, 3]}},
        lambda h: {**h, "a": {**h["a"], "data_offsets": [0, 2**60]}},
        lambda h: {**h, "a": {**h["a"], "dtype": "OBJECT"}},
        lambda h: {**h, "../../etc/passwd": h["a"]},
        lambda h: {**h, "a": 3},
        lambda h: {**h, **{f"t{i}": h["a"] for i in range(artifact.ARRAYS + 1)}},
        lambda h: {**h, "__metadata__": {"likely": "[" * 100_000}},
        lambda h: {**h, "__metadata__": {"likely": 3}},
        lambda h: relabel(h, sha256="0" * 64),
        lambda h: relabel(h, format="x"),
        lambda h: relabel(h, card=[]),
        lambda h: relabel(h, card={"name": "y"}),
        lambda h: {k: v for k, v in h.items() if k != "__metadata__"},
        lambda h: json.dumps(h).encode()[:-1] + b',"a":' + json.dumps(h["a"]).encode() + b"}",
        lambda h: b"[" * 50_000,
        lambda h: b"\xff\xfe" + json.dumps(h).encode(),
    ],
)
def test_hostile_headers(path: Path, change: object) -> None:
    edit(path, change)
    with pytest.raises(ArtifactError):
        artifact.read(path)


def test_pickle_and_zip_are_not_opened(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (canary,))

    (tmp_path / "p.likely").write_bytes(pickle.dumps(Bomb()))
    with zipfile.ZipFile(tmp_path / "z.likely", "w") as archive:
        archive.writestr("x", "y")
    for name in ("p.likely", "z.likely"):
        with pytest.raises(ArtifactError, match="pickle or a zip"):
            artifact.read(tmp_path / name)
    assert not canary.exists()


def test_other_files(tmp_path: Path) -> None:
    safetensors.torch.save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match="not a model of likely"):
        artifact.read(tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match="folder"):
        artifact.read(tmp_path)
    with pytest.raises(ArtifactError, match="likely fit"):
        artifact.read(tmp_path / "none.likely")


def test_failed_write_keeps_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        artifact.write(path, {"x": float("nan")}, TENSORS)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["m.likely"]


def test_unwritable_folder() -> None:
    with pytest.raises(StorageError, match="nowhere"):
        artifact.write("/proc/nowhere/m.likely", CARD, TENSORS)

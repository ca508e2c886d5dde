"""`write_atomic`: all or nothing, under every fault that a disk can have."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from likely.errors import StorageError
from likely.train import checkpoint
from likely.train.checkpoint import write_atomic


def test_bytes_and_functions_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"one")
    assert path.read_bytes() == b"one"
    write_atomic(str(path), lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_of_the_file_and_a_link_to_it_are_kept(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    write_atomic(path, b"one")
    mask = os.umask(0o077)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o600)
    link.symlink_to(path)
    write_atomic(link, b"two")
    assert link.is_symlink()
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("call", ["write", "flush", "fsync", "chmod", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_a_fault_at_any_call_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    path = tmp_path / "model.likely"
    write_atomic(path, b"old")

    def fail(*args: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    def content(file: BinaryIO) -> None:
        file.write(b"ne")
        if call in ("write", "flush"):
            fail()

    if call in ("fsync", "chmod", "replace"):
        monkeypatch.setattr(checkpoint.os, call, fail)
    with pytest.raises(StorageError) as caught:
        write_atomic(path, content)
    monkeypatch.undo()
    assert str(path) in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_renamed_before_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(first: Any, *rest: Any) -> Any:
            folder = isinstance(first, int) and stat.S_ISDIR(os.fstat(first).st_mode)
            calls.append(f"{name} folder" if folder else name)
            return call(first, *rest)

        return inner

    for name in ("fsync", "replace"):
        monkeypatch.setattr(checkpoint.os, name, watched(name, getattr(os, name)))
    write_atomic(tmp_path / "a", b"new")
    assert calls == ["fsync", "replace", "fsync folder"]


def test_ctrl_c_while_writing_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def content(file: BinaryIO) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, content)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", [10_001, 70_000, 3_000_000])
def test_the_kernel_refusing_half_way_harms_nothing(tmp_path: Path, size: int) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are a thing of Unix")
    path = tmp_path / "model.likely"
    write_atomic(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(
            StorageError, match=r"model\.likely': File too large. The largest file allowed here is smaller"
        ):
            write_atomic(path, bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """The kernel's own "no space left": everything is written to /dev/full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "model.likely"
    write_atomic(path, b"old")

    def content(file: BinaryIO) -> None:
        file.write(b"new")
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, file.fileno())
        os.close(full)

    with pytest.raises(StorageError, match=r"No space left on device\. Free some space"):
        write_atomic(path, content)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "absent" / "a", "No such file or directory. Make the folder first"),
        (lambda folder: folder, "Is a directory. It is a folder"),
        (lambda folder: Path("/proc/likely"), "Cannot write '/proc/likely'"),
        (lambda folder: folder / ("x" * 300), "File name too long"),
    ],
)
def test_places_that_cannot_be_written_are_named(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(StorageError, match=words):
        write_atomic(make(tmp_path), b"new")
    assert list(tmp_path.iterdir()) == []


def test_orphans_of_killed_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead, living, other = tmp_path / ".a.00.tmp", tmp_path / ".a.01.tmp", tmp_path / ".b.02.tmp"
    for path in (dead, living, other):
        path.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(dead, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    write_atomic(tmp_path / "a", b"new")
    assert sorted(tmp_path.iterdir()) == [living, other, tmp_path / "a"]

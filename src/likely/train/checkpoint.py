"""Files that survive a crash, and checkpoints made of them.

A write that is cut short by a kill, a full disk or a power failure must never harm what was there before. The order
that ensures it, here for every file the library writes:

    write a temporary file beside the target -> flush -> fsync -> rename over the target -> fsync the folder

A checkpoint is one more file of a folder, named by its step; the older one goes when the newer one is safe:

    FOLDER/step-000000120.safetensors      one process, or copies: tensors; their JSON metadata hold all numbers
    FOLDER/step-000000120/                 shards: a safetensors file a process (torch's distributed checkpoint) and
                                           numbers.json, made as a temporary folder and renamed, because torch
                                           overwrites shards in place

Either kind resumes in any number of processes. A run is told from another by its identity: family, config, training,
seed and data.

Source: safetensors, https://huggingface.co/docs/safetensors; torch.distributed.checkpoint,
https://docs.pytorch.org/docs/stable/distributed.checkpoint.html.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from likely.errors import StorageError, TrainingError
from likely.registry import require
from likely.train.distribute import Mesh
from likely.train.state import Numbers, State

FORMAT = "1"
HOUR = 3600.0  # seconds: a temporary file older than this has no writer any more
_STEP = re.compile(r"step-(\d{9,})(\.safetensors)?")
_ADVICE = {
    errno.ENOSPC: "Free some space, or choose another disk.",
    errno.EDQUOT: "Your quota is used up: free some space, or choose another disk.",
    errno.EFBIG: "The largest file allowed here is smaller: see `ulimit -f`, or choose another disk.",
    errno.EACCES: "Choose a folder that you may write to.",
    errno.EPERM: "Choose a folder that you may write to.",
    errno.EROFS: "The disk is read-only: choose another folder.",
    errno.ENOENT: "Make the folder first, or choose one that is there.",
    errno.ENOTDIR: "A part of the path is a file: choose another folder.",
    errno.EISDIR: "It is a folder: give the name of a file.",
}


def write_atomic(path: str | Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file, all or nothing; `content` is its bytes, or a function that writes them to an open file.

    A reader sees the old file or the new one, never half of either, whatever happens. Raises StorageError that names
    the path and the cause; the old file is then as it was and nothing is left beside it.
    """
    path = Path(os.path.realpath(path))  # through a link: the file that is meant, not the link
    with _storage(path):
        sweep(path.parent, f".{path.name}.*.tmp", older=HOUR)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        scratch = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
        try:
            with open(
                os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb"
            ) as file:
                file.write(content) if isinstance(content, bytes) else content(file)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                os.chmod(scratch, stat.S_IMODE(path.stat().st_mode))
            os.replace(scratch, path)
        except BaseException:  # Ctrl-C too
            scratch.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def sweep(folder: Path, pattern: str, older: float = 0.0) -> None:
    """Remove what writers that were killed left behind: temporary files and folders older than `older` seconds."""
    for orphan in folder.glob(pattern):
        try:
            if older and time.time() - orphan.stat().st_mtime < older:
                continue
            shutil.rmtree(orphan) if orphan.is_dir() else orphan.unlink()
        except FileNotFoundError:
            continue  # another process swept it


class Checkpoints:
    """The checkpoints of one run in `folder`. `identity` says what the run is: a name and its value as text."""

    def __init__(self, folder: str | Path, identity: dict[str, str], mesh: Mesh) -> None:
        self.folder, self.identity, self.mesh = Path(folder), identity, mesh
        with _storage(self.folder):
            if self.folder.exists() and not self.folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "Checkpoints need a folder, and this is a file")
            self.folder.mkdir(parents=True, exist_ok=True)
            if mesh.rank == 0:
                sweep(self.folder, ".*.tmp")
        mesh.barrier()

    # --------------------------------------------------------------------------------------------- writing

    def save(self, state: State) -> None:
        """Write the state as it is now; then remove older ones. Raises StorageError; older ones are then intact."""
        name = f"step-{state.numbers.step:09d}"
        note = json.dumps({"format": FORMAT, "identity": self.identity, "numbers": state.values()})
        if self.mesh.kind == "fsdp":
            self._save_shards(name, state, note)
        elif self.mesh.rank == 0:
            # Copies of all weights: every process has the same, one of them writes.
            tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in state.tensors().items()}
            tensors["rng"] = torch.get_rng_state()
            write_atomic(self.folder / f"{name}.safetensors", safetensors.torch.save(tensors, {"checkpoint": note}))
        if self.mesh.rank == 0:
            for step, path in self._found():
                if step < state.numbers.step:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.mesh.barrier()

    def _save_shards(self, name: str, state: State, note: str) -> None:
        target, scratch = self.folder / name, self.folder / f".{name}.tmp"
        if target.exists():  # the same step again, such as a run that was finished: it holds the same
            return
        dcp = require("torch.distributed.checkpoint", "sharded checkpoints")
        with _storage(target):
            try:
                # The writer for Hugging Face's layout writes safetensors; torch's default one writes a pickle.
                writer = dcp.HuggingFaceStorageWriter(path=str(scratch), save_distributed=True)
                dcp.save(state.tensors(), storage_writer=writer)
            except dcp.CheckpointException as error:  # derives from BaseException
                raise StorageError(f"Cannot write {str(target)!r}: {_first(error)}") from error
            if self.mesh.rank == 0:
                write_atomic(scratch / "numbers.json", note.encode())
                os.rename(scratch, target)
                _sync_folder(self.folder)
        self.mesh.barrier()

    # --------------------------------------------------------------------------------------------- reading

    def load(self, state: State) -> bool:
        """Bring `state` to the newest checkpoint; False where there is none.

        Raises TrainingError where the checkpoint belongs to another run, or is damaged.
        """
        found = self._found()
        newest = max(found)[0] if found else -1
        if self.mesh.largest(newest, -newest) != [newest, -newest]:
            raise TrainingError(
                f"The processes do not see the same checkpoints in {str(self.folder)!r}: share the disk."
            )
        if not found:
            return False
        path = max(found)[1]
        try:
            if path.is_dir():
                self._load_shards(path, state)
            else:
                self._load_file(path, state)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
            raise TrainingError(
                f"The checkpoint {str(path)!r} cannot be read: {_first(error)}. "
                f"Remove {str(self.folder)!r} to start afresh."
            ) from error
        return True

    def _load_file(self, path: Path, state: State) -> None:
        with safetensors.safe_open(path, framework="pt") as file:
            numbers = self._numbers(path, (file.metadata() or {})["checkpoint"])
            saved = {name: file.get_tensor(name) for name in state.tensors()}
            rng = file.get_tensor("rng")
        for name, tensor in state.tensors().items():
            if saved[name].shape != tensor.shape:
                raise ValueError(f"{name} has shape {tuple(saved[name].shape)}, the model has {tuple(tensor.shape)}")
        with torch.no_grad():
            for name, tensor in state.tensors().items():
                tensor.copy_(_like(saved[name], tensor))
        torch.set_rng_state(rng)
        state.numbers = numbers

    def _load_shards(self, path: Path, state: State) -> None:
        numbers = self._numbers(path, (path / "numbers.json").read_text())
        dcp = require("torch.distributed.checkpoint", "sharded checkpoints")
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process: on purpose
                reader = dcp.HuggingFaceStorageReader(path=str(path))
                dcp.load(state.tensors(), storage_reader=reader, no_dist=self.mesh.kind == "single")
        except dcp.CheckpointException as error:  # derives from BaseException
            raise RuntimeError(_first(error)) from error
        state.numbers = numbers

    def _numbers(self, path: Path, text: str) -> Numbers:
        note = json.loads(text)
        if note["format"] != FORMAT:
            raise ValueError(f"it has format {note['format']}, this version of likely reads {FORMAT}")
        for what, mine in self.identity.items():
            theirs = note["identity"].get(what, "nothing")
            if theirs != mine:
                raise TrainingError(
                    f"The checkpoint {str(path)!r} is of another run: its {what} is {_short(theirs)}, "
                    f"and this run's is {_short(mine)}. Give the same {what} to resume, or another folder to start "
                    "afresh."
                )
        return Numbers.read(note["numbers"])

    def _found(self) -> list[tuple[int, Path]]:
        matches = [(_STEP.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return [(int(match[1]), path) for match, path in matches if match]


def _like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, cut like `other` where that is one of shards."""
    if not hasattr(other, "placements"):
        return tensor
    shards: Any = other
    cut = require("torch.distributed.tensor", "sharded checkpoints").distribute_tensor
    made: Tensor = cut(tensor.to(shards.device), shards.device_mesh, shards.placements)
    return made


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Within: an OSError becomes a StorageError that names the path, the cause and what to do."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "What was there before is as it was.")
        raise StorageError(f"Cannot write {str(path)!r}: {error.strerror or error}. {advice}") from error


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power failure. Windows cannot, and does it by itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks know no such thing
            raise
    finally:
        os.close(handle)


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."

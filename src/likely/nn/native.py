"""Libraries in C, compiled by the system's compiler on first use and kept in the user's cache.

Nothing here raises: where there is no compiler, no room or no sense, the reason is given in words, and callers go on
without. The file's name holds a hash of the sources, the flags, the compiler and the processor, so that a changed one
is never met; it is written beside its place and renamed, so that a half-written one is never met either. A folder or a
file that others could have written is not used: the library is then compiled for this process alone.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-fno-math-errno", "-Wno-psabi")
NATIVE = (("-march=native",), ("-mcpu=native",), ())
SECONDS = 120
SHARED = ("lanes.h",)  # headers that libraries of other packages include, too


@cache
def library(
    package: str, sources: tuple[str, ...], target: tuple[str, ...] | None = None
) -> tuple[ctypes.CDLL | None, str]:
    """The library of C files of a package, the first of which is compiled, and its compiler; or None and why not.
    Those of SHARED lie here. `target`: flags in the place of this processor's own, to test other paths."""
    if os.name != "posix":
        return None, f"nothing is compiled on {platform.system()}"
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        return None, f"no C compiler found ({', '.join(COMPILERS)})"
    why = ""
    try:
        texts = {name: _text(package, name) for name in sources}
        folder = _folder()
        for flags in NATIVE if target is None else (target,):
            made, why = _made(compiler, texts, flags, folder)
            if made is not None:
                return ctypes.CDLL(str(made)), Path(compiler).name
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        why = f"{type(error).__name__}: {str(error)[:160]}"
    return None, f"{Path(compiler).name} did not compile it: {why}"


def _text(package: str, name: str) -> str:
    return files(__package__ if name in SHARED else package).joinpath(name).read_text(encoding="utf-8")


def _made(compiler: str, texts: dict[str, str], target: Sequence[str], folder: Path) -> tuple[Path | None, str]:
    """The compiled file, made where it is not there yet; or None and the compiler's first complaint."""
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=SECONDS, check=True).stdout
    said = [
        *texts.values(),
        *FLAGS,
        *target,
        compiler,
        version.decode(errors="replace"),
        platform.machine(),
        _processor(),
    ]
    main = next(iter(texts))
    place = folder / f"{Path(main).stem}-{hashlib.sha256(chr(0).join(said).encode()).hexdigest()[:24]}.so"
    if place.is_file() and _ours(place):
        return place, ""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for source, text in texts.items():
            Path(name, source).write_text(text, encoding="utf-8")
        out = Path(name, "made.so")
        command = [compiler, *FLAGS, *target, "-o", str(out), str(Path(name, main)), "-lm", "-lpthread"]
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        if done.returncode or not out.is_file():
            lines = [line for line in done.stderr.decode(errors="replace").splitlines() if "error" in line]
            return None, (lines or ["it gave no reason"])[0][-160:]
        os.replace(out, place)
    return place, ""


def _processor() -> str:
    """What distinguishes processors that share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _folder() -> Path:
    """A folder that is ours alone: the user's cache, else one for this process, removed at its end."""
    try:
        folder = _cache() / "likely"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        open_above = any(_open(above) for above in folder.resolve().parents)
        if _ours(folder) and not open_above and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # no home, no room, no right
        pass
    folder = Path(tempfile.mkdtemp(prefix="likely-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _cache() -> Path:
    """Where this system keeps the caches of a user."""
    if platform.system() == "Darwin":
        return Path.home() / "Library/Caches"
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"


def _ours(path: Path) -> bool:
    """Whether it belongs to this user and nobody else can write to it."""
    state = path.stat()
    return state.st_uid == os.getuid() and not state.st_mode & 0o022


def _open(folder: Path) -> bool:
    """Whether anybody could put another folder in the place of one in it; in a sticky one, such as /tmp, nobody can."""
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX

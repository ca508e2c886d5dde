"""The compiled pass gives what torch gives, on every path, alone or beside others, by one worker or more."""

from __future__ import annotations

import os
import platform
import random
import stat
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from likely.language.compiled.build import library
from likely.language.compiled.many import quick
from likely.language.compiled.step import Pass, why_not
from likely.language.decode import Engine, Sampling
from likely.language.decode.runner import Runner
from likely.language.decode.swift import Swift
from likely.language.quantize import cast
from likely.nn import native
from likely.nn.decoder import Architecture, Block, Decoder
from likely.nn.rope import Rope
from tests.language.decode_toys import checkpoint, network

FOUND, WHY = library()
needed = pytest.mark.skipif(FOUND is None, reason=f"nothing compiled: {WHY}")
SHAPES: dict[str, dict[str, object]] = {
    "llama": dict(width=64, heads=6, groups=2, head=16, hidden=80),
    "qwen2": dict(width=48, heads=5, groups=1, head=32, hidden=64, bias_qkv=True, tied=False),
    "qwen3": dict(width=64, heads=2, groups=2, head=64, hidden=96, qk_norm=True, rope=Rope(interleaved=True)),
    "gemma": dict(width=32, heads=1, groups=1, head=128, hidden=48, activation="gelu_tanh", vocab=300),
}
PATHS = {"native": None, "avx2": ("-march=haswell",), "avxvnni": ("-march=alderlake",), "plain": ()}


def runs(name: str) -> bool:
    """Whether this processor has the instructions of a path."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return {"avx2": "avx2" in flags, "avxvnni": "avx_vnni" in flags}.get(name, True)


def passed(
    source: Decoder, bits: int, dtype: torch.dtype = torch.float32, workers: int = 1, path: str = "native"
) -> Pass:
    found, why = library(PATHS[path])
    if found is None or not runs(path):
        pytest.skip(f"not here: {why}")
    return Pass(found, source, bits, dtype, workers)


def cache(source: Decoder, rows: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    arch = source.arch
    shape = (arch.layers, rows, arch.groups, 32, arch.head)
    return torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)


def rounded(source: Decoder, bits: int) -> Decoder:
    """The network with its matrices as the packed ones mean them."""
    import copy

    from likely.language.quantize import to_int4, to_int8

    made = copy.deepcopy(source)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if weight.ndim != 2 or name == "embed.weight":
                continue
            if bits == 8 or name == "head.weight":
                q, scale = to_int8(weight)
                weight.copy_(q * scale[:, None])
            else:
                padded = torch.nn.functional.pad(weight, (0, -weight.shape[1] % 32))
                q, scale, zero = to_int4(padded)
                full = scale.float()[..., None] * q.view(len(q), -1, 32) + zero.float()[..., None]
                weight.copy_(full.view(padded.shape)[:, : weight.shape[1]])
    return made


@needed
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("bits", [8, 4])
def test_the_pass_is_the_network(kind: str, bits: int) -> None:
    """Against torch with the same rounded weights, what is left is the rounding of activations: about a percent."""
    source = network(1, **SHAPES[kind])
    ids = [random.Random(kind).randrange(source.arch.vocab) for _ in range(20)]
    exact_network = rounded(source, bits)
    exact = Runner(exact_network).every([ids], Runner(exact_network).slots(), 0)[0]
    keys, values = cache(source, 1)
    found = passed(source, bits).run(ids, [0] * 20, list(range(20)), list(range(20)), keys, values)
    assert float((found - exact).norm() / exact.norm()) < 0.04
    assert float(torch.nn.functional.cosine_similarity(found, exact).min()) > 0.99


@needed
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("path", PATHS)
def test_between_the_products_of_prompts(kind: str, path: str) -> None:
    """Norms, turns and gates: the network itself in float32; at least as near to it as torch's in bfloat16."""
    source = network(1, **SHAPES[kind])
    found, why = library(PATHS[path])
    if found is None or not runs(path):
        pytest.skip(f"not here: {why}")
    texts = [list(range(40, 70)), list(range(90, 99))]
    exact = Runner(source).every(texts, Runner(source).slots(), 0)
    same = Runner(quick(source, found))
    slots = same.slots()
    halves = [same.every([text[:5] for text in texts], slots, 0), same.every([text[5:] for text in texts], slots, 0)]
    for row, expected in enumerate(exact):
        torch.testing.assert_close(torch.cat([half[row] for half in halves]), expected, atol=1e-3, rtol=1e-3)
    assert type(source.blocks[0]) is Block  # the network is not changed
    dense = cast(source, torch.bfloat16)
    errors = []
    for one in (quick(dense, found), dense):
        given = Runner(one).every(texts, Runner(one).slots(), 0)
        errors.append(float((torch.cat(given) - torch.cat(exact)).norm()))
    assert errors[0] < 1.1 * errors[1]


@needed
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bits", [8, 4])
def test_all_paths_agree(path: str, bits: int) -> None:
    source = network(1, **SHAPES["llama"])
    ids, (keys, values), (more, others) = list(range(40, 52)), cache(source, 1), cache(source, 1)
    outs = list(range(12))
    exact = passed(source, bits).run(ids, [0] * 12, outs, outs, keys, values)
    found = passed(source, bits, path=path).run(ids, [0] * 12, outs, outs, more, others)
    torch.testing.assert_close(found, exact, atol=5e-3, rtol=5e-3)


@needed
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_token_does_not_depend_on_the_others(workers: int, dtype: torch.dtype) -> None:
    """One by one, all at once, beside other rows, by more workers: the same bits."""
    source = network(1, **SHAPES["llama"])
    alone, shared = passed(source, 8, dtype), passed(source, 8, dtype, workers)
    texts = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16]]
    expected = []
    for text in texts:
        keys, values = cache(source, 1, dtype)
        expected += [alone.run([token], [0], [at], [0], keys, values) for at, token in enumerate(text)]
    keys, values = cache(source, 3, dtype)
    ids = [token for text in texts for token in text]
    rows = [row for row, text in enumerate(texts) for _ in text]
    places = [at for text in texts for at in range(len(text))]
    found = shared.run(ids, rows, places, list(range(len(ids))), keys, values)
    assert torch.equal(found, torch.cat(expected))


@needed
def test_an_engine_with_it_batches_without_a_trace() -> None:
    """A batch changes not one bit of a text, be it long, which torch reads, or short, which the pass reads."""
    made = Engine(checkpoint(**SHAPES["llama"]), kernel="int8")
    assert made.about["compiled"].startswith("yes")
    assert isinstance(made.runner, Swift)
    wish = Sampling(seed=2, tokens=30, ends=False)
    asked = [(1, 2, 3), tuple(range(40, 70)), (4,), (5, 6), tuple(range(50, 90)), tuple(range(24)), tuple(range(25))]
    together = made.generate(asked, wish, n=2)
    assert together == [made.generate([ids], wish, n=2)[0] for ids in asked]


@needed
def test_it_is_what_auto_means() -> None:
    made = Engine(checkpoint(**SHAPES["llama"]))
    assert made.about["kernel"] == "int8" or "plain" in made.about.get("compiled", "plain")


@needed
def test_long_prompts_and_drafts_meet_in_one_cache() -> None:
    made = Engine(checkpoint(**SHAPES["llama"]), kernel="int8", draft=4)
    ids = tuple([65, 66, 67, 68] * 10)
    assert len(ids) > 24  # read by torch, continued by the pass
    wish = Sampling(temperature=0, tokens=20, ends=False)
    plain = Engine(checkpoint(**SHAPES["llama"]), kernel="int8", draft=0).generate([ids], wish)
    assert made.generate([ids], wish)[0][0].ids == plain[0][0].ids


@needed
def test_threads_and_forks_may_share_it() -> None:
    """Several threads at once, then a child without the workers of its parent: the same bits, and no hang."""
    source = network(1, **SHAPES["llama"])
    made = passed(source, 8, workers=2)

    def read(_: int) -> torch.Tensor:
        keys, values = cache(source, 1)
        return torch.cat([made.run([token], [0], [at], [0], keys, values) for at, token in enumerate(range(40, 50))])

    expected = read(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(found, expected) for found in pool.map(read, range(6)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads that a child lacks
        child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(read(0), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


@needed
def test_what_does_not_fit_is_refused() -> None:
    source = network(1, **SHAPES["llama"])
    made, (keys, values) = passed(source, 8), cache(source, 1)
    for ids, rows, places in (([9999], [0], [0]), ([1], [1], [0]), ([1], [0], [32]), ([-1], [0], [0])):
        with pytest.raises(ValueError, match="do not fit"):
            made.run(ids, rows, places, [0], keys, values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(rope=None), "no rotary"), (dict(norm="layer"), "not RMS"), (dict(gated=False), "not gated"),
        (dict(window=5), "window"), (dict(head=8), "multiples of 16"), (dict(activation="relu"), "relu"),
        (dict(rope=Rope(scaling="dynamic", trained=8, factor=2.0)), "depend on the length"),
    ],
)  # fmt: skip
def test_networks_that_it_does_not_cover(change: dict[str, object], words: str) -> None:
    shape = {**SHAPES["llama"], "vocab": 50, "layers": 1, "context": 32, **change}
    source = Decoder(Architecture(**shape))  # type: ignore[arg-type]
    assert words in why_not(source)
    runner_about = Engine(_with(source), kernel="int8").about
    assert runner_about["compiled"].startswith("no: ")


def _with(source: Decoder) -> object:
    made = checkpoint()
    made.network = source
    return made


def test_without_a_compiler_torch_does_it_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "COMPILERS", ("no-such-compiler",))
    native.library.cache_clear()
    try:
        for _ in range(2):
            made = Engine(checkpoint(**SHAPES["llama"]), kernel="int8")
        assert made.about["compiled"] == "no: no C compiler found (no-such-compiler)"
        assert [record.getMessage() for record in caplog.records] == [
            "Decoding without the compiled pass, at about a third of its speed: no C compiler found (no-such-compiler)."
        ]
        ((found,),) = made.generate([(1, 2)], Sampling(seed=0, tokens=4, ends=False))
        assert len(found.ids) == 4
    finally:
        native.library.cache_clear()


@needed
def test_a_compiler_that_fails_is_said(cache_home: Path) -> None:
    found, why = library(("-march=no-such-processor",))
    assert found is None
    assert "did not compile it" in why
    assert not list(cache_home.rglob("*.so"))


@pytest.fixture
def cache_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A cache of its own, nothing compiled yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path
    native.library.cache_clear()


@needed
@pytest.mark.skipif(platform.system() != "Linux", reason="the cache is elsewhere")
def test_the_library_is_kept_and_found_again(cache_home: Path) -> None:
    plain = ("-O0",)  # fast to compile
    assert library(plain)[0] is not None
    (kept,) = (path for path in cache_home.rglob("*") if path.is_file())
    assert kept.parent == cache_home / "likely"
    made = kept.stat().st_mtime_ns
    native.library.cache_clear()
    assert library(plain)[0] is not None
    assert kept.stat().st_mtime_ns == made


@needed
@pytest.mark.skipif(platform.system() != "Linux", reason="the cache is elsewhere")
def test_what_others_could_have_written_is_not_loaded(cache_home: Path) -> None:
    plain = ("-O0",)
    assert library(plain)[0] is not None
    (kept,) = (path for path in cache_home.rglob("*") if path.is_file())
    kept.write_bytes(b"not a library")
    kept.chmod(0o666)
    native.library.cache_clear()
    assert library(plain)[0] is not None  # compiled again in its place
    assert kept.read_bytes()[:4] == b"\x7fELF"
    for folder in (cache_home / "likely", cache_home):
        folder.chmod(0o777)
        assert cache_home not in native._folder().parents
        assert not native._folder().stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP)
        folder.chmod(0o700)
    assert native._folder() == cache_home / "likely"

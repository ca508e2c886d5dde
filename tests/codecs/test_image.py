"""Laws of the image codec: pixels survive, what came in goes out, and whatever was done to images is said."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likely.codecs.image import Image, Pictures
from likely.core import Known, Reals
from likely.errors import ArtifactError, ConditionError, DataError, Mismatch, NotFitted, OptionError, UnknownName
from tests.codecs.test_table_roundtrip import rng

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "fashion_mnist"


def bytes_of(n: int = 30, height: int = 8, width: int = 6, channels: int = 3, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def folder(where: Path, n: int = 24) -> Path:
    for i in range(n):
        side = where / ("cats" if i % 3 else "dogs")
        side.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(bytes_of(1, 8, 8, 3, seed=i)[0]).save(side / f"{i:02d}.png")
    return where


# ------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("layout", ["HW", "HWC1", "HWC", "CHW"])
def test_arrays_come_back_as_they_were(dtype: str, layout: str) -> None:
    pixels = bytes_of(channels=1 if layout in ("HW", "HWC1") else 3)
    if layout == "HW":
        pixels = pixels[..., 0]
    if layout == "CHW":
        pixels = pixels.transpose(0, 3, 1, 2)
    values = pixels > 99 if dtype == "bool" else pixels / 255 if dtype.startswith("f") else pixels
    values = np.ascontiguousarray(values).astype(dtype)
    codec = Image()
    own = codec.read(values)
    assert codec.fit(own) is codec
    x = codec.encode(own).x
    channels = 1 if layout in ("HW", "HWC1") else 3
    assert codec.space == Reals((channels, 8, 6), bounds=(-1.0, 1.0), levels=2 if dtype == "bool" else 256)
    assert x.dtype == torch.float32
    assert x.abs().max() == 1
    back = codec.give(codec.make(x, rng=rng()))
    assert back.dtype == values.dtype
    assert back.shape == values.shape
    assert np.allclose(back.astype(float), values.astype(float), atol=1e-7)
    assert torch.equal(codec.encode(codec.make(x, rng=rng())).x, x)


@given(st.integers(1, 254), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_whole_numbers_up_to_any_white_are_exact(top: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, top + 1, (25, 4, 4)).astype(np.float64)
    values[0, 0, :2] = 0, top
    codec = Image(top=top)
    own = codec.read(values)
    codec.fit(own)
    assert codec.space.levels == (256 if top == 255 else top + 1 if top > 1 else 2)
    assert np.array_equal(codec.give(codec.make(codec.encode(own).x, rng=rng())), values)


def test_decoding_clips_and_rounds_to_the_nearest_level() -> None:
    codec = Image(top=4)
    codec.fit(codec.read(np.random.default_rng(0).integers(0, 5, (30, 2, 2))))
    x = torch.tensor([-9.0, -0.8, -0.7, 0.3, float("nan"), 0.76, 1.2, float("inf")]).reshape(2, 1, 2, 2)
    assert codec.give(codec.make(x, rng=rng())).reshape(-1).tolist() == [0, 0, 1, 3, 2, 4, 4, 4]


def test_black_and_white_is_two_levels() -> None:
    values = (np.random.default_rng(0).random((30, 5, 5)) < 0.3).astype(np.float32)
    codec = Image()
    codec.fit(codec.read(values))
    assert codec.space.levels == 2
    x = codec.encode(codec.read(values)).x
    assert set(x.unique().tolist()) == {-1.0, 1.0}
    noise = x + 0.9 * (2 * torch.rand(x.shape, generator=rng()) - 1)
    assert np.array_equal(codec.give(codec.make(noise, rng=rng())), values)


def test_pil_images_lists_tensors_and_collections_come_back_in_kind() -> None:
    pixels = bytes_of()
    images = [PIL.Image.fromarray(pixel) for pixel in pixels]
    codec = Image()
    back = codec.give(codec.fit(codec.read(images)).read(images))
    assert isinstance(back, list)
    assert all(image.mode == "RGB" and image.size == (6, 8) for image in back)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(images, back, strict=True))
    arrays = Image()
    given = arrays.give(arrays.fit(arrays.read(list(pixels))).read(list(pixels)))
    assert isinstance(given, list)
    assert np.array_equal(np.stack(given), pixels)
    tensors = Image()
    tensor = torch.from_numpy(pixels)
    assert torch.equal(tensors.give(tensors.fit(tensors.read(tensor)).read(tensor)), tensor)
    own = Pictures(pixels)
    plain = Image()
    assert plain.give(plain.fit(plain.read(own)).read(own)) is own


def test_every_method_of_the_contract() -> None:
    pixels = bytes_of()
    labels = [str(i % 3) for i in range(30)]
    codec = Image()
    own = codec.fit(codec.read((pixels, labels))).read((pixels, labels))
    x = codec.encode(own).x
    assert len(own) == 30
    assert own[np.array([2, 5])].labels == ("2", "2")
    assert own[3:5].equals(own[np.arange(30)[3:5]])
    assert own[np.arange(30) % 2 == 0].pixels.shape[0] == 15
    whole = codec.join([own, own[:4]])
    assert torch.equal(codec.encode(whole).x, torch.cat([x, x[:4]]))
    odd = np.arange(30) % 2 == 1
    mixed = codec.encode(codec.replace(own, odd, own[:1][np.zeros(15, int)])).x
    assert torch.equal(mixed, torch.where(torch.from_numpy(odd)[:, None, None, None], x[:1], x))
    assert not codec.rejects(own).any()
    assert codec.promises() == []
    assert codec.check(own) == [[]] * 30
    assert codec.check(codec.make(torch.randn(30, 3, 8, 6, generator=rng()), rng=rng())) == [[]] * 30
    assert len(codec.cells) == x[0].numel()
    assert codec.cells[0] == "rows 0, columns 0"
    features = codec.features(own)
    assert features.shape == (30, 8 * 6 * 3 + 6)
    assert np.isfinite(features).all()
    assert codec.volume(own).shape == (30, 1)
    frame = codec.conditions(own)
    assert frame is not None
    assert frame["label"].to_list() == labels
    assert codec.conditions(codec.make(x, rng=rng())) is None
    assert codec.settle(own) is own
    assert "30 images, 8 x 6 rgb, 256 levels" in codec.describe()[0]
    with pytest.raises(ConditionError, match="labels or captions"):
        codec.condition({"label": "1"})
    state = json.loads(json.dumps(codec.state(), allow_nan=False))
    other = Image().load(state)
    assert other.state() == state
    assert other.space == codec.space
    assert torch.equal(other.encode(own).x, x)
    assert other.give(other.make(x, rng=rng())).dtype == np.uint8
    with pytest.raises(NotFitted):
        Image().space  # noqa: B018


def test_missing_pixels_are_holes_to_fill() -> None:
    values = bytes_of(channels=1)[..., 0] / 255
    codec = Image()
    codec.fit(codec.read(values))
    torn = values[:3].copy()
    torn[:, 2:4] = np.nan
    own = codec.read(torn)
    known = codec.partial(own)
    assert isinstance(known, Known)
    assert known.mask.sum() == 3 * (8 - 2) * 6
    assert (known.x[~known.mask] == 0).all()
    made = codec.give(codec.make(torch.ones(3, 1, 8, 6), rng=rng(), within=own))
    assert (made[:, 2:4] == 1).all()
    assert np.allclose(np.delete(made, [2, 3], 1), np.delete(values[:3], [2, 3], 1))
    assert codec.partial(codec.read(values)).mask.all()
    with pytest.raises(DataError, match="can be filled, not learned from"):
        Image().fit(np.where(values > 0.9, np.nan, values))


# ------------------------------------------------------------------------------------------------------ files


def test_a_folder_with_labels_from_its_sub_folders(tmp_path: Path) -> None:
    where = folder(tmp_path / "pets")
    (where / "cats" / "notes.md").write_text("not an image")
    (where / ".cache").mkdir()
    (where / ".cache" / "x.png").write_bytes(b"hidden")
    (where / "dogs" / "00.txt").write_text("a brown dog\n")
    codec = Image()
    own = codec.read(where)
    codec.fit(own)
    assert len(own) == 24
    frame = codec.conditions(own)
    assert frame is not None
    assert frame["label"].value_counts(sort=True)["label"].to_list() == ["cats", "dogs"]
    assert frame["caption"].drop_nulls().to_list() == ["a brown dog"]
    assert np.array_equal(own.pixels[0], bytes_of(1, 8, 8, 3, seed=1)[0])
    back = codec.give(own)
    assert all(image.mode == "RGB" for image in back)
    text = "\n".join(codec.describe())
    assert "a folder" in text
    assert "2 different labels" in text
    assert codec.read(str(where)).equals(own)


@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv"])
def test_labels_and_captions_from_a_table(tmp_path: Path, name: str) -> None:
    where = folder(tmp_path)
    files = sorted(path.relative_to(where).as_posix() for path in where.rglob("*.png"))
    rows = [f"{file},{i % 2},picture {i}" for i, file in enumerate(files[:-1])]
    (where / name).write_text("\n".join(["file,label,caption", *rows]))
    codec = Image()
    frame = codec.conditions(codec.read(where))
    assert frame is not None
    assert frame["label"].to_list() == [*[str(i % 2) for i in range(23)], None]
    assert frame["caption"][5] == "picture 5"
    (where / name).write_text("file,label\nnowhere.png,1")
    with pytest.raises(DataError, match=r"1 images that are not there, the first is 'nowhere.png'"):
        Image().read(where)
    (where / name).write_text("a,b\n1,2")
    with pytest.raises(DataError, match="should have a column 'file'"):
        Image().read(where)


def test_formats_modes_turned_and_animated_images(tmp_path: Path) -> None:
    base = PIL.Image.fromarray(bytes_of(1, 12, 16, 3)[0])
    for i in range(20):
        base.save(tmp_path / f"a{i:02d}.webp", lossless=True)
    base.convert("L").save(tmp_path / "b1.bmp")
    base.convert("P").save(tmp_path / "b2.png")
    base.convert("1").save(tmp_path / "b3.tiff")
    PIL.Image.fromarray((np.arange(192).reshape(12, 16) * 300).astype(np.uint16)).save(tmp_path / "b4.png")
    clear = base.convert("RGBA")
    clear.putalpha(0)
    clear.save(tmp_path / "b5.png")
    base.save(tmp_path / "b6.gif", save_all=True, append_images=[base.rotate(180)])
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned = base.transpose(PIL.Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "b7.jpg", quality=100, subsampling=0, exif=exif)
    codec = Image()
    own = codec.read(tmp_path)
    codec.fit(own)
    assert own.pixels.shape == (27, 12, 16, 3)
    assert np.array_equal(own.pixels[0], np.asarray(base))
    assert np.ptp(own.pixels[20], -1).max() == 0  # grey
    assert (own.pixels[24] == 255).all()  # clear on white
    assert own.pixels[23].max() > 200  # 16 bits
    assert np.abs(own.pixels[26].astype(int) - np.asarray(base)).mean() < 8
    text = "\n".join(codec.describe())
    assert "of 1 animated images the first frame was taken" in text
    assert "1 images with transparency were laid on white" in text
    assert "3 grey images were taken as rgb" in text


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_mixed_sizes_are_brought_to_one_and_it_is_said(fit: str) -> None:
    images = []
    for i in range(24):
        wide = PIL.Image.new("RGB", (40, 20), (10, 200, 10))
        wide.paste((255, 0, 0), (15, 0, 25, 20))
        images.append(wide if i % 2 else wide.transpose(PIL.Image.Transpose.ROTATE_90))
    images[0].putpixel((0, 0), (0, 0, 0))
    codec = Image(fit=fit)
    own = codec.read(images)
    codec.fit(own)
    assert own.pixels.shape == (24, 20, 20, 3)
    words = {"crop": "scaled and cropped", "pad": "scaled and padded", "stretch": "scaled"}[fit]
    assert f"24 of 24 images (20 x 40 to 40 x 20) were {words} to 20 x 20" in codec.describe()[1]
    red = (own.pixels[1].astype(int) - [255, 0, 0]).__abs__().sum(-1) < 60
    share = {"crop": 0.5, "pad": 0.125, "stretch": 0.25}[fit]
    assert abs(red.mean() - share) < 0.08
    if fit == "pad":
        assert own.pixels[1, 0].tolist() == [[10, 200, 10]] * 20


def test_large_images_are_made_smaller_and_size_is_an_option() -> None:
    images = [PIL.Image.fromarray(bytes_of(1, 200, 300, 3, seed=i)[0]) for i in range(20)]
    codec = Image()
    assert codec.read(images).pixels.shape == (20, 43, 64, 3)
    assert Image(size=32).read(images).pixels.shape == (20, 32, 32, 3)
    assert Image(size=(16, 24), mode="grey").read(images).pixels.shape == (20, 16, 24, 1)
    arrays = [np.asarray(image)[: 20 + i] for i, image in enumerate(images)]
    mixed = Image(size=16)
    own = mixed.read(arrays)
    mixed.fit(own)
    assert own.pixels.shape == (20, 16, 16, 3)
    given = mixed.give(own)
    assert isinstance(given, list)
    assert given[0].shape == (16, 16, 3)
    small = Image(size=4)
    stack = bytes_of()
    assert small.fit(small.read(stack)).give(small.read(stack)).shape == (30, 4, 4, 3)


def test_later_images_are_brought_to_the_learned_frame(tmp_path: Path) -> None:
    codec = Image()
    codec.fit(codec.read(folder(tmp_path)))
    other = [PIL.Image.new("L", (30, 50), 7)]
    assert codec.read(other).pixels.shape == (1, 8, 8, 3)
    strangers = Pictures(np.zeros((2, 9, 9, 3), np.uint8))
    assert codec.check(strangers) == [["9 x 9 with 3 channels, 8 x 8 rgb was learned"]] * 2
    assert codec.check(codec.read(other)) == [["one flat colour"]]
    with pytest.raises(Mismatch, match="were learned"):
        codec.encode(strangers)


# ---------------------------------------------------------------------------------------------------- bad input


def bomb() -> bytes:
    """A PNG of a few bytes that claims 65,535 x 65,535 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


def jpeg() -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(bytes_of(1, 64, 64)[0]).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("bomb.png", bomb(), "claims 65,535 x 65,535 pixels"),
        ("large.png", png(11_000, 9_000), "claims 11,000 x 9,000 pixels, at most 64,000,000"),
        ("text.png", b"hello", "none of PNG, JPEG"),
        ("empty.jpg", b"", "none of PNG, JPEG"),
        ("cut.jpg", jpeg()[:900], "damaged"),
        ("cut.png", png(300, 300)[:60], "damaged"),
        ("postscript.png", b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 9 9\n", "none of PNG, JPEG"),
    ],
)
def test_a_bad_file_is_named_and_can_be_skipped(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    where = folder(tmp_path)
    (where / "cats" / name).write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        Image().read(where)
    assert f"'cats/{name}'" in str(caught.value)
    assert "skip_bad=True" in str(caught.value)
    codec = Image(skip_bad=True)
    own = codec.read(where)
    assert len(codec.fit(own).read(where)) == 24
    assert own.labels is not None
    assert len(own.labels) == 24
    assert "1 files that cannot be read were left out" in "\n".join(codec.describe())


def test_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no image in .*it is empty"):
        Image().read(tmp_path)
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(DataError, match=r"it holds .docx"):
        Image().read(tmp_path)
    with pytest.raises(DataError, match="There is no folder"):
        Image().read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is one file"):
        Image().read(tmp_path / "a.docx")
    with pytest.raises(DataError, match="There is 1 image: at least 20"):
        Image().fit(bytes_of(1))
    with pytest.raises(DataError, match="All 30 images are the same"):
        Image().fit(np.full((30, 4, 4), 9, np.uint8))
    with pytest.raises(DataError, match="list is empty"):
        Image().read([])
    with pytest.raises(DataError, match="cannot be read"):
        Image().read([str(tmp_path / "gone.png")])
    flat = bytes_of()
    flat[:3] = 7
    codec = Image()
    codec.fit(codec.read(flat))
    assert "3 images are one flat colour" in codec.describe()
    assert not any(codec.check(codec.read(flat)))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((28, 28)), "one image, or images that were flattened"),
        (np.zeros((28, 28, 3)), "one image, or images that were flattened"),
        (np.zeros((30, 5, 5, 7)), "is no set of images"),
        (np.zeros((0, 5, 5)), "array is empty"),
        (np.full((30, 5, 5), -0.5), r"take \(x \+ 1\) / 2"),
        (np.full((30, 5, 5), 16.0), "top=16"),
        (np.full((30, 5, 5), np.inf), "infinite"),
        (np.full((30, 5, 5), "a"), "holds no pixels"),
        ([np.zeros((4, 4)), "x.png"], "something of shape"),
        (["x.png", np.zeros((4, 4))], "mixed in one list"),
        (7, "int was given"),
        ((bytes_of(), ["a"]), "1 labels were given for 30 images"),
    ],
    ids=range(12),
)
def test_what_is_no_set_of_images(values: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Image().fit(values)


def test_options_that_make_no_sense() -> None:
    for size in (0, 5000, (3,), "big", True):
        with pytest.raises(OptionError, match="size="):
            Image(size=size)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="crop"):
        Image(fit="cropped")
    with pytest.raises(UnknownName, match="grey"):
        Image(mode="gray")
    with pytest.raises(OptionError, match="top="):
        Image(top=-1)
    with pytest.raises(OptionError, match="most="):
        Image(most=0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("height", 0), ("width", 10**9), ("mode", "cmyk"), ("levels", 1), ("said", [1]), ("form", {"kind": "eval"})],
)
def test_a_state_that_was_tampered_with(key: str, value: Any) -> None:
    codec = Image()
    codec.fit(codec.read(bytes_of()))
    with pytest.raises(ArtifactError):
        Image().load({**codec.state(), key: value})


# ------------------------------------------------------------------------------------------------------ looking


def test_the_contact_sheet_shows_the_pixels_and_the_labels() -> None:
    pixels = bytes_of(70, 8, 8, 1)
    codec = Image()
    own = codec.fit(codec.read((pixels, ["shoe"] * 70))).read((pixels, ["shoe"] * 70))
    shown = codec.render(own)
    assert shown.media == "image/png"
    sheet = PIL.Image.open(io.BytesIO(shown.data))
    assert sheet.size[0] < sheet.size[1] < 700
    assert np.asarray(sheet)[4 + 3, 4 + 3].tolist() == [int(pixels[0, 0, 0, 0])] * 3
    plain = PIL.Image.open(io.BytesIO(codec.render(own[:3][np.array([0])]).data))
    assert plain.size[0] < 80
    bare = Image()
    clear = bytes_of(30, 8, 8, 4)
    assert bare.fit(bare.read(clear)).render(bare.read(clear)).data[:4] == b"\x89PNG"


def test_fashion_mnist() -> None:
    if not DATA.exists():
        pytest.skip("Fashion-MNIST is not in the shared data")
    import gzip

    raw = gzip.decompress((DATA / "t10k-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    codec = Image()
    own = codec.read(pixels)
    codec.fit(own)
    assert codec.describe()[0] == "10,000 images, 28 x 28 grey, 256 levels, from arrays of uint8, white = 255"
    assert np.array_equal(codec.give(codec.make(codec.encode(own).x, rng=rng())), pixels)
    assert codec.features(own[:500]).shape == (500, 258)

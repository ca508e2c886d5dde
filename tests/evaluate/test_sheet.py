"""Contact sheets are real PNG files, pixel for pixel."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from likely.evaluate.sheet import colours, grid, pairs, png


def read(data: bytes) -> np.ndarray:
    """A PNG of 8-bit colours with opacity and unfiltered lines -> (H, W, 4), its checksums checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, parts = 8, {}
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        assert struct.unpack(">I", data[place + 8 + size : place + 12 + size])[0] == zlib.crc32(kind + body)
        parts[kind] = body
        place += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert (depth, colour, list(parts)) == (8, 6, [b"IHDR", b"IDAT", b"IEND"])
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, 1 + 4 * width)
    assert (lines[:, 0] == 0).all()
    return lines[:, 1:].reshape(height, width, 4)


def test_png_round_trip() -> None:
    x = np.random.default_rng(0).integers(0, 256, (7, 5, 4)).astype(np.uint8)
    np.testing.assert_array_equal(read(png(x)), x)


def test_bytes_come_out_as_they_went_in() -> None:
    x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    shown = colours(x, (0.0, 255.0))
    for j in range(3):
        np.testing.assert_array_equal(shown[..., j], x[..., 0])
    assert (shown[..., 3] == 255).all()
    for channels in (2, 3, 4, 7):
        many = colours(np.repeat(x, channels, axis=3), (0.0, 255.0))
        assert many.shape == (1, 16, 16, 4)
        np.testing.assert_array_equal(many[..., 0], x[..., 0])


def test_sheets_hold_every_image_once() -> None:
    x = colours(np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 4, 1), np.uint8), (0.0, 255.0))
    out = read(grid(x))
    seen = out[out[..., 3] == 255][:, 0]
    np.testing.assert_array_equal(np.bincount(seen), np.full(7, 24))
    double = read(pairs(x, x[::-1].copy(), 4))
    assert (double[..., 3] == 255).sum() == 2 * 7 * 24
    np.testing.assert_array_equal(double[0, :4, 0], 0)
    np.testing.assert_array_equal(double[7, :4, 0], 6)  # below its partner, one line of gap between

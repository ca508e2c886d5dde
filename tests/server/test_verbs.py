"""Our own verbs over HTTP: what they give is what Python gives, for tables, images, series and language models."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from PIL import Image

import likely
from likely.codecs.series import Series
from likely.generator import Generator
from likely.language.decode import Engine
from likely.server.items import given, hear, tell
from likely.server.refusal import Refusal
from tests.server.conftest import Live

START = dt.datetime(2024, 1, 1)


def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = json.loads(json.dumps(frame.to_dicts(), default=str))
    return made


@pytest.fixture(scope="module")
def http(live: Live) -> Iterator[httpx.Client]:
    with live.http() as made:
        yield made


def ask(http: httpx.Client, verb: str, **fields: Any) -> Any:
    answer = http.post(f"/v1/likely/{verb}", json=fields)
    assert answer.status_code == 200, answer.text
    assert answer.json()["object"] == f"likely.{verb}"
    return answer.json()


WISHES: dict[str, tuple[Any, Any]] = {
    "none": (None, None),
    "a value": ({"sex": "F"}, {"sex": "F"}),
    "several": ({"sex": ["F", "M"]}, {"sex": ["F", "M"]}),
    "a range": ({"age": {"low": 55, "high": 65}}, {"age": (55, 65)}),
    "an open range": ({"age": {"low": 60}, "sex": "M"}, {"age": (60, None), "sex": "M"}),
    "a range in words": ({"age": "55..65"}, {"age": "55..65"}),
}


@pytest.mark.parametrize("name", WISHES)
def test_sample_is_that_of_python(http: httpx.Client, table: Generator, name: str) -> None:
    said, meant = WISHES[name]
    made = ask(http, "sample", model="table", n=20, given=said, temperature=0.9, seed=4)
    assert made["items"] == rows(table.sample(20, given=meant, temperature=0.9, seed=4))


def test_fill_and_surprise_are_those_of_python(http: httpx.Client, table: Generator) -> None:
    holes = pl.DataFrame({"age": [61.5, None], "sex": [None, "M"], "day": [None, dt.date(2024, 2, 3)]})
    made = ask(http, "fill", model="table", items=rows(holes), seed=2)
    assert made["items"] == rows(table.fill(holes, seed=2))
    whole = table.sample(5, seed=1)
    found = ask(http, "surprise", model="table", items=rows(whole), each=True)
    assert found["surprise"] == pytest.approx(table.surprise(whole).tolist(), abs=1e-6)
    each = table.surprise(whole, each=True)
    assert found["each"].keys() == each.keys()
    assert found["each"]["age"] == pytest.approx(each["age"].tolist(), abs=1e-6)
    assert "each" not in ask(http, "surprise", model="table", items=rows(whole))


def test_without_a_seed_samples_go_on(http: httpx.Client) -> None:
    first, second = (ask(http, "sample", model="table", n=10)["items"] for _ in range(2))
    assert first != second


def test_a_language_model_tells_how_strange_texts_are(http: httpx.Client, engine: Engine) -> None:
    found = ask(http, "surprise", model="toy", items=["Hello", "x", "Grüße"], each=True)
    for text, total, each in zip(["Hello", "x", "Grüße"], found["surprise"], found["each"], strict=True):
        assert total == pytest.approx(-float(engine.score([text])[0].sum()), abs=1e-4)
        assert len(each) == len(text.encode())
        assert sum(token["surprise"] for token in each) == pytest.approx(total)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("sample", {"model": "toy", "n": 1}, "model"),
    ("fill", {"model": "plain", "items": [{}]}, "model"),
    ("sample", {"model": "table", "n": 0}, "n"),
    ("sample", {"model": "table", "n": 10**6}, "n"),
    ("sample", {"model": "table", "given": {"sex": {"from": 3}}}, "given"),
    ("sample", {"model": "table", "given": {"sex": "Q"}}, ""),
    ("sample", {"model": "table", "given": {"hat": 1}}, ""),
    ("sample", {"model": "table", "n": 2, "given": ["F", "M"]}, ""),
    ("sample", {"model": "table", "temperature": 0}, "temperature"),
    ("sample", {"model": "table", "seed": -1}, "seed"),
    ("sample", {"model": "table", "sede": 1}, "sede"),
    ("fill", {"model": "table"}, "items"),
    ("fill", {"model": "table", "items": []}, "items"),
    ("fill", {"model": "table", "items": "/etc/passwd"}, "items"),
    ("fill", {"model": "table", "items": ["/etc/passwd"]}, "items"),
    ("fill", {"model": "table", "items": [{"age": [1]}]}, ""),
    ("fill", {"model": "table", "items": [{"age": 2**70}]}, ""),
    ("fill", {"model": "table", "items": [{"day": "yesterday"}]}, "items"),
    ("surprise", {"model": "table", "items": [{"age": 1}]}, ""),
    ("surprise", {"model": "toy", "items": [1]}, "items"),
    ("surprise", {"model": "toy", "items": ["x" * 1000]}, "items"),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "fields", "param"), BAD)
def test_what_cannot_be_is_said(http: httpx.Client, verb: str, fields: dict[str, Any], param: str) -> None:
    answer = http.post(f"/v1/likely/{verb}", json=fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == (param or error["param"])
    assert error["message"]


# ------------------------------------------------------------------------------------------- images and series


@pytest.fixture(scope="module")
def pictures() -> Generator:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    labels = ["dark" if image.mean() < 127 else "bright" for image in pixels]
    return likely.fit(
        (pixels, labels), family="vae", latent=4, width=16, depth=1, samples=2, minutes=0.01, progress=False
    )


def test_images_are_pngs(pictures: Generator) -> None:
    (part,) = pictures.stream(3, given={"label": "dark"}, seed=1)
    made = tell(pictures, part)
    assert [item["label"] for item in made] == ["dark"] * 3
    image = Image.open(io.BytesIO(base64.b64decode(made[0]["image"])))
    assert np.array_equal(np.asarray(image), part.pixels[0, ..., 0])
    json.dumps(made)
    assert hear(pictures, made).equals(part)
    assert np.allclose(pictures.surprise(hear(pictures, made)), pictures.surprise(part))
    plain = hear(pictures, [f"data:image/png;base64,{made[0]['image']}"])
    assert np.array_equal(plain.pixels, part.pixels[:1])


@pytest.mark.parametrize(
    "bad", ["/etc/passwd", "", "aGVsbG8=", 3, {}, {"image": None}, [], {"image": "x", "label": []}]
)
def test_what_is_no_image_is_said(pictures: Generator, bad: Any) -> None:
    with pytest.raises(Refusal) as caught:
        hear(pictures, [bad])
    assert caught.value.status == 400


def test_a_small_file_of_a_huge_image_is_not_unpacked(pictures: Generator) -> None:
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
    with pytest.raises(Refusal, match="pixels"):
        hear(pictures, [base64.b64encode(buffer.getvalue()).decode()])


def test_windows_are_lists(pictures: Generator) -> None:
    values = np.sin(np.arange(600)[:, None] / np.array([5, 9])) + np.random.default_rng(0).normal(0, 0.1, (600, 2))
    options: dict[str, Any] = {"family": "vae", "latent": 4, "width": 16, "depth": 1, "samples": 2, "minutes": 0.01}
    series = likely.fit(values, codec=Series(window=12), progress=False, **options)
    (part,) = series.stream(3, seed=1)
    made = tell(series, part)
    assert np.array(made).shape == (3, 12, 2)
    assert np.allclose(series.surprise(hear(series, made)), series.surprise(np.array(made)), rtol=1e-4)
    with pytest.raises(Refusal):
        hear(series, [["a"]])
    with pytest.raises(Refusal):
        hear(series, [[[1.0, 2.0], [1.0]]])
    stamps = [START + dt.timedelta(minutes=5 * k) for k in range(600)]
    table = pl.DataFrame({"time": stamps, "heat": values[:, 0], "flow": values[:, 1]})
    timed = likely.fit(table, codec=Series(window=12), progress=False, **options)
    (part,) = timed.stream(2, seed=1)
    made = tell(timed, part)
    assert len(made) == 24
    assert made[0].keys() >= {"time", "heat", "flow"}
    json.dumps(made)
    asked = [
        {"time": stamp.isoformat(), "heat": a, "flow": b} for stamp, (a, b) in zip(stamps[:40], values, strict=False)
    ]
    assert np.allclose(timed.surprise(hear(timed, asked)), timed.surprise(table[:40]))


@pytest.mark.parametrize(
    "bad", [3, "x", [], [{}], [[1]], {"a": {}}, {"a": {"low": 1, "up": 2}}, {"a": []}, {"a": [[]]}, [1, "a"]]
)
def test_what_is_no_wish_is_said(bad: Any) -> None:
    with pytest.raises(Refusal):
        given(bad)

"""Laws of a table as reals: what goes in comes out, outliers stay visible, any reals make valid rows."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likely.codecs.table import Table
from likely.codecs.table.category import Category, Constant
from likely.codecs.table.text import Text
from likely.core import Reals
from likely.errors import ConditionError, Mismatch, OptionError
from tests.codecs.test_table_roundtrip import column, rng, sample_frame


def vector(frame: pl.DataFrame, **options: object) -> tuple[Table, torch.Tensor]:
    codec = Table(space="reals", **options).fit(frame)  # type: ignore[arg-type]
    return codec, codec.encode(frame).x


@given(st.lists(column, min_size=1, max_size=3), st.integers(1, 12), st.sampled_from(["reals", "linear"]))
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_value_comes_back_in_its_own_code(columns: list[list[object]], least: int, space: str) -> None:
    n = min(len(values) for values in columns)
    table = {f"c{i}": values[:n] for i, values in enumerate(columns)}
    cells, codec = Table(least=least).fit(table), Table(least=least, space=space).fit(table)
    x = codec.encode(table).x
    assert x.dtype == torch.float32
    assert x.shape[1:] == codec.space.shape
    assert torch.isfinite(x).all()
    made = codec.decode(x, rng=rng())
    again, first = cells.encode(made).x, cells.encode(table).x
    for name, known in cells.columns.items():
        if known.kind in ("text", "category") and known.rare:  # type: ignore[attr-defined]
            continue  # the code of rare levels is drawn as a named level
        if space == "linear" and not isinstance(known, Category | Text | Constant):
            continue  # a float32 cannot tell all codes apart on a linear axis; see the next test
        own = cells.column_cells(name)
        assert (again[:, own] == first[:, own]).all(), known.report()
    assert torch.isfinite(codec.volume(codec.read(table))).all()


def test_numbers_lie_where_they_were_inside_their_code() -> None:
    frame = sample_frame()
    codec, x = vector(frame)
    made = codec.decode(x, rng=rng())
    # The fitted ends of a column leave out its outermost rows: those few come back a little further in.
    assert ((codec.encode(made).x - x).abs() < 0.02).double().mean() > 0.99
    age, real = frame["age"].to_numpy(), frame["real"].to_numpy()
    inside = (age > 20) & (age < 88)
    assert (made["age"].to_numpy() == age)[inside].mean() > 0.95
    assert np.corrcoef(made["real"].to_numpy(), real)[0, 1] > 0.999
    assert made["same"].unique().to_list() == ["k"]
    assert made["id"].n_unique() == len(frame)


def test_a_number_without_spikes_is_standard_normal() -> None:
    draw = np.random.default_rng(3)
    codec, x = vector(pl.DataFrame({"heavy": draw.lognormal(5, 2, 4000), "even": draw.random(4000)}))
    assert codec.space == Reals((2,))
    assert x.mean(0).abs().max() < 0.03
    assert (x.std(0) - 1).abs().max() < 0.05
    assert x.abs().max() < 6


def test_the_one_hot_slices_hold_one_category_each() -> None:
    codec, x = vector(sample_frame())
    space = codec.space
    assert isinstance(space, Reals)
    assert {codec.cells[start] for start, _ in space.onehot} >= {"gain", "sex", "maybe", "flag"}
    for start, stop in space.onehot:
        part = x[:, start:stop]
        assert stop - start >= 2
        assert ((part == 0) | (part == 1)).all()
        assert (part.sum(1) == 1).all()
        assert len(set(codec.cells[start:stop])) == 1
    assert len(codec.cells) == space.shape[0]


def test_missing_values_and_spikes_have_places_of_their_own() -> None:
    draw = np.random.default_rng(0)
    value = [None if u < 0.2 else 0.0 if u < 0.6 else float(v) for u, v in draw.random((500, 2))]
    codec, x = vector(pl.DataFrame({"v": value}))
    assert codec.space == Reals((4,), onehot=((0, 3),))
    null, zero = [v is None for v in value], [v == 0.0 for v in value]
    assert (x[:, 0] == torch.tensor(null)).all()
    assert (x[:, 1] == torch.tensor(zero)).all()
    assert (x[null, 3] == 0).all()
    made = codec.decode(x, rng=rng())["v"]
    assert made.is_null().to_list() == null
    assert (made == 0.0).fill_null(False).to_list() == zero


def test_outliers_stay_visible_and_come_back_as_the_end_of_the_range() -> None:
    codec, x = vector(pl.DataFrame({"v": np.random.default_rng(0).normal(size=2000)}))
    far = pl.DataFrame({"v": [3.0, 10.0, 100.0, 1e300, -50.0]})
    z = codec.encode(far).x[:, 0]
    assert (z[:4].diff() > 0).all()
    assert z[1] > x.max() + 1
    assert z[4] < x.min() - 1
    made = codec.decode(codec.encode(far).x, rng=rng())["v"]
    assert made.abs().max() < 5  # type: ignore[operator]
    nats = codec.volume(far)[:, 0] + z.double() ** 2 / 2
    assert (nats.diff()[:3] > 0).all()


def test_volume_turns_a_density_of_z_into_one_of_values() -> None:
    """Under z ~ N(0, 1) the integral of exp(-surprise) over the ticks of an integer column is 1."""
    draw = np.random.default_rng(0)
    codec, _ = vector(pl.DataFrame({"v": np.round(draw.gamma(3, 20, 5000)).astype(int)}))
    ticks = pl.DataFrame({"v": np.arange(0, 260)})
    z = codec.encode(ticks).x[:, 0].double()
    surprise = z**2 / 2 + 0.5 * np.log(2 * np.pi) + codec.volume(ticks)[:, 0]
    known = (codec.read(ticks)["v"] >= 5).to_numpy() & (np.array([len(r) for r in codec.check(ticks)]) == 0)
    share = (np.exp(-surprise.numpy()))[known].sum()
    assert abs(share - 1) < 0.03


def test_correlated_normals_make_valid_rows() -> None:
    """A Gaussian copula by hand: nothing but means and covariances goes in, valid and similar rows come out."""
    draw = np.random.default_rng(5)
    n = 3000
    age = draw.integers(18, 90, n)
    frame = pl.DataFrame(
        {
            "age": age,
            "pay": np.where(draw.random(n) < 0.3, 0, draw.lognormal(6 + age / 30, 0.5).astype(int)),
            "sex": np.where(draw.random(n) < 0.3, "F", "M"),
            "day": pl.Series(draw.integers(0, 300, n)).cast(pl.Int32).cast(pl.Date),
            "who": [f"P-{i:05d}" for i in range(n)],
        }
    )
    codec, x = vector(frame)
    mean, cov = x.mean(0).numpy(), np.cov(x.T.numpy())
    noise = draw.multivariate_normal(mean, cov, 2000).astype(np.float32)
    made = codec.decode(torch.from_numpy(noise), rng=rng())
    assert made.schema == frame.schema
    assert not any(codec.check(made))
    assert not codec.rejects(codec.read(made)).any()
    assert made["who"].n_unique() == 2000
    assert abs((made["pay"] == 0).mean() - 0.3) < 0.05  # type: ignore[operator]
    assert abs((made["sex"] == "F").mean() - 0.3) < 0.05  # type: ignore[operator]
    assert abs(made["age"].mean() - age.mean()) < 1.5  # type: ignore[operator]
    paid = made.filter(pl.col("pay") > 0)
    assert np.corrcoef(paid["age"], np.log(paid["pay"]))[0, 1] > 0.3
    wild = codec.decode(torch.from_numpy(noise * 50 - 20), rng=rng())
    assert not any(codec.check(wild))


def test_nothing_of_fewer_than_least_rows_is_kept() -> None:
    draw = np.random.default_rng(2)
    pay = np.append(draw.integers(1000, 5000, 399), 987_654_321)
    frame = pl.DataFrame({"pay": pay, "job": ["nurse"] * 200 + ["cook"] * 195 + ["pope"] * 5})
    codec, x = vector(frame, least=10)
    assert "pope" not in json.dumps(codec.state())
    assert "987654321" not in json.dumps(codec.state())
    made = codec.decode(x, rng=rng())
    assert made["pay"].max() < 100_000_000  # type: ignore[operator]
    assert "pope" not in made["job"].to_list()


def test_state_holds_the_space_and_old_files_are_cells() -> None:
    frame = sample_frame()
    codec, x = vector(frame, constraints=["0 <= age <= 120"])
    state = json.loads(json.dumps(codec.state(), allow_nan=False))
    other = Table().load(state)
    assert other.space == codec.space
    assert (other.encode(frame).x == x).all()
    assert other.make(x, rng=rng(1)).equals(codec.make(x, rng=rng(1)))
    assert "drawing rows again" in other.promises()[0]
    del state["space"]
    assert not isinstance(Table().load(state).space, Reals)


def test_linear_reals_keep_distances_and_come_back() -> None:
    frame = sample_frame()
    codec = Table(space="linear").fit(frame)
    x = codec.encode(frame).x
    made = codec.decode(x, rng=rng())
    assert not any(codec.check(made))
    for name in ("age", "gain", "price", "real", "tens"):
        a, b = frame[name].to_numpy().astype(float), made[name].to_numpy().astype(float)
        z = x[:, codec.cells.index(name)].numpy()
        assert np.corrcoef(a, z)[0, 1] > 0.9999
        assert np.mean(np.abs(a - b) <= 1e-5 * np.abs(a) + 1e-6) > 0.97, name  # but for the fitted ends
    values = pl.DataFrame({"v": np.random.default_rng(0).normal(5, 2, 3000), "w": [None, *range(299)] * 10})
    codec = Table(space="linear").fit(values)
    x = codec.encode(values).x
    place = codec.cells.index("v")
    assert abs(x[:, place].mean()) < 0.05
    assert abs(x[:, place].std() - 1) < 0.05
    far = codec.encode(pl.DataFrame({"v": [5.0, 25.0, 1e300], "w": [1, 2, 3]})).x[:, place]
    assert abs(far[1] - far[0] - 10) < 0.3
    assert torch.isfinite(far).all()
    assert torch.allclose(codec.volume(values)[:, place].exp() * 1e-6, torch.tensor(2.0).double(), rtol=0.1)
    state = json.loads(json.dumps(codec.state(), allow_nan=False))
    assert torch.equal(Table().load(state).encode(values).x, x)
    assert not any(codec.check(codec.decode(x * 100, rng=rng())))


def test_wishes_and_holes_as_reals() -> None:
    codec, x = vector(sample_frame())
    wish = {"sex": "F"}
    known = codec.condition(wish)
    slices = codec.space.onehot  # type: ignore[union-attr]
    start, stop = next((a, b) for a, b in slices if codec.cells[a] == "sex")
    assert known.mask[0].nonzero().flatten().tolist() == list(range(start, stop))
    made = codec.make(x, rng=rng(), within={"sex": "F", "age": "40..50"})
    assert (made["sex"] == "F").all()
    assert made["age"].is_between(40, 50).all()
    with pytest.raises(ConditionError, match="family='trees'"):
        codec.condition({"age": "40..50"})
    rows = [{"age": 44, "sex": None}, {"sex": "M"}]
    known = codec.partial(rows)
    assert known.mask.shape == known.x.shape == (2, len(codec.cells))
    filled = codec.make(x[:2], rng=rng(), within=rows)
    assert filled["age"][0] == 44
    assert filled["sex"][1] == "M"
    whole = codec.partial(sample_frame())
    decided = codec.encode(sample_frame()).x
    assert (whole.x == decided)[whole.mask].all()


def test_wrong_options_and_shapes() -> None:
    with pytest.raises(OptionError, match="'cells', 'reals' or 'linear'"):
        Table(space="floats")
    codec, x = vector(sample_frame())
    with pytest.raises(Mismatch, match="Reals of shape"):
        codec.make(x[:, :-1], rng=rng())


def test_a_level_never_seen_adds_to_the_surprise() -> None:
    cities = pl.DataFrame({"city": ["Rome", "Bern"] * 40, "x": [float(k) for k in range(80)]})
    codec = Table(space="reals")
    codec.fit(codec.read(cities))
    place = codec.cells.index("city")
    known, strange = (
        codec.volume(codec.read(cities[:1].with_columns(city=pl.lit(c))))[0, place] for c in ("Rome", "Oslo")
    )
    assert strange > known

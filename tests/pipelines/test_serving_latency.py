"""The calculations and the verdict of the latency benchmark, and the trees that it times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mmrank.data.tables import Dataset
from mmrank.serving.card import Card
from mmrank.serving.request import Column, Inputs
from pipelines.benchmarks import serving_trees
from pipelines.benchmarks.serving_latency import Timing, judge, main, table
from pipelines.benchmarks.serving_ways import ENCODED, GRPC, LOOKED_UP, REST, STEPS

# Milliseconds by way that just pass: 20 times faster than encoding, and at most 3 ms added.
GOOD = {LOOKED_UP: 5.0, STEPS: 4.0, ENCODED: 100.5, REST: 6.9, GRPC: 7.9}


def timing(
    way: str, milliseconds: Sequence[float], candidates: int = 100, clients: int = 1
) -> Timing:
    seconds = [m / 1e3 for m in milliseconds]
    return Timing(way, candidates, clients, seconds, sum(seconds) / clients)


def good(**changed: float) -> list[Timing]:
    named = {"steps": STEPS, "encoded": ENCODED, "rest": REST, "grpc": GRPC}
    taken = GOOD | {named[name]: value for name, value in changed.items()}
    return [timing(way, [value]) for way, value in taken.items()]


def test_percentiles_and_rate() -> None:
    one = timing("a", [*range(101)])
    assert [one.percentile(p) for p in (50, 95, 99)] == pytest.approx([50, 95, 99])
    # 101 requests in 0 + 1 + … + 100 = 5,050 ms.
    assert one.rate == pytest.approx(101 / 5.05)
    # Between two requests, the percentile is interpolated.
    assert timing("a", [10, 20]).percentile(75) == pytest.approx(17.5)


def test_few_requests_have_no_tail() -> None:
    assert timing("a", [3.0] * 19).percentiles() == {50: pytest.approx(3), 95: None, 99: None}
    assert timing("a", [3.0] * 20).percentiles() == dict.fromkeys((50, 95, 99), pytest.approx(3))


def test_the_table() -> None:
    timings = [
        timing("slow", [200.0] * 10, 500),
        timing("fast", [2.0] * 30, 500, 8),
        timing("fast", [1.0] * 30, 500),
        timing("fast", [0.5] * 30, 100),
    ]
    assert [line.split() for line in table(timings).splitlines()] == [
        ["candidates", "clients", "p50", "p95", "p99", "1/s"],
        ["fast", "100", "1", "0.5ms", "0.5ms", "0.5ms", "2000.0"],
        ["fast", "500", "1", "1.0ms", "1.0ms", "1.0ms", "1000.0"],
        ["slow", "500", "1", "200.0ms", "-", "-", "5.0"],
        ["fast", "500", "8", "2.0ms", "2.0ms", "2.0ms", "4000.0"],
    ]
    assert len({len(line) for line in table(timings).splitlines()}) == 1


def test_values_within_the_bounds_pass() -> None:
    verdicts = judge(good())
    assert [v.value for v in verdicts] == pytest.approx([20.1, 25.125, 2.9, 2.9])
    assert all(v.passed for v in verdicts)


@pytest.mark.parametrize(
    ("changed", "failed"),
    [
        ({"encoded": 99.0}, [LOOKED_UP]),
        ({"steps": 5.1}, [STEPS]),
        ({"rest": 7.1}, [REST]),
        ({"grpc": 8.1}, [GRPC]),
        ({"encoded": 70.0, "grpc": 9.0}, [LOOKED_UP, STEPS, GRPC]),
    ],
)
def test_values_out_of_the_bounds_fail(changed: dict[str, float], failed: list[str]) -> None:
    verdicts = [v for v in judge(good(**changed)) if not v.passed]
    assert len(verdicts) == len(failed)
    for verdict, way in zip(verdicts, failed, strict=True):
        assert way in verdict.what
        assert verdict.what.startswith("100 candidates")


def test_one_client_is_judged_at_every_size() -> None:
    long = [timing(way, [value + 500], 1000) for way, value in GOOD.items()]
    many = [timing(way, [1e3], clients=8) for way in GOOD]
    verdicts = judge([*many, *long, *good()])
    assert len(verdicts) == 8
    assert [v.passed for v in verdicts] == [True] * 4 + [False] * 2 + [True] * 2


def test_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightgbm")
    assert main(["--model", "none", "--data", "none", "--sizes", "100,0"]) == 2
    assert "--sizes '100,0': must be comma-separated integers" in capsys.readouterr().err


@pytest.fixture
def card(dataset: Dataset) -> Card:
    """The card of a ranker that reads everything except the ratings."""
    columns = {
        f.name: Column(f.name, f.kind, f.side, "float32" if f.kind == "number" else "string", False)
        for f in dataset.schema.side("item", "query", "user", "pair")
        if f.kind != "history" and f.name != "rating"
    }
    return Card(Inputs(columns, None))


def test_trees_read_the_pair_features(card: Card, dataset: Dataset) -> None:
    rows = dataset.rows("train")
    features = serving_trees.pair_features(card, dataset, rows)
    # Three numbers of items, one number of pairs, BM25 and popularity.
    names = ("price", "rating_count", "sales")
    assert features.shape == (len(rows), 6)
    items = dataset.catalog.set_index("item_id").loc[rows["item_id"]]
    for at, name in enumerate(names):
        np.testing.assert_array_equal(features[:, at], items[name].to_numpy(float))
    np.testing.assert_array_equal(features[:, 3], rows["position"])
    assert (features[:, 4] > 0).any()


def test_the_requested_number_of_rows_is_predicted(
    card: Card, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    seen: list[tuple[int, int, int]] = []
    predict = lightgbm.Booster.predict

    def watched(self: object, data: np.ndarray, num_threads: int) -> np.ndarray:
        seen.append((*data.shape, num_threads))
        return predict(self, data, num_threads=num_threads)

    forest = serving_trees.trees(card, dataset)
    monkeypatch.setattr(lightgbm.Booster, "predict", watched)
    most = 10 * len(dataset.lists)
    for count in (3, most):
        forest(count)(0)
    assert seen == [(3, 6, 1), (most, 6, 1)]

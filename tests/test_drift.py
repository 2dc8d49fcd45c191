"""`python -m mmrank.drift`, against references written by hand and a server defined here."""

from __future__ import annotations

import http.server
import pathlib
import threading
from collections.abc import Iterator

import pandas as pd
import pytest

from mmrank.drift import KEY, main
from mmrank.server.monitor.config import Drift
from mmrank.server.monitor.metrics import PATH, Metrics
from mmrank.server.monitor.watch import DriftWatch
from mmrank.serving.drift.bins import Bins
from mmrank.serving.drift.reference import FILE, Reference


@pytest.fixture(scope="module")
def prices(tiny_shop: pathlib.Path) -> pd.Series:
    """The price of every candidate of the shop's lists."""
    catalog = pd.read_parquet(tiny_shop / "catalog.parquet").set_index("item_id")["price"]
    return catalog.loc[pd.read_parquet(tiny_shop / "lists.parquet")["item_id"]]


def write(folder: pathlib.Path, *bins: Bins) -> pathlib.Path:
    (folder / "3" / "assets.extra").mkdir(parents=True)
    Reference(bins).save(folder / "3" / "assets.extra" / FILE)
    return folder


def price_bins(prices: pd.Series, cheap: float) -> Bins:
    """Training data in which a share `cheap` of the prices is at most the shop's median."""
    absent = int(prices.isna().sum())
    there = len(prices) - absent
    median = float(prices.quantile(interpolation="lower"))
    below = round(there * cheap)
    return Bins("price", "value", (median,), expected=(absent, below, there - below))


def test_similar_data_has_no_drift(
    tiny_shop: pathlib.Path,
    prices: pd.Series,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = write(tmp_path, price_bins(prices, 0.5))
    assert main(["--model", str(model), "--data", str(tiny_shop), "--least", "10"]) == 0
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[:3] == ["price", "value", str(len(prices))]
    assert float(row[3]) < 0.02
    assert row[5] == "ok"


def test_data_with_another_spread_has_drift(
    tiny_shop: pathlib.Path,
    prices: pd.Series,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = write(tmp_path, price_bins(prices, 0.9))
    arguments = ["--model", str(model / "3"), "--data", str(tiny_shop), "--least", "10"]
    assert main(arguments) == 1
    assert "DRIFT" in capsys.readouterr().out
    assert main([*arguments, "--limit", "price=9"]) == 0
    assert main([*arguments, "--least", str(10**6)]) == 0
    assert "too few" in capsys.readouterr().out


class Page(http.server.BaseHTTPRequestHandler):
    """The metrics of a server, for clients with the key."""

    metrics: Metrics

    def do_GET(self) -> None:
        allowed = self.headers["authorization"] == "Bearer open sesame" and self.path == PATH
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(self.metrics.page() if allowed else b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def server(metrics: Metrics) -> Iterator[str]:
    handler = type("OfTest", (Page,), {"metrics": metrics})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_drift_of_the_requests_of_a_server(
    server: str,
    metrics: Metrics,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bins = Bins("query", "script", names=("latin", "cjk"), expected=(0, 50, 50, 0))
    watch = DriftWatch(Drift())
    watch.use(Reference([bins]))
    metrics.registry.register(watch)
    for text in ("red", "红色", "blue", "绿"):
        watch.feature("query", pd.Series([text] * 5).to_numpy(object), pd.Series([True] * 5))
    arguments = ["--model", str(write(tmp_path, bins)), "--server", server, "--least", "20"]
    monkeypatch.setenv(KEY, "open sesame")
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:4] == [
        "query",
        "script",
        "20",
        "0.000",
    ]
    watch.feature("query", pd.Series(["blue"] * 60).to_numpy(object), pd.Series([True] * 60))
    assert main(arguments) == 1  # 70 : 10
    monkeypatch.delenv(KEY)
    assert main(arguments) == 2
    assert "status 401" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nowhere"], "no such folder"),
        (["--server", "ftp://x"], "expected an address"),
        (["--server", "http://127.0.0.1:1"], "refused"),
        (["--data", ".", "--limit", "prise=1"], "did you mean 'price'"),
        (["--data", ".", "--limit", "much"], "write it as 0.2"),
    ],
)
def test_wrong_input(
    arguments: list[str],
    said: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = write(tmp_path, Bins("price", "value", (1.0,), expected=(0, 1, 1)))
    assert main(["--model", str(model), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_an_export_without_a_reference(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(tmp_path), "--data", "."]) == 2
    assert "export the run again" in capsys.readouterr().err

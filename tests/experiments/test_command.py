"""The commands on logs of shown pages."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from mmrank.data.page_log import read_page_log
from mmrank.experiment import main
from mmrank.experiments.log_table import page_table
from mmrank.reranking import Rewards

Capture = pytest.CaptureFixture[str]


def test_versions_of_a_log(ab_log: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture) -> None:
    file = tmp_path / "found.json"
    args = ["--metric", "clicks", "--metric", "purchases/pages", "--json", str(file)]
    assert main(["analyse", "--log", str(ab_log), *args]) == 0
    found = json.loads(file.read_text())
    pages = read_page_log(ab_log).pages
    by_user: dict[str, dict[str, int]] = {"3": {}, "4": {}}
    for page in pages:
        clicks = by_user[str(page.shown.version)]
        user = str(page.shown.user)
        clicks[user] = clicks.get(user, 0) + int(page.clicks.sum())
    control, arm = (list(clicks.values()) for clicks in by_user.values())
    test = stats.ttest_ind(arm, control, equal_var=False)
    clicks = found["arms"][1]
    assert (clicks["metric"], clicks["group"], clicks["units"]) == ("clicks", "4", 200)
    assert clicks["difference"]["p_value"] == pytest.approx(test.pvalue)
    assert clicks["difference"]["mean"] == pytest.approx(np.mean(arm) - np.mean(control))
    bought = [np.mean([p.purchases.sum() for p in pages if p.shown.version == v]) for v in (3, 4)]
    assert [row["mean"] for row in found["arms"][2:]] == pytest.approx(bought)
    assert found["shares_p"] == 1
    assert found["looks"] == []
    assert "purchases/pages" in capsys.readouterr().out


def test_looks_by_day(ab_log: pathlib.Path, capsys: Capture) -> None:
    args = ["analyse", "--log", str(ab_log), "--metric", "clicks", "--planned", "400"]
    assert main(args) == 2
    assert "'user' have several rows" in capsys.readouterr().err
    assert main([*args, "--window", "1"]) == 0
    out, err = capsys.readouterr()
    assert "clicks, 4: a difference from day" in out
    first: dict[str | None, float] = {}
    pages = read_page_log(ab_log).pages
    for page in pages:
        first.setdefault(page.shown.user, page.shown.time)
    end = max(page.shown.time for page in pages)
    late = sum(time + 86_400 > end for time in first.values())
    assert 0 < late < 40
    assert f"left out: {late} units whose window is not over" in err


def test_pages_as_units_with_rewards(ab_log: pathlib.Path, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "found.json"
    args = ["--unit", "page", "--metric", "reward", "--rewards", "purchase=10"]
    assert main(["analyse", "--log", str(ab_log), *args, "--json", str(file)]) == 0
    table = page_table(read_page_log(ab_log).pages, Rewards(purchase=10.0))
    assert (table["reward"] == table["clicks"] + 10 * table["purchases"]).all()
    means = table.groupby("version")["reward"].mean().tolist()
    assert [row["mean"] for row in json.loads(file.read_text())["arms"]] == pytest.approx(means)


def test_versions_that_shared_pages(shared_log: pathlib.Path, capsys: Capture) -> None:
    assert main(["interleaving", "--log", str(shared_log)]) == 0
    out = capsys.readouterr().out
    assert "mean credit" in out
    assert "+1.0000 [+1.0000 +1.0000]" in out


def test_a_log_without_users(write_log: Callable[..., pathlib.Path], capsys: Capture) -> None:
    from_conftest = write_log.__globals__["shown_page"]
    pages = [
        (from_conftest(f"p{i}", 0.0, 1 + i % 2, None), ("P0",) * (i % 3), ()) for i in range(8)
    ]
    folder = write_log(pages)
    assert main(["analyse", "--log", str(folder), "--metric", "clicks"]) == 2
    assert "column 'user': 8 value(s)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--unit", "session"], "--unit 'session': expected user, page with --log"),
        (["--by", "arm"], "--by 'arm': expected version, model, policy"),
        (["--by", "model"], "found only 'shop'"),
        (["--time", "time"], "a log has its own times"),
        (["--rewards", "sale=3"], "--rewards: unknown key 'sale'"),
        (["--metric", "sales"], "no column 'sales'"),
        (["--control", "9"], "--control: no group '9'"),
        (["--shares", "0.9,0.1"], "sample ratio mismatch"),
        (["--shares", "0.2,0.3,0.5"], "--shares: 2 are needed: 3, 4"),
    ],
)
def test_wrong_input_is_one_line(
    ab_log: pathlib.Path, capsys: Capture, args: list[str], message: str
) -> None:
    assert main(["analyse", "--log", str(ab_log), "--metric", "clicks", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1

"""The command line of experiments: plans and tables; logs are tested in experiments/."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from mmrank.experiment import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def users(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A table of 600 users, in the file users.csv of the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arm = np.repeat(["a", "b", "c"], 200)
    frame = pd.DataFrame(
        {
            "user": [f"{i:04d}" for i in range(600)],
            "arm": arm,
            "revenue": rng.gamma(1.0, 10.0 + 10.0 * (arm == "b")).round(2),
            "seen": pd.date_range("2026-03-01", periods=600, freq="40min").astype(str),
        }
    )
    frame.to_csv("users.csv", index=False)
    return frame


def test_a_plan_in_units_and_days(tmp_path: pathlib.Path, capsys: Capture) -> None:
    file = tmp_path / "plan.json"
    args = ["--proportion", "0.5", "--lift", "0.5", "--power", "0.9", "--daily", "50"]
    assert main(["plan", *args, "--json", str(file)]) == 0
    assert json.loads(file.read_text())["per_group"] == 77  # as R says
    assert "77 units in each group, 154 in all, 4 days" in capsys.readouterr().out


def test_the_smallest_lift_of_a_size(tmp_path: pathlib.Path, capsys: Capture) -> None:
    file = tmp_path / "plan.json"
    args = ["--mean", "2", "--sd", "1", "--units", "23", "--power", "0.9", "--json", str(file)]
    assert main(["plan", *args]) == 0
    plan = json.loads(file.read_text())
    assert plan["lift"] == pytest.approx(plan["difference"] / 2)
    # R: power.t.test(power = .90, delta = 1) needs n = 22.02, so that 23 find a little less.
    assert 0.95 < plan["difference"] < 1
    assert f"({plan['difference']:+.4g})" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_groups_of_a_table(users: pd.DataFrame, capsys: Capture, suffix: str) -> None:
    if suffix == ".parquet":
        users.to_parquet("users.parquet")
    args = ["--table", f"users{suffix}", "--unit", "user", "--by", "arm", "--metric", "revenue"]
    assert main(["analyse", *args, "--json", "found.json"]) == 0
    out = capsys.readouterr().out
    assert "sizes of the groups as expected: p = 1.000" in out
    arms = json.loads(pathlib.Path("found.json").read_text())["arms"]
    means = users.groupby("arm")["revenue"].mean().tolist()
    assert [arm["mean"] for arm in arms] == pytest.approx(means)
    assert arms[0]["difference"] is None
    assert arms[1]["difference"]["p_holm"] < 0.001 < arms[2]["difference"]["p_holm"]


def test_days_of_a_table(users: pd.DataFrame, capsys: Capture) -> None:
    args = ["--table", "users.csv", "--unit", "user", "--by", "arm", "--metric", "revenue"]
    users.sample(frac=1, random_state=0).assign(seen=users["seen"]).to_csv("users.csv", index=False)
    assert main(["analyse", *args, "--time", "seen", "--planned", "600"]) == 0
    out = capsys.readouterr().out
    assert "revenue, b: a difference from day" in out
    assert "revenue, c: no difference was found" in out
    assert main(["analyse", *args, "--planned", "600"]) == 2
    assert "need --time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["plan", "--mean", "1", "--lift", "0.1"], "--mean and --sd belong together"),
        (["plan", "--proportion", "0.1", "--sd", "1", "--lift", "0.1"], "belong together"),
        (["plan", "--proportion", "0.1", "--lift", "0.1", "--daily", "0"], "--daily 0.0"),
        (["plan", "--proportion", "2", "--lift", "0.1"], "--proportion 2.0"),
        (["analyse", "--metric", "x", "--table", "users.csv"], "give --unit and --by"),
        (["analyse", "--metric", "x", "--log", "nowhere"], "nowhere: no log of shown pages"),
        (["analyse", "--metric", "x/", "--log", "nowhere"], "--metric 'x/'"),
        (["analyse", "--metric", "x", "--log", "nowhere", "--alpha", "2"], "--alpha 2.0"),
        (["analyse", "--metric", "x", "--log", "nowhere", "--planned", "0"], "--planned 0"),
        (["analyse", "--metric", "x", "--log", "nowhere", "--window", "-1"], "--window -1.0"),
        (["analyse", "--metric", "x", "--log", "nowhere", "--shares", "1,x"], "--shares '1,x'"),
        (["interleaving", "--log", "nowhere"], "nowhere: no log of shown pages"),
        (["interleaving", "--log", "nowhere", "--json", "users.csv"], "users.csv exists"),
    ],
)
def test_wrong_input_is_one_line(
    users: pd.DataFrame, capsys: Capture, args: list[str], message: str
) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert len(pd.read_csv("users.csv")) == len(users)


def test_cells_without_a_number_are_named(users: pd.DataFrame, capsys: Capture) -> None:
    users.astype({"revenue": object}).replace({"revenue": {users["revenue"][3]: "?"}}).to_csv(
        "users.csv", index=False
    )
    args = ["--table", "users.csv", "--unit", "user", "--by", "arm", "--metric", "revenue"]
    assert main(["analyse", *args]) == 2
    message = "users.csv, column 'revenue': 1 value(s), row 4: '?': is no number"
    assert message in capsys.readouterr().err


def test_help_shows_examples(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    assert "python -m mmrank.experiment plan --proportion" in capsys.readouterr().out

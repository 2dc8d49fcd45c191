"""The command that trains a policy: its files, its table, resuming and wrong input."""

from __future__ import annotations

import json
import pathlib

import pytest

from mmrank.rerank import main
from mmrank.rerank_job.source import Source, read_config
from mmrank.reranking.dqn import trainer

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = [
    "--set", "dqn={width: 8, heads: 2, layers: 1, steps: 640, environments: 8, batch: 16,"
    " warm_up: 64, imitation: 5}",
    "--set", "pages={size: 3, test: 40}",
    "--set", "most_moves=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("policy") / "out"
    assert main(["--out", str(folder), *SMALL]) == 0
    return folder


def test_the_results(out: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads((out / "results.json").read_text())}
    assert list(rows) == ["dqn", "ranker", "random", "greedy", "mmr", "exhaustive"]
    assert rows["ranker"]["share"] == 0
    assert rows["exhaustive"]["share"] == pytest.approx(1)
    best = rows["exhaustive"]["mean"]
    for row in rows.values():
        assert row["low"] <= row["mean"] <= row["high"]
        assert row["mean"] <= best + 1e-9
    assert rows["dqn"]["difference"] is None
    gap = rows["dqn"]["mean"] - rows["random"]["mean"]
    assert rows["random"]["difference"] == pytest.approx(gap)


def test_the_projects_config() -> None:
    overrides = ["user=anchoring", "guards.most_shift=2"]
    config = read_config(ROOT / "configs" / "rerank.yaml", overrides, Source())
    assert (config.user, config.pages.size, config.guards.most_shift) == ("anchoring", 6, 2)
    assert config.dqn.steps == 200_000


def test_a_finished_folder_is_never_written_to_again(
    out: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {f: f.stat().st_mtime_ns for f in out.rglob("*")}
    assert main(["--out", str(out), *SMALL]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert main(["--out", str(out), "--resume"]) == 2
    assert "this training is finished" in capsys.readouterr().err
    assert {f: f.stat().st_mtime_ns for f in out.rglob("*")} == before


@pytest.mark.slow
def test_ctrl_c_and_resume(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, moves, made = tmp_path / "out", trainer._moves, []

    def interrupted(*args, **kwargs):
        made.append(1)
        if len(made) == 60:  # 8 fill the replay, 80 updates follow
            raise KeyboardInterrupt
        return moves(*args, **kwargs)

    monkeypatch.setattr(trainer, "_moves", interrupted)
    assert main(["--out", str(out), *SMALL]) == 130
    assert "run the command with --resume to continue" in capsys.readouterr().err
    monkeypatch.setattr(trainer, "_moves", moves)
    assert main(["--out", str(out), "--resume", "--set", "seed=2"]) == 2
    assert "leave --config, --set" in capsys.readouterr().err
    assert main(["--out", str(out), "--resume"]) == 0
    said = capsys.readouterr()
    assert "of 80 updates" in said.err
    assert "share of gain" in said.out
    assert (out / "results.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "user=tired"], "unknown user model 'tired'"),
        (["--set", "options={alpha: 2}"], "alpha: expected 0 to 1, got 2"),
        (["--set", "dqn.stepz=3"], "unknown key 'stepz'; did you mean 'steps'?"),
        (["--set", "pages={shortest: 7, size: 6}"], "pages.shortest: 7 is above pages.size (6)"),
        (["--set", "peers=[baselines]"], "peers: unknown agent 'baselines'"),
        (["--config", "no.yaml"], "no.yaml: no such file"),
        (["--resume"], "no training to resume"),
    ],
)
def test_wrong_input(
    arguments: list[str], message: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_moves_are_bounded_where_a_server_makes_them() -> None:
    assert read_config(None, [], Source()).most_moves is None
    assert read_config(None, [], Source(run="runs/shop")).most_moves == 5
    assert read_config(None, ["most_moves=3"], Source(log="pages")).most_moves == 3


def test_agents_and_where_pages_come_from(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    for arguments, message in (
        (["--set", "agent=cql"], "agent cql learns from shown pages; give --log"),
        (["--log", str(tmp_path), "--set", "agent=dqn"], "leave --log out"),
        (["--set", "agent=ranker"], "keeps the order of a ranker; give --run"),
        (["--set", "agent=sarsa"], "unknown agent 'sarsa'"),
        (["--set", "agent_options={alpha: 1}"], "the agent dqn has none"),
        (["--log", str(tmp_path / "none")], "no such folder"),
        (["--data", str(tmp_path)], "give --run too"),
        (["--run", str(tmp_path / "none")], "none"),
        (["--log", str(tmp_path)], str(tmp_path)),
    ):
        assert main([*out, *arguments]) == 2, arguments
        assert message in capsys.readouterr().err, arguments
    assert not (tmp_path / "out").exists()

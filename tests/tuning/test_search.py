"""A search over fake trials that only send messages, without processes or TensorFlow."""

from __future__ import annotations

import csv
import json
import multiprocessing
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from mmrank.config import ConfigError
from mmrank.outputs import OutputError
from mmrank.tuning.results import summary, write_importances, write_results
from mmrank.tuning.search import Search, SearchError
from mmrank.tuning.space import Choices, Range, Space
from mmrank.tuning.study import counted, open_study

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BASE = {"training": {"learning_rate": 0.5, "epochs": 3}}
RATES = Space("s", (Range("training.learning_rate", 0.0, 1.0),), BASE)
Says = Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]]


class Process:
    """A process that has ended."""

    exitcode = -9

    def kill(self) -> None: ...

    def join(self) -> None: ...


def rate_of(plain: Mapping[str, Any]) -> float:
    return plain["training"]["learning_rate"]


def whole(plain: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Three epochs; the figure is highest at a rate of 0.3."""
    best = 1.0 - abs(rate_of(plain) - 0.3)
    epochs = [{"epoch": e, "figure": best * e / 3} for e in (1, 2, 3)]
    return [*epochs, {"whole": best, "epochs": 3}]


def search(
    out: pathlib.Path,
    trials: int,
    says: Says = whole,
    space: Space = RATES,
    check: Callable[[Any], None] = lambda plain: None,
    seconds: float | None = None,
    **began_with: str,
) -> list[dict[str, str]]:
    """The rows of trials.csv after a search in which `says` gives the messages of each trial."""

    def begin(plain: Any, data: pathlib.Path, folder: pathlib.Path) -> Any:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text(json.dumps(plain))
        messages = says(plain)
        for message in messages:
            sender.send_bytes(json.dumps(message).encode())
        if messages:
            sender.close()
        else:
            silent.append(sender)  # a running trial that has not sent a message yet
        return Process(), receiver

    silent: list[Any] = []
    with open_study(out, began_with or {"--space": "a"}, trials, seed=0) as study:

        def write() -> None:
            write_results(study, out, "ndcg@10", "tune")

        end = None if seconds is None else time.monotonic() + seconds
        Search(study, space, out, out, trials, 1, check, write, end, begin).run()
        write()
    with (out / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_best_trial_becomes_a_config_and_keeps_its_weights(tmp_path: pathlib.Path) -> None:
    rows = search(tmp_path, 6)
    assert [row["trial"] for row in rows] == list("012345")
    assert {row["end"] for row in rows} <= {"whole", "pruned"}
    assert float(rows[0]["training.learning_rate"]) == 0.5  # the base config comes first
    done = [row for row in rows if row["end"] == "whole"]
    for row in done:
        expected = 1.0 - abs(float(row["training.learning_rate"]) - 0.3)
        assert float(row["figure"]) == pytest.approx(expected, abs=1e-6)
    best = max(done, key=lambda row: float(row["figure"]))
    text = (tmp_path / "best.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# ndcg@10 {float(best['figure']):.4f} on the validation lists: trial")
    assert f"#   python -m mmrank.train --config {tmp_path / 'best.yaml'}\n" in text
    body = json.loads("".join(line for line in text.splitlines() if not line.startswith("#")))
    assert rate_of(body) == float(best["training.learning_rate"])
    weights = [p.parent.name for p in tmp_path.glob("trials/*/checkpoints")]
    assert weights == [best["trial"]]


def test_a_hopeless_trial_is_pruned_and_reported(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Four whole trials give a median, and a trial that stays at 0 is below it."""
    begun: list[float] = []

    def says(plain: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        begun.append(rate_of(plain))
        if len(begun) < 5:
            return whole({"training": {"learning_rate": 0.3}})
        return [{"epoch": e, "figure": 0.0} for e in (1, 2, 3)] + [{"whole": 0.0, "epochs": 3}]

    with caplog.at_level("INFO", "mmrank"):
        rows = search(tmp_path, 5, says)
    assert [row["end"] for row in rows] == [*["whole"] * 4, "pruned"]
    assert (rows[4]["figure"], rows[4]["epochs"]) == ("", "2")  # one epoch is not sufficient
    assert "5/5  trial 4 pruned (after epoch 2)" in caplog.text
    assert "best 1.0000, trial 0" in caplog.text


def test_a_trial_is_not_pruned_after_its_last_epoch(tmp_path: pathlib.Path) -> None:
    def says(plain: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        figure = 1.0 - 0.1 * len(list(tmp_path.glob("trials/*")))
        return [{"epoch": 1, "figure": figure}, {"epoch": 2, "figure": figure}] + [
            {"whole": figure, "epochs": 2}
        ]

    two = Space("s", RATES.settings, {"training": {"learning_rate": 0.5, "epochs": 2}})
    assert [row["end"] for row in search(tmp_path, 6, says, two)] == ["whole"] * 6


def test_failures_count_and_three_in_a_row_end_the_search(tmp_path: pathlib.Path) -> None:
    def says(plain: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        return whole(plain) if rate_of(plain) == 0.5 else [{"failed": "the loss is nan"}]

    with pytest.raises(SearchError, match=r"3 trials in a row failed, .*: the loss is nan"):
        search(tmp_path, 9, says)
    with (tmp_path / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["end"], row["why"]) for row in rows] == [
        ("whole", ""),
        *[("failed", "the loss is nan")] * 3,
    ]
    assert (tmp_path / "best.yaml").is_file()


def test_a_process_that_dies_is_a_failure_with_its_signal(tmp_path: pathlib.Path) -> None:
    rows = search(tmp_path, 2, lambda p: whole(p)[: 4 if rate_of(p) == 0.5 else 1])
    assert rows[1]["end"] == "failed"
    assert rows[1]["why"] == (
        f"ended by signal 9, as when memory runs out; see {tmp_path / 'trials' / '1' / 'log.txt'}"
    )


def test_values_that_the_config_refuses_are_drawn_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(plain: Mapping[str, Any]) -> None:
        if rate_of(plain) > 0.6:
            raise ConfigError("too fast")

    rows = search(tmp_path, 5, check=check)
    assert len(rows) == 5
    assert all(float(row["training.learning_rate"]) <= 0.6 for row in rows)

    def never(plain: Mapping[str, Any]) -> None:
        raise ConfigError("too fast")

    monkeypatch.setattr("mmrank.tuning.search.REFUSALS", 4)
    with pytest.raises(SearchError, match="refuses 4 combinations in a row, the last one: too"):
        search(tmp_path / "never", 5, check=never)


def test_settings_that_were_tried_are_not_trained_again(tmp_path: pathlib.Path) -> None:
    begun = []

    def says(plain: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        begun.append(rate_of(plain))
        return whole(plain)

    rates = Space("s", (Choices("training.learning_rate", (0.5, 0.25)),), BASE)
    rows = search(tmp_path, 8, says, rates)
    assert len(begun) == sum(row["end"] == "whole" for row in rows) == 2
    repeated = [row for row in rows if row["end"] == "repeated"]
    assert len(repeated) == 6
    for row in repeated:
        expected = 1.0 - abs(float(row["training.learning_rate"]) - 0.3)
        assert float(row["figure"]) == pytest.approx(expected)


def test_the_time_limit_ends_a_search_and_a_later_one_continues(tmp_path: pathlib.Path) -> None:
    began = time.monotonic()
    rows = search(tmp_path, 3, lambda p: [], seconds=1.0)
    assert time.monotonic() - began < 20
    assert rows == []
    assert not (tmp_path / "best.yaml").exists()
    rows = search(tmp_path, 3)
    assert len(rows) == 3
    assert float(rows[0]["training.learning_rate"]) == 0.5  # the base config again
    rows = search(tmp_path, 4)
    assert len({row["training.learning_rate"] for row in rows}) == len(rows) == 4


def test_ctrl_c_keeps_finished_trials(tmp_path: pathlib.Path) -> None:
    def says(plain: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        if rate_of(plain) != 0.5:
            raise KeyboardInterrupt
        return whole(plain)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, 3, says)
    assert "ndcg@10 0.8000" in (tmp_path / "best.yaml").read_text(encoding="utf-8")
    rows = search(tmp_path, 3)
    assert [row["trial"] for row in rows] == list("023")


@pytest.mark.parametrize("option", ["--config", "--space", "--data"])
def test_another_search_in_the_folder_is_refused(tmp_path: pathlib.Path, option: str) -> None:
    began_with = {"--config": "a", "--space": "b", "--data": "c"}
    search(tmp_path, 1, **began_with)
    with pytest.raises(ConfigError, match=f"its search began with another {option}; give that"):
        search(tmp_path, 1, **began_with | {option: "d"})
    with open_study(tmp_path, began_with, 1, 0) as study:
        assert len(counted(study)) == 1
        with (
            pytest.raises(OutputError, match="another search is running there"),
            open_study(tmp_path, began_with, 1, 0),
        ):
            pass


def test_a_folder_with_other_files_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists and is not empty"):
        search(tmp_path, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_summary_reports_importances(tmp_path: pathlib.Path) -> None:
    """The figure depends only on the rate, so the dropout has a small share."""
    settings = (*RATES.settings, Range("model.head.dropout", 0.0, 0.5))
    search(tmp_path, 10, lambda p: [whole(p)[-1]], Space("s", settings, BASE))
    with open_study(tmp_path, {"--space": "a"}, 10, 0) as study:
        text = summary(study, tmp_path, "ndcg@10")
        write_importances(study, tmp_path, "ndcg@10")
    assert "as given  ndcg@10 0.8000, trial 0" in text
    assert "trials    10 trials (10 whole) in 0 s" in text
    share = re.search(r"shares    training.learning_rate (\S+), model.head.dropout", text)
    assert share is not None
    assert float(share[1]) > 0.6
    assert (tmp_path / "importance.png").read_bytes().startswith(b"\x89PNG")


def test_after_kill_9_the_number_of_trials_is_still_reached(tmp_path: pathlib.Path) -> None:
    """A search in another process is killed during its second trial."""
    script = textwrap.dedent(
        f"""
        import pathlib, sys
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests" / "tuning")!r}]
        import test_search
        begun = []
        def says(plain):
            begun.append(plain)
            return test_search.whole(plain) if len(begun) == 1 else []
        test_search.search(pathlib.Path({str(tmp_path / "out")!r}), 3, says)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        end = time.monotonic() + 60
        while not (tmp_path / "out" / "trials" / "1").is_dir():
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    rows = search(tmp_path / "out", 3)
    assert [row["trial"] for row in rows] == list("023")

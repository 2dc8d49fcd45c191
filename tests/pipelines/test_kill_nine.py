"""Kills by SIGKILL: the verdict by hand, the parts quickly, and all of it on a small run."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import random
import sys

import numpy as np
import pytest

from mmrank.config import Config
from mmrank.data.shards import Shard, file_hash
from mmrank.outputs import UserError
from mmrank.serving.checksums import CHECKSUMS, verify_checksums, write_checksums
from mmrank.serving.computed import Computed
from pipelines.benchmarks.kill_nine import main
from pipelines.benchmarks.kills.asking import Answer, read_ranked
from pipelines.benchmarks.kills.copying import ORDERS, copy, files_in_order
from pipelines.benchmarks.kills.embeddings import differences
from pipelines.benchmarks.kills.killing import Part, finished, killed, moment
from pipelines.benchmarks.kills.verdict import Seen, judge, table

KEPT = ("price", "user")
SCORES = {1: np.array([0.5, -1.0]), 2: np.array([0.25, 2.0])}


def good() -> Seen:
    """A flawless record: two versions answer, and the server is down from 5 to 6."""
    answers = [Answer(t, t + 0.1, 1 + (t > 3), tuple(SCORES[1 + (t > 3)])) for t in (1, 2, 4, 7)]
    dead = [Answer(4.9, 5.1, error="reset", cut=True), Answer(5.5, 5.6, error="refused", cut=True)]
    parts = [Part("export", 2, kills=2, left=2, loaded=[2])]
    return Seen([*answers, *dead], SCORES, frozenset({1, 2}), [(5.0, 6.0)], parts)


def failures(seen: Seen) -> list[str]:
    return [words for held, words in judge(seen) if not held]


def test_the_verdict() -> None:
    assert failures(good()) == []
    assert any("4 answers, each from a complete version" in words for _, words in judge(good()))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(8, 9, 3, (0.5, -1.0)), "each from a complete version; not complete: 3"),
        (Answer(8, 9, 2, (0.5, -1.0)), "largest difference 3.0e+00"),
        (Answer(8, 9, 1, (0.5, -1.0 + 2e-5)), "largest difference 2.0e-05"),
        (Answer(8, 9, 1, (0.5,)), "largest difference inf"),
        (Answer(8, 9, 1, (float("nan"), -1.0)), "largest difference inf"),
        (Answer(8, 9, error="refused", cut=True), "1 did, the first: refused"),
        (Answer(5.2, 5.3, error="status 500"), "1 did, the first: status 500"),
    ],
    ids=["stray", "other scores", "a little off", "too few", "NaN", "cut off", "an error in death"],
)
def test_a_wrong_answer_fails_the_verdict(answer: Answer, words: str) -> None:
    seen = good()
    actual = failures(dataclasses.replace(seen, answers=[*seen.answers, answer]))
    assert any(words in failure for failure in actual), actual


def test_other_violations_fail_the_verdict() -> None:
    seen = good()
    (actual,) = failures(dataclasses.replace(seen, served=frozenset({1, 2, 7})))
    assert actual == "every loaded version is complete; not complete: 7"
    few = dataclasses.replace(seen.parts[0], kills=1)
    assert "1 of 2 kills" in failures(dataclasses.replace(seen, parts=[few]))[0]
    bad = dataclasses.replace(seen.parts[0], problems=["version 3 exists, but is not complete"])
    assert "version 3 exists" in failures(dataclasses.replace(seen, parts=[bad]))[0]
    cut = dataclasses.replace(seen.parts[0], loaded=[2, 5])
    assert "loaded 5, which" in failures(dataclasses.replace(seen, parts=[cut]))[0]
    assert len(failures(dataclasses.replace(seen, answers=[]))) == 2


def test_the_table() -> None:
    first, second = table(good().parts).splitlines()
    assert first.split() == ["killed", "kills", "left", "partial", "loaded", "versions"]
    assert second.split() == ["export", "2", "2", "2"]


def test_scores_are_in_the_order_of_the_request() -> None:
    ranked = [{"index": 1, "score": 3.0}, {"index": 2, "score": 2.0}, {"index": 0, "score": 1.0}]
    assert read_ranked({"version": 4, "ranked": ranked}) == (4, (1.0, 3.0, 2.0))


def test_each_moment_is_in_its_part() -> None:
    draw = random.Random(0)
    for number in range(4):
        assert all(number * 2 <= moment(draw, number, 4, 8.0) < number * 2 + 2 for _ in range(50))


def test_a_part_gives_up_after_too_many_tries() -> None:
    part = Part("export", 2)
    assert list(part.rounds()) == [0] * 8
    for _ in part.rounds():
        part.kills += 1
    assert part.kills == 2


def test_a_process_is_killed_or_finishes(tmp_path: pathlib.Path) -> None:
    mark, end, log = tmp_path / "mark", tmp_path / "end", tmp_path / "log"
    code = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(0.3); "
    command = [sys.executable, "-c", code + f"pathlib.Path({str(end)!r}).touch()"]
    assert killed(command, log, mark.exists, 0.0)
    assert mark.exists()
    assert not end.exists()
    assert not killed(command, log, mark.exists, 60.0)
    assert end.exists()
    mark.unlink()
    end.unlink()
    assert 0.2 < finished(command, log, mark.exists, end.exists) < 60
    failing = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(UserError, match="exit code 1: .*no such thing"):
        finished(failing, log, mark.exists, lambda: False)


def test_a_copy_is_complete_in_every_order(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "1"
    (source / CHECKSUMS.parent).mkdir(parents=True)
    for name in ("saved_model.pb", "variables/index", "assets.extra/ranker.json", "empty"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(name.encode() * (name != "empty"))
    write_checksums(source)
    for order in ORDERS:
        copy(source, tmp_path / order, order, 0.0)
        verify_checksums(tmp_path / order)
    assert files_in_order(source, "list-first")[0] == CHECKSUMS
    assert files_in_order(source, "list-last")[-1] == CHECKSUMS


def vectors(folder: pathlib.Path, text: str = "vectors") -> pathlib.Path:
    """A finished folder of one shard."""
    folder.mkdir()
    (folder / "items-0").write_text(text)
    shard = Shard("items-0", 1, len(text), file_hash(folder / "items-0"))
    Computed(folder, "print", ("title",), 2, 1, (dataclasses.asdict(shard),)).save()
    return folder


def test_different_vectors_are_found(tmp_path: pathlib.Path) -> None:
    alone, same = vectors(tmp_path / "alone"), vectors(tmp_path / "same")
    assert differences(alone, same) == []
    (same / ".a.partial").touch()
    assert differences(alone, same) == [".a.partial was left behind"]
    other = differences(alone, vectors(tmp_path / "other", "Vectors"))
    assert [words.split()[0] for words in other] == ["manifest.json", "items-0"]
    (same / "manifest.json").unlink()
    assert "not finished" in differences(alone, same)[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "no such folder; train a run"),
        (["--set", "model.poll_seconds"], "must be A.B=C"),
    ],
)
def test_wrong_input(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(["--run", str(tmp_path / "none"), *more]) == 2
    assert words in capsys.readouterr().err


@pytest.fixture
def run_folder(
    tiny_shop: pathlib.Path, tiny_config: Config, tmp_path: pathlib.Path
) -> pathlib.Path:
    """A run that reads only two features, so that it is exported quickly."""
    import tensorflow as tf

    from mmrank.build import build_features, build_model
    from mmrank.config import CONFIG_FILE, FEATURES_FILE, STATE_FILE, save_config
    from mmrank.data.tables import load_dataset
    from mmrank.schema import save_schema

    dataset = load_dataset(tiny_shop)
    sides = ("item", "query", "user", "pair")
    drop = tuple(f.name for f in dataset.schema.side(*sides) if f.name not in KEPT)
    config = dataclasses.replace(
        tiny_config, model=dataclasses.replace(tiny_config.model, drop=drop)
    )
    features = build_features(config, dataset.schema)
    features.fit(dataset)
    folder = tmp_path / "run"
    folder.mkdir()
    tf.keras.utils.set_random_seed(2)
    build_model(config, features).network.save_weights(folder / "weights")
    save_config(config, folder / CONFIG_FILE)
    save_schema(dataset.schema, folder)
    features.save(folder / FEATURES_FILE)
    (folder / STATE_FILE).write_text(
        json.dumps({"best_weights": "weights", "data": str(tiny_shop)})
    )
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kill_nine(run_folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run_folder.rglob("*"))
    code = main(["--run", str(run_folder), "--rounds", "1", "--set", "rank.threads=2"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "FAILED" not in said
    assert said.count("1 of 1 kills") == 4
    assert sorted(run_folder.rglob("*")) == before

"""Size and speed of the fusions, at a tiny size. Seconds are not asserted."""

from __future__ import annotations

from mmrank.fusion import FUSIONS
from pipelines.benchmarks.fusion_speed import main, measure, paired_seconds


def test_every_fusion_has_a_row_with_its_weights():
    rows = {row.fusion: row for row in measure(items=3, lists=2, modalities=2, width=8, repeats=1)}
    assert rows.keys() == FUSIONS.keys()
    assert rows["concat"].ratio == 1
    assert all(row.rate > 0 for row in rows.values())
    # The vector: a token, its products and similarities with 2 contexts, 2 flags, 2 contexts.
    wide = 8 + 2 * 8 + 2 + 2 + 2 * 8
    tower = (wide * 128 + 128) + (128 * 64 + 64) + (64 + 1)
    assert rows["mean"].weights == tower
    assert rows["weighted_mean"].weights == tower + 2
    assert rows["gated"].weights == tower + 2 * (8 * 8 + 8) + (16 * 16 + 16)
    # Two tokens, concatenated.
    assert rows["concat"].weights == tower + 128 * (8 + 2 * 8 + 2)


def test_jobs_take_turns_and_the_first_round_does_not_count():
    done, now = [], [0.0]

    def job(name: str, seconds: float):
        def run() -> None:
            done.append(name)
            now[0] += seconds if len(done) > 2 else 100

        return run

    seconds = paired_seconds({"a": job("a", 1.0), "b": job("b", 3.0)}, 2, clock=lambda: now[0])
    assert done == ["a", "b"] * 3
    assert seconds == {"a": [1.0, 1.0], "b": [3.0, 3.0]}


def test_a_size_of_zero_is_refused(capsys):
    assert main(["--items", "0"]) == 2
    assert "--repeats: 1 or more" in capsys.readouterr().err

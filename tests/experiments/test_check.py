"""The check on simulated users: false discoveries, power, and sessions that interleaving saves."""

from __future__ import annotations

import re

import pytest

from pipelines.experiment_check import main


@pytest.mark.slow
def test_the_methods_keep_what_they_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--experiments", "200", "--sessions", "4000"]) == 0
    out = capsys.readouterr().out
    none, planned, longer = (
        [float(share) / 100 for share in re.findall(r"([\d.]+)%", line.partition(":")[2])]
        for line in out.splitlines()
        if "Welch" in line
    )
    # Welch at the end, Welch every day, always valid; bounds of four standard errors.
    assert none[0] < 0.05 + 0.06
    assert none[1] > 0.15
    assert none[2] < 0.05
    assert abs(planned[0] - 0.8) < 0.12
    assert longer[2] > 0.8 - 0.12
    ratios = re.findall(r"(?:team_draft|probabilistic) .* ([\d.]+) +[\d.]+%$", out, re.MULTILINE)
    assert len(ratios) == 6
    assert all(float(ratio) > 1 for ratio in ratios)

"""Verdicts on a policy as text and as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mmrank.reranking.judging.overlap import Overlap
from mmrank.reranking.judging.verdict import Estimate, Verdict

__all__ = ["as_json", "table"]


def table(verdicts: Sequence[Verdict], overlap: Overlap, compared_with: str) -> str:
    """Returns the verdicts as text.

    Args:
      verdicts: The verdicts.
      overlap: How far the log covers the policy.
      compared_with: What the differences are from.

    Example:
      >>> overlap = Overlap(900, 1.0, 120.4, 0.02, 0.98, "")
      >>> said = Verdict("doubly_robust", "", Estimate(2.0, 1.5, 2.5), Estimate(0.1, -0.1, 0.3))
      >>> print(table([said], overlap, "logged"))
      900 pages, worth 120 of the policy's own; 100.0% of its pages could have been shown;
      the highest weight is 2.00% of all, the mean weight 0.98
      <BLANKLINE>
      estimator                 reward of a page              less logged
      --------------------------------------------------------------------------
      doubly_robust             2.0000 [1.5000 2.5000]        +0.1000 [-0.1000 +0.3000]
    """
    lines = [
        f"{overlap.pages:,} pages, worth {overlap.effective:,.0f} of the policy's own; "
        f"{overlap.covered:.1%} of its pages could have been shown;",
        f"the highest weight is {overlap.largest:.2%} of all, the mean weight "
        f"{overlap.mean_weight:.2f}",
        "",
        f"{'estimator':<26}{'reward of a page':<30}less {compared_with}",
        "-" * 74,
    ]
    for said in verdicts:
        if said.reward is None or said.difference is None:
            lines.append(f"{said.estimator:<26}refused: {said.refusal}")
        else:
            reward, difference = _cell(said.reward, ""), _cell(said.difference, "+")
            lines.append(f"{said.estimator:<26}{reward:<30}{difference}")
    return "\n".join(lines)


def as_json(verdicts: Sequence[Verdict], overlap: Overlap, compared_with: str) -> dict[str, Any]:
    """Returns the verdicts as plain values; what is unknown is null."""
    return {
        "overlap": _known(overlap),
        "compared_with": compared_with,
        "verdicts": [
            {
                "estimator": said.estimator,
                "refusal": said.refusal,
                "reward": said.reward and _known(said.reward),
                "difference": said.difference and _known(said.difference),
            }
            for said in verdicts
        ],
    }


def _known(values: Overlap | Estimate) -> dict[str, Any]:
    return {k: None if v != v else v for k, v in dataclasses.asdict(values).items()}


def _cell(found: Estimate, sign: str) -> str:
    mean, low, high = (f"{value:{sign}.4f}" for value in (found.mean, found.low, found.high))
    return f"{mean} (no interval)" if found.low != found.low else f"{mean} [{low} {high}]"

"""Online experiments: how many users they need, and what their outcomes say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.experiments.arms import Arm, ArmDifference, compare_arms
    from mmrank.experiments.confidence_sequence import Always, always_valid
    from mmrank.experiments.daily import Look, daily_looks
    from mmrank.experiments.interleaved import Preference, preferences
    from mmrank.experiments.power import Plan, plan_means, plan_proportions
    from mmrank.experiments.ratio_mismatch import check_shares
    from mmrank.experiments.units import Metric, Units, units_of

__all__ = [
    "Always",
    "Arm",
    "ArmDifference",
    "Look",
    "Metric",
    "Plan",
    "Preference",
    "Units",
    "always_valid",
    "check_shares",
    "compare_arms",
    "daily_looks",
    "plan_means",
    "plan_proportions",
    "preferences",
    "units_of",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.experiments.arms": ["Arm", "ArmDifference", "compare_arms"],
        "mmrank.experiments.confidence_sequence": ["Always", "always_valid"],
        "mmrank.experiments.daily": ["Look", "daily_looks"],
        "mmrank.experiments.interleaved": ["Preference", "preferences"],
        "mmrank.experiments.power": ["Plan", "plan_means", "plan_proportions"],
        "mmrank.experiments.ratio_mismatch": ["check_shares"],
        "mmrank.experiments.units": ["Metric", "Units", "units_of"],
    },
)

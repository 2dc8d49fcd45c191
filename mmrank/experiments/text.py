"""Results of experiments as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmrank.experiments.arms import Arm
from mmrank.experiments.daily import Look
from mmrank.experiments.interleaved import Preference
from mmrank.experiments.power import Plan

__all__ = ["arms_text", "looks_text", "plan_text", "preferences_text"]


def plan_text(plan: Plan, *, groups: int, power: float, daily: float | None) -> str:
    """Returns a plan in words; with the number of units that come each day, in days too."""
    lines = [
        f"to find a lift of {plan.lift:+.2%} ({plan.difference:+.4g}) with a probability of "
        f"{power:.0%}:",
        f"  one look at the end        {_size(plan.per_group, groups, daily)}",
        f"  looked at every day, up to {_size(plan.sequential, groups, daily)}",
    ]
    if groups > 2:
        lines.append(f"each of {groups - 1} comparisons with the control at alpha {plan.alpha:.4g}")
    lines.append(f"for `analyse`, looked at every day: --planned {groups * plan.per_group}")
    return "\n".join(lines)


def _size(per_group: int, groups: int, daily: float | None) -> str:
    days = "" if daily is None else f", {math.ceil(groups * per_group / daily):,} days"
    return f"{per_group:,} units in each group, {groups * per_group:,} in all{days}"


def arms_text(arms: Sequence[Arm]) -> str:
    """Returns the groups under each metric as a table."""
    width = max(len(arm.group) for arm in arms) + 2
    lines = []
    for index, arm in enumerate(arms):
        if not index or arm.metric != arms[index - 1].metric:
            head = f"{'group':<{width}}{'units':>9}  {arm.metric:<30}"
            lines += [
                "",
                f"{head}{'difference':<30}{'lift':>9}{'p':>9}{'p (Holm)':>10}",
            ]
        mean = f"{arm.mean:.5g} [{arm.low:.5g} {arm.high:.5g}]"
        line, found = f"{arm.group:<{width}}{arm.units:>9,}  {mean:<30}", arm.difference
        if found is None:
            lines.append(line + "control")
            continue
        difference = f"{found.mean:+.4g} [{found.low:+.4g} {found.high:+.4g}]"
        lift = "" if found.lift is None else f"{found.lift:+.2%}"
        lines.append(f"{line}{difference:<30}{lift:>9}{found.p_value:>9.4f}{found.p_holm:>10.4f}")
    return "\n".join(lines[1:])


def looks_text(looks: Sequence[Look], alpha: float) -> str:
    """Returns the looks by day as a table, and the first day that found each difference."""
    if not looks:
        return "by day: no day has enough units yet"
    names = {look: f"{look.metric}, {look.group}" for look in looks}
    width = max(map(len, names.values())) + 2
    lines = [
        f"{'day':>4}  {'metric, group':<{width}}{'units':>9}  {'difference':<32}{'p':>8}"
        f"{'p (Holm)':>10}"
    ]
    for look in looks:
        difference = f"{look.difference:+.4g} [{look.low:+.4g} {look.high:+.4g}]"
        lines.append(
            f"{look.day:>4}  {names[look]:<{width}}{look.units:>9,}  {difference:<32}"
            f"{look.p_value:>8.4f}{look.p_holm:>10.4f}"
        )
    for name in dict.fromkeys(names.values()):
        first = next((n.day for n in looks if names[n] == name and n.p_holm <= alpha), None)
        found = "no difference was found" if first is None else f"a difference from day {first} on"
        lines.append(f"{name}: {found}")
    return "\n".join(lines)


def preferences_text(found: Sequence[Preference], unit: str) -> str:
    """Returns the comparisons of interleaved versions as a table."""
    lines = [
        f"{'newer':>6}{'older':>7}  {'kind':<14}{unit + 's':>9}{'wins':>9}{'losses':>9}{'ties':>9}"
        f"  {'mean credit':<28}{'p':>8}{'p (Holm)':>10}"
    ]
    for row in found:
        mean = f"{row.mean:+.4f} [{row.low:+.4f} {row.high:+.4f}]"
        older, newer = row.versions
        lines.append(
            f"{newer:>6}{older:>7}  {row.kind:<14}{row.units:>9,}{row.wins:>9,}{row.losses:>9,}"
            f"{row.ties:>9,}  {mean:<28}{row.p_value:>8.4f}{row.p_holm:>10.4f}"
        )
    return "\n".join(lines)

"""The results of a search: the best config, a table of all trials, importances of settings."""

from __future__ import annotations

import csv
import io
import logging
import pathlib
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial

from mmrank.config import CONFIG_FILE
from mmrank.outputs import MissingExtra, UserError, require_extra, whole_file, write_whole
from mmrank.tuning.study import (
    AS_GIVEN,
    END,
    EPOCHS,
    REPEATED,
    SECONDS,
    WHOLE,
    WHY,
    best_of,
    counted,
    trial_folder,
)

BEST_FILE, TABLE_FILE, PLOT_FILE = "best.yaml", "trials.csv", "importance.png"
FEWEST = 4  # completed trials needed to estimate importances
logger = logging.getLogger(__name__)


class NoBest(UserError):
    """A search without a completed trial."""


def write_results(study: optuna.Study, out: pathlib.Path, metric: str, command: str) -> None:
    """Writes trials.csv, and best.yaml once a trial is completed.

    Args:
      study: The study.
      out: The folder of the search.
      metric: The metric that trials are compared by.
      command: The search's command, which is written into best.yaml.
    """
    trials = counted(study)
    write_whole(out / TABLE_FILE, _table(trials))
    best = best_of(trials)
    if best is None:
        return
    head = [
        f"{metric} {best.value:.4f} on the validation lists: trial {best.number}, the best of",
        f"{spent_on(trials)}. Test lists were not read.",
        "",
        f"  {command}",
        f"  python -m mmrank.train --config {out / BEST_FILE}",
        "",
        *(f"{key}: {value}" for key, value in best.params.items()),
    ]
    config = (trial_folder(out, best.number) / CONFIG_FILE).read_text(encoding="utf-8")
    text = "".join(f"# {line}".rstrip() + "\n" for line in head) + config
    write_whole(out / BEST_FILE, text)


def summary(study: optuna.Study, out: pathlib.Path, metric: str) -> str:
    """Returns the results of a search as lines for the user.

    Args:
      study, out, metric: As for `write_results`.

    Raises:
      NoBest: No trial was completed.
    """
    trials = counted(study)
    best = best_of(trials)
    if best is None:
        raise NoBest(f"{out}: no trial was completed; {out / TABLE_FILE} says why")
    lines = [
        f"best      {metric} {best.value:.4f} on the validation lists, trial {best.number}",
        f"trials    {spent_on(trials)}",
    ]
    given = next(
        (t for t in trials if AS_GIVEN in t.user_attrs and t.user_attrs[END] == WHOLE), None
    )
    if given is not None:
        lines.insert(1, f"as given  {metric} {given.value:.4f}, trial {given.number}")
    shares = importances(study)
    if shares:
        text = ", ".join(f"{key} {share:.2f}" for key, share in list(shares.items())[:5])
        lines.append(f"shares    {text}")
    lines.append(f"next      python -m mmrank.train --config {out / BEST_FILE}")
    return "\n".join(lines)


def spent_on(trials: Sequence[FrozenTrial]) -> str:
    """Returns the number of trials, how they ended and their total time, in words."""
    ends = Counter(trial.user_attrs[END] for trial in trials)
    seconds = sum(trial.user_attrs[SECONDS] for trial in trials)
    text = ", ".join(f"{count} {end}" for end, count in ends.most_common())
    return f"{len(trials)} trials ({text}) in {spoken(seconds)}"


def spoken(seconds: float) -> str:
    """Returns a duration in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def importances(study: optuna.Study) -> Mapping[str, float]:
    """Returns the share of each setting in the variance of the figures, the largest first.

    The result is empty if fewer than four trials were completed or if all reached the same figure.

    Source: Hutter et al. 2014, functional ANOVA.
    """
    whole = [t for t in counted(study) if t.user_attrs[END] in (WHOLE, REPEATED)]
    if len(whole) < FEWEST or len({t.value for t in whole}) < 2:
        return {}
    with warnings.catch_warnings():
        # Optuna warns of a setting that has only one value among the completed trials.
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )


def write_importances(study: optuna.Study, out: pathlib.Path, metric: str) -> None:
    """Draws the importances as importance.png, if there are any and matplotlib is installed.

    Args:
      study, out, metric: As for `write_results`.
    """
    shares = importances(study)
    try:
        require_extra(PLOT_FILE, "matplotlib", "plots")
    except MissingExtra as error:
        logger.info("%s", error)
        return
    if not shares:
        logger.info("too few trials were completed for %s", PLOT_FILE)
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2 + 0.35 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = list(shares)[::-1]
    bars = axes.barh(names, [shares[name] for name in names])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(xlabel=f"share of the variance of {metric} on the validation lists", xlim=(0, 1.1))
    with whole_file(out / PLOT_FILE) as partial:
        figure.savefig(partial)


def _table(trials: Sequence[FrozenTrial]) -> str:
    """Returns a CSV table with one line per trial: how it ended and the values it drew."""
    keys = sorted({key for trial in trials for key in trial.params})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "end", "figure", "epochs", "seconds", "why", *keys])
    for trial in trials:
        attributes = trial.user_attrs
        figure = trial.value if attributes[END] in (WHOLE, REPEATED) else None
        writer.writerow(
            [
                trial.number,
                attributes[END],
                "" if figure is None else f"{figure:.6f}",
                attributes.get(EPOCHS, ""),
                f"{attributes[SECONDS]:.1f}",
                attributes.get(WHY, ""),
                *(trial.params.get(key, "") for key in keys),
            ]
        )
    return text.getvalue()

"""Tunes peers for comparison with a search: as many trials on the same validation lists."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import optuna

from mmrank.data.tables import load_dataset
from mmrank.evaluation.compared import tuned_peers
from mmrank.evaluation.costs import choice_lines
from mmrank.outputs import write_whole
from mmrank.trained_run import load_run
from mmrank.tuning.results import NoBest, spoken
from mmrank.tuning.study import best_of, counted, trial_folder
from mmrank.tuning.untested import without_test

PEERS_FILE = "peers.json"
WIDTH = 100


def tune_peers(
    study: optuna.Study, out: pathlib.Path, data: pathlib.Path, names: Sequence[str], trials: int
) -> str:
    """Tunes peers on the plain features of a search's best ranker and returns lines for the user.

    The costs, choice, space and validation figure of each peer are saved as OUT/peers.json.

    Args:
      study: The study.
      out: The folder of the search.
      data: The dataset; its test lists are not used.
      names: Names of the peers.
      trials: How many settings of each peer are tried.

    Raises:
      NoBest: No trial was completed.
    """
    best = best_of(counted(study))
    if best is None:
        raise NoBest(f"{out}: no trial was completed, so peers have no features to read")
    run = load_run(trial_folder(out, best.number))
    dataset = without_test(load_dataset(data))
    costs = tuned_peers(
        run,
        dataset,
        names,
        trials=trials,
        seed=run.config.seed,
    )
    kept = {name: dataclasses.asdict(cost) for name, cost in costs.items()}
    write_whole(out / PEERS_FILE, json.dumps(kept, indent=2) + "\n")
    lines = [
        f"peer      {name}: ndcg@10 {cost.tuning.validation:.4f} on the validation lists, the best "
        f"of {cost.tuning.trials} in {spoken(cost.tune_seconds or 0.0)}"
        for name, cost in costs.items()
        if cost.tuning is not None
    ]
    return "\n".join([*lines, *choice_lines(costs, WIDTH)])

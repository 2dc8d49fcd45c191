"""Command line: a table of a run's metrics against baselines, with intervals and slices."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmrank.data.run_state import changed_tables, check_run_folder
from mmrank.data.splits import SPLITS
from mmrank.data.tables import DataError, Dataset, load_dataset
from mmrank.data.validation import checked_dataset
from mmrank.evaluation.baselines import BASELINES
from mmrank.evaluation.classify import Classification, classify
from mmrank.evaluation.compared import (
    DENSE,
    PEERS,
    any_learns,
    check_compared,
    compared_scores,
    known_names,
    run_cost,
)
from mmrank.evaluation.curves import best_threshold
from mmrank.evaluation.metrics import CONVENTIONS, DEFAULT_METRICS, METRICS, check_metrics
from mmrank.evaluation.modalities import modality_weights, weights_table
from mmrank.evaluation.offline import evaluate_scores, label_grades
from mmrank.evaluation.plot_curves import PICTURES, plot_curves
from mmrank.outputs import (
    check_target,
    exit_code,
    log_progress,
    require_extra,
    whole_file,
    write_whole,
)

if TYPE_CHECKING:
    import pandas as pd

    from mmrank.trained_run import Run

BEST = "best"
EXAMPLE = """example:
  python -m mmrank.evaluate --run runs/fashion --drop image --json fashion-test.json
  python -m mmrank.evaluate --run runs/fashion --baselines bm25,dense,lambdamart,yetirank,tfr_dnn
  python -m mmrank.evaluate --run runs/tasks --order 'click * purchase'
  python -m mmrank.evaluate --run runs/fashion --metrics ndcg@10,f1@3 --threshold best --plot a.png

Prints NDCG, MRR, MAP, accuracy, precision, recall, F1 and ROC-AUC with bootstrap intervals, a
paired test against every baseline (also with Holm's correction for their number), the cost of each,
the slices that the data allows and the weight of each feature. For a run with tasks it also prints
the ROC-AUC, log-loss and calibration error of each task. ROC and precision-recall curves are drawn
over all candidates. --data may be a catalogue that the model never saw.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for wrong input, 130 when interrupted.

    Args:
      argv: The arguments, those of the process unless given.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args, _prepare(args)))


@dataclasses.dataclass(frozen=True)
class _Job:
    """The run, the dataset and the options that the arguments name, loaded."""

    run: Run
    folder: pathlib.Path
    dataset: Dataset
    rows: pd.DataFrame
    baselines: Sequence[str]
    drop: Sequence[str]
    against: Mapping[str, Run]
    metrics: Sequence[str]
    threshold: float | str | None
    changed: Sequence[str] = ()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.evaluate",
        description="Compares a trained run with baselines.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", required=True, type=pathlib.Path, help="folder of a trained run")
    parser.add_argument(
        "--data", type=pathlib.Path, help="folder of a prepared dataset (default: the run's own)"
    )
    parser.add_argument("--split", default="test", choices=(*reversed(SPLITS), "all"))
    parser.add_argument(
        "--baselines",
        default=",".join(BASELINES),
        help="comma-separated names, or '' for none (default: %(default)s); known: "
        f"{', '.join(known_names())}; {', '.join(PEERS)} are trained on the train lists and tuned "
        "on the valid lists",
    )
    parser.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="number of settings to try for each peer (default: as in the run's config)",
    )
    parser.add_argument(
        "--dense",
        type=pathlib.Path,
        metavar="FOLDER",
        help="TF-Hub text encoder for the baseline dense (default: as in the run's config, or "
        "else the run's own)",
    )
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="MODALITY",
        help="also score with this feature absent, and compare; may be repeated",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        type=pathlib.Path,
        metavar="RUN",
        help="also score with another run, and compare; may be repeated",
    )
    parser.add_argument(
        "--no-relevant",
        default="skip",
        choices=CONVENTIONS,
        help="how to count lists without a relevant item (default: %(default)s)",
    )
    parser.add_argument(
        "--relevant-grade",
        type=float,
        metavar="GRADE",
        help="lowest grade that counts as relevant in all metrics but NDCG (default: as in the "
        "run's config)",
    )
    parser.add_argument(
        "--metrics",
        default=",".join(DEFAULT_METRICS),
        help=f"comma-separated, of {', '.join(METRICS)}, each with or without @k (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--threshold",
        metavar="SCORE",
        help="also report accuracy, precision, recall and F1 with candidates of at least this "
        "score taken as relevant; 'best' is the score with the highest F1 on the valid lists",
    )
    parser.add_argument(
        "--order",
        metavar="FORMULA",
        help="formula that combines the tasks into one score, such as "
        "'click^0.3 * purchase^0.7' (default: model.order of the config)",
    )
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write figures as JSON")
    parser.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help=f"also draw ROC and precision-recall curves ({', '.join(PICTURES)})",
    )
    parser.add_argument(
        "--force", action="store_true", help="let --json and --plot replace an existing file"
    )
    return parser


def _prepare(args: argparse.Namespace) -> _Job:
    # Cheap checks come before TensorFlow is loaded, which takes seconds.
    baselines = [name.strip() for name in args.baselines.split(",") if name.strip()]
    try:
        check_compared(baselines)
    except ValueError as error:
        raise DataError(f"--baselines: {error}") from error
    if args.trials is not None and args.trials < 1:
        raise DataError(f"--trials {args.trials}: must be at least 1")
    if args.relevant_grade is not None and not 0 < args.relevant_grade < math.inf:
        raise DataError(f"--relevant-grade {args.relevant_grade:g}: must be above 0")
    if args.json is not None:
        check_target("--json", args.json, args.force)
    if args.plot is not None:
        if args.plot.suffix not in PICTURES:
            raise DataError(f"--plot: {args.plot} must end in one of {', '.join(PICTURES)}")
        check_target("--plot", args.plot, args.force)
        require_extra("--plot", "matplotlib", "plots")
    metrics = [name.strip() for name in args.metrics.split(",") if name.strip()]
    try:
        check_metrics(metrics)
    except ValueError as error:
        raise DataError(f"--metrics: {error}") from error
    threshold = _threshold(args.threshold)
    for folder in (args.run, *args.against):
        check_run_folder(folder)

    from mmrank.trained_run import load_run

    run = load_run(args.run)
    if args.order is not None:
        run = run.with_order(args.order)
    for name in args.drop:
        if name not in run.features:
            known = ", ".join(run.features)
            raise DataError(f"--drop: unknown feature {name!r}; known: {known}")
    folder = run.data if args.data is None else args.data
    if args.data is None and not folder.is_dir():
        raise DataError(f"{folder}: the run's dataset does not exist; give one with --data")
    others = {f"run {other.name}": load_run(other) for other in args.against}
    read = {f.name: f for r in (run, *others.values()) for f in r.fitted.read}
    dataset = checked_dataset(folder, training=False, read=[*read.values()])
    changed: tuple[str, ...] = ()
    if args.data is None:
        changed = changed_tables(run.tables, folder, dataset.schema)
    if changed:
        _print_step(
            f"warning: {folder}: {', '.join(changed)} changed since {args.run} was trained; these "
            "figures are for the changed data. Restore the old files for figures on the old data"
        )
    rows = dataset.rows(args.split)
    if len(rows) == 0:
        raise DataError(f"{folder}: the split {args.split!r} has no rows; use another --split")

    drop = list(dict.fromkeys(args.drop))
    return _Job(run, folder, dataset, rows, baselines, drop, others, metrics, threshold, changed)


def _threshold(given: str | None) -> float | str | None:
    """A score, `BEST` or None.

    Raises:
      DataError: The text is neither a finite number nor `BEST`.
    """
    if given in (None, BEST):
        return given
    try:
        score = float(given or "")
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"--threshold {given}: must be a score or {BEST!r}")
    return score


def _run(args: argparse.Namespace, job: _Job) -> int:
    from mmrank.evaluation.dense import check_dense
    from mmrank.evaluation.tasks import classify_tasks, ranking_label, report_tasks

    relevant = args.relevant_grade
    if relevant is None:
        relevant = job.run.config.evaluation.relevant_grade
    label = ranking_label(job.dataset, job.run.config)
    thresholds = _thresholds(job, label, relevant)
    settings = job.run.config.evaluation
    dense = args.dense or (settings.dense and pathlib.Path(settings.dense)) or None
    if DENSE in job.baselines:
        check_dense(job.run.fitted, dense)
    began = time.monotonic()
    scores = {"model": _model_scores(job)}
    costs = {"model": run_cost(job.run, time.monotonic() - began)}
    if job.drop:
        name = f"without {', '.join(job.drop)}"
        _print_step(f"scoring {name}")
        scores[name] = job.run.score(job.dataset, job.rows, drop=job.drop)
    for name, other in job.against.items():
        _print_step(f"scoring {name}")
        scores[name] = other.score(job.dataset, job.rows)
    _print_step(f"scoring with baselines: {', '.join(job.baselines) or 'none'}")
    compared = compared_scores(
        job.run,
        job.dataset,
        job.rows,
        job.baselines,
        trials=args.trials or settings.peer_trials,
        seed=job.run.config.seed,
        dense=dense,
        learned=_learned(job),
    )
    scores |= compared.scores
    _print_step("metrics, intervals and slices")
    report = evaluate_scores(
        job.dataset,
        job.rows,
        scores,
        split=args.split,
        label=label,
        metrics=job.metrics,
        no_relevant=args.no_relevant,
        relevant_grade=relevant,
    )
    report = dataclasses.replace(report, costs=costs | compared.costs)
    print(report.to_text())
    runs = {"model": job.run, **job.against}
    tasks = report_tasks(job.dataset, job.rows, runs)
    if tasks.figures:
        print(tasks.to_text())
    above = label_grades(job.dataset, job.rows, label) >= relevant
    found = classify(above, scores, thresholds)
    classes = Classification((*found, *classify_tasks(job.dataset, job.rows, runs)))
    print(classes.to_text())
    if args.plot is not None:
        with whole_file(args.plot) as partial:
            plot_curves(partial, classes)
        _print_step(f"wrote {args.plot}")
    _print_step("weight of each feature")
    weights = modality_weights(job.run, job.dataset, job.rows)
    print(weights_table(weights))
    if args.json is not None:
        about = {
            "run": str(args.run),
            "against": [str(folder) for folder in args.against],
            "data": str(job.folder),
            "changed_since_training": list(job.changed),
            "dropped": list(job.drop),
            "features": [dataclasses.asdict(weight) for weight in weights],
            "tasks": tasks.to_dict(),
            "classification": classes.to_dict(),
        }
        text = json.dumps(about | report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(args.json, text + "\n")
        _print_step(f"wrote {args.json}")
    return 0


def _thresholds(job: _Job, label: str, relevant: float) -> dict[str, float]:
    """The threshold of the model's score; empty if none is requested.

    Raises:
      DataError: The best threshold is requested, and no valid list has a relevant item.
    """
    if job.threshold is None:
        return {}
    if job.threshold != BEST:
        return {"model": float(job.threshold)}
    rows = job.dataset.rows("valid")
    _print_step(f"scoring {len(rows):,} candidates of the valid lists for the threshold")
    best = None
    if len(rows):
        above = label_grades(job.dataset, rows, label) >= relevant
        best = best_threshold(above, job.run.score(job.dataset, rows))
    if best is None:
        raise DataError(
            f"--threshold {BEST}: {job.folder} has no valid list with a relevant item; give a score"
        )
    return {"model": best}


def _model_scores(job: _Job) -> np.ndarray:
    """The model's scores, [rows]."""
    _print_step(f"scoring {len(job.rows):,} candidates with the model")
    return job.run.score(job.dataset, job.rows)


def _learned(job: _Job) -> Dataset | None:
    """The run's own dataset, from which peers learn; None if it is the dataset being evaluated.

    Raises:
      DataError: The run's dataset no longer exists.
    """
    if job.folder == job.run.data or not any_learns(job.baselines):
        return None
    if not job.run.data.is_dir():
        raise DataError(
            f"{job.run.data}: the run's dataset, from which {', '.join((*PEERS, DENSE))} learn, "
            "does not exist; remove them from --baselines"
        )
    return load_dataset(job.run.data)


def _print_step(text: str) -> None:
    """Prints progress to the error stream, so that only the table is on the output stream."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

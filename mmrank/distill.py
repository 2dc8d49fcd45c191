"""A small ranker that learns from a large one: `python -m mmrank.distill`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmrank.config import (
    METRICS_FILE,
    NETWORK,
    TEACHER_FILE,
    Config,
    ConfigError,
    Loss,
    load_config,
)
from mmrank.data.run_state import check_run_folder
from mmrank.data.tables import Dataset
from mmrank.data.validation import checked_dataset
from mmrank.outputs import exit_code, log_progress, refuse_filled, write_whole

if TYPE_CHECKING:
    from mmrank.trained_run import Run


EXAMPLE = """\
example:
  python -m mmrank.distill --run runs/shop --config configs/small.yaml --out runs/small
  python -m mmrank.distill --run runs/shop --config runs/shop/config.yaml --out runs/small \\
      --set model.width=16 --set 'model.head.hidden=[32]' --temperature 2 --share 0.8

The teacher, a trained run, scores the training lists. The student, a ranker that the config
describes, learns to give the candidates the same probabilities, by cross-entropy over each list
instead of the config's loss. RUN has the same files as a run of `mmrank.train`. The table compares
both. The student is not exported if it loses more than --max-loss of the teacher's NDCG@10 on the
validation lists.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, a failed training or too much lost, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(
        lambda: _run(args),
        "finished epochs are kept; run the command with --resume to continue",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.distill",
        description="Trains a small ranker on the scores of a trained one.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument(
        "--run", required=True, type=path, metavar="TEACHER", help="folder of a trained run"
    )
    parser.add_argument(
        "--config", required=True, type=path, metavar="FILE", help="config of the small ranker"
    )
    parser.add_argument(
        "--out", required=True, type=path, metavar="RUN", help="new folder for the small run"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override a config value"
    )
    parser.add_argument("--data", type=path, metavar="DIR", help="dataset (default: the teacher's)")
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="the teacher's scores are divided by it; values above 1 spread its probabilities "
        "over more candidates (default: %(default)s)",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of the teacher in the labels; the grades have the rest (default: %(default)s)",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="share of the teacher's NDCG@10 on the validation lists that may be lost (default: "
        "%(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    return parser


def _run(args: argparse.Namespace) -> None:
    config = _config(args)
    check_run_folder(args.run)
    _check_out(args)

    from mmrank.job import check_data, check_job
    from mmrank.trained_run import load_run
    from mmrank.training.loop import train_run
    from mmrank.training.taught import taught

    teacher = load_run(args.run)
    folder = teacher.data if args.data is None else args.data
    dataset = checked_dataset(folder, read=teacher.fitted.read)
    # The table compares the student with its teacher only, so nothing else has to be installed.
    compared = dataclasses.replace(config.evaluation, baselines=(), without=())
    check_job(dataclasses.replace(config, evaluation=compared), dataset.schema)
    check_data(config, dataset)
    lists = taught(teacher, dataset, args.temperature, args.share)
    lists.check(config)
    args.out.mkdir(parents=True, exist_ok=True)
    write_whole(args.out / TEACHER_FILE, json.dumps(_origin(args), indent=1) + "\n")
    student = train_run(config, dataset, args.out, args.resume, lists=lists)
    _evaluate(student, teacher, dataset)
    _export(student, teacher, dataset, args.max_loss)


def _config(args: argparse.Namespace) -> Config:
    """The student's config; its loss is the default, since it only learns the teacher's scores."""
    if not 0 < args.temperature < float("inf"):
        raise ConfigError(f"--temperature {args.temperature:g}: must be above 0")
    if not 0 < args.share <= 1:
        raise ConfigError(f"--share {args.share:g}: must be above 0 and at most 1")
    if not 0 <= args.max_loss < 1:
        raise ConfigError(f"--max-loss {args.max_loss:g}: must be at least 0 and below 1")
    config = load_config(args.config, args.set)
    if config.data.records is not None:
        raise ConfigError(f"{args.config}: data.records: a teacher scores tables; remove it")
    if config.training.strategy == "multi_worker":
        raise ConfigError(f"{args.config}: training.strategy: a student is trained on one host")
    if config.model.name != NETWORK:
        raise ConfigError(
            f"{args.config}: model.name: a student must be a network; trees would learn the grades"
        )
    return dataclasses.replace(config, training=dataclasses.replace(config.training, loss=Loss()))


def _origin(args: argparse.Namespace) -> dict[str, str | float]:
    """The origin of the labels, as it is stored with the run."""
    return {"run": str(args.run.resolve()), "temperature": args.temperature, "share": args.share}


def _check_out(args: argparse.Namespace) -> None:
    """Raises an error unless the run is new or was begun with the same teacher."""
    if not args.resume:
        refuse_filled(args.out)
        return
    file = args.out / TEACHER_FILE
    if not file.is_file():
        raise ConfigError(f"{args.out}: is not a run of mmrank.distill; omit --resume")
    begun = json.loads(file.read_text(encoding="utf-8"))
    if begun != _origin(args):
        was = ", ".join(f"{n} {v}" for n, v in begun.items())
        raise ConfigError(f"{args.out}: was started with {was}; resume it with the same values")


def _evaluate(student: Run, teacher: Run, dataset: Dataset) -> None:
    """Prints the metrics of both on the lists that the config reports; stores them with the run.

    Without such lists there is no table; `check_data` has warned of it.
    """
    from mmrank.evaluation.offline import evaluate_scores
    from mmrank.evaluation.tasks import ranking_label

    chosen = student.config.evaluation
    rows = dataset.rows(chosen.split)
    if rows.empty:
        return
    table = evaluate_scores(
        dataset,
        rows,
        {"model": student.score(dataset, rows), "teacher": teacher.score(dataset, rows)},
        split=chosen.split,
        label=ranking_label(dataset, student.config),
        no_relevant=chosen.no_relevant,
        relevant_grade=chosen.relevant_grade,
    )
    text = json.dumps(table.to_dict(), indent=2, ensure_ascii=False)
    write_whole(student.folder / METRICS_FILE, text + "\n")
    print(table.to_text())


def _export(student: Run, teacher: Run, dataset: Dataset, max_loss: float) -> None:
    """Prints cost and validation quality of both; exports the student if it is good enough."""
    from mmrank.compression.report import CompressionRefused, as_table, check_loss, qualities
    from mmrank.evaluation.tasks import ranking_label
    from mmrank.serving.export import export_run
    from mmrank.serving.measured import NOTE, measure_export, sample_request

    rows = dataset.rows("valid")
    both = {"teacher": teacher, "student": student}
    scores = {name: run.score(dataset, rows) for name, run in both.items()}
    found = qualities(dataset, rows, ranking_label(dataset, student.config), scores)
    try:
        check_loss("the student", found["student"], max_loss)
    except CompressionRefused:
        print(as_table(found, {}))
        raise
    exported = export_run(student, student.folder / "export", dataset)
    measured = {"student": measure_export(exported, sample_request(student, dataset))}
    with tempfile.TemporaryDirectory(prefix="mmrank-") as temporary:
        folder = export_run(teacher, pathlib.Path(temporary), dataset)
        measured["teacher"] = measure_export(folder, sample_request(teacher, dataset))
    print(as_table(found, measured, [NOTE]))
    print(f"run       {student.folder}")
    print(f"export    {exported}")


if __name__ == "__main__":
    raise SystemExit(main())

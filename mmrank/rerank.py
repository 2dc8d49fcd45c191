"""A policy that rearranges pages: `python -m mmrank.rerank`."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence

import yaml

from mmrank.config import ConfigError
from mmrank.outputs import OutputError, exit_code, log_progress, refuse_filled, write_whole
from mmrank.rerank_job.source import CONFIG, RESULTS, Source, read_config
from mmrank.reranking.config import RANKER

EXAMPLE = """\
example:
  python -m mmrank.rerank --config configs/rerank.yaml --out runs/rerank
  python -m mmrank.rerank --config configs/rerank.yaml --set user=anchoring --out runs/anchoring
  python -m mmrank.rerank --run runs/shop --out runs/shop-pages
  python -m mmrank.rerank --log logs/shop --run runs/shop --out runs/shop-logged

Without --run, pages are drawn at random. With it, they are the top of the ranker's lists, and
`python -m mmrank.export --run RUN --policy OUT` exports the ranker with the policy. A user model
says what each order of a page is worth; the policy does not see it. With --log, the policy learns
from pages that were shown, and no user model is needed.

OUT gets the config, checkpoints, TensorBoard's logs, the weights, results.json and the table that
is printed: the policy next to the ranker's order, maximal marginal relevance, the order by
predicted clicks, a random order, and the best of all orders; with --log, what the latest part of
the log says that the policy gains. With pages.lengths, lengths.json has the same for each of those
lengths.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(
        lambda: _run(args), "checkpoints are kept; run the command with --resume to continue"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.rerank",
        description="Trains a policy that rearranges result pages, and compares it.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument(
        "--config", type=path, metavar="FILE", help="config (default: all defaults)"
    )
    parser.add_argument("--out", required=True, type=path, metavar="OUT", help="new folder")
    parser.add_argument("--run", type=path, metavar="RUN", help="folder of a trained ranker")
    parser.add_argument(
        "--data", type=path, metavar="DIR", help="dataset of its pages (default: the run's own)"
    )
    parser.add_argument(
        "--log", type=path, metavar="LOG", help="folder of shown pages, to learn from them"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override a config value"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue a stopped training in OUT",
    )
    return parser


def _run(args: argparse.Namespace) -> None:
    given = Source(*(None if p is None else str(p) for p in (args.run, args.data, args.log)))
    if args.resume:
        if args.config is not None or args.set or given != Source():
            raise ConfigError(
                "--resume: config and pages are those of OUT; leave --config, --set, --run, "
                "--data and --log out"
            )
        if not (args.out / CONFIG).is_file():
            raise OutputError(f"{args.out}: no training to resume; run it without --resume")
        source = Source.read(args.out)
        config = read_config(args.out / CONFIG, [], source)
    else:
        refuse_filled(args.out)
        source, config = given, read_config(args.config, args.set, given)
    source.check()
    if (args.out / RESULTS).exists():
        raise OutputError(f"{args.out}: this training is finished; give a new folder")

    def start() -> None:
        args.out.mkdir(parents=True, exist_ok=True)
        if not args.resume:
            source.write(args.out)
            text = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)
            write_whole(args.out / CONFIG, text)

    if config.peers:
        from mmrank.reranking.peers import PEERS, load_torch_first

        for name in config.peers:
            PEERS.check_installed(name)
            load_torch_first()
    if config.agent == RANKER:
        from mmrank.rerank_job.ranker import keep_order as learn
    elif source.log is not None:
        from mmrank.rerank_job.log import learn_from_log as learn
    else:
        from mmrank.rerank_job.users import learn_from_users as learn
    learn(config, source, args.out, args.resume, start)


if __name__ == "__main__":
    raise SystemExit(main())

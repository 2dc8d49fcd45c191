"""Plays the round from ranking to training again, with simulated users in front of a real server.

    python -m pipelines.close_the_loop --config configs/close_the_loop.yaml --out runs/loop

A ranker learns from a small old log of a simulated shop. Then, round after round: it is exported
with a policy and served; users search, read the page and send feedback; the server logs pages and
feedback; the log judges a policy; and a ranker, and a policy, learn from the log. Each step is a
command that the program prints, so that it can be repeated by hand. In the end all rankers are
compared by true grades, which no ranker has seen.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pandas as pd
from tqdm import tqdm

from mmrank.outputs import UserError, exit_code, log_progress, refuse_filled, write_whole
from pipelines.benchmarks.server_process import server_process

EXAMPLE = """\
example:
  python -m pipelines.close_the_loop --config configs/close_the_loop.yaml --out runs/loop
  python -m pipelines.close_the_loop --config my.yaml --user saturation --rounds 3 --out runs/loop3
"""
FEATURES = (
    "title:text", "price:number", "rating:number", "rating_count:number", "sales:number",
    "brand:category",
)  # fmt: skip
OLD = {
    "list": "list_id", "item": "item_id", "position": "position", "click": "click",
    "query": "query", "time": "time", "dwell": "dwell", "purchase": "purchase",
}  # fmt: skip
METRIC = "ndcg@10"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.close_the_loop",
        description=(__doc__ or "").splitlines()[0],
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", required=True, type=pathlib.Path, metavar="OUT", help="new folder")
    add("--config", required=True, type=pathlib.Path, help="config of the rankers")
    add("--items", default=1000, type=_count, help="products of the shop")
    add("--old", default=150, type=_count, help="pages of the old log")
    add("--pages", default=1200, type=_count, help="pages shown in each round")
    add("--rounds", default=2, type=_count, help="rounds")
    add("--user", default="position_based", help="model of the users")
    add("--epsilon", default=0.3, type=float, help="share of the pages with a swap at random")
    add("--size", default=6, type=_count, help="candidates that the policy may move")
    add("--seed", default=0, type=int, help="seed of shop and users")
    args = parser.parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _run(args: argparse.Namespace) -> None:
    refuse_filled(args.out)
    from mmrank.reranking.users import USERS

    USERS.options(args.user, {}, "--user")
    if not args.config.is_file():
        raise UserError(f"--config: {args.config}: no such file")
    out = args.out
    out.mkdir(parents=True, exist_ok=True)
    shop, log = out / "shop", out / "log"
    asked = args.old + args.rounds * args.pages
    # The test lists are a tenth; what is searched for comes before them.
    _command(
        "mmrank.simulate", "--out", shop, "--items", args.items,
        "--queries", int(np.ceil(asked / 0.9)) + 1, "--seed", args.seed,
    )  # fmt: skip
    lists = pd.read_parquet(shop / "lists.parquet")
    pages = lists["list_id"].drop_duplicates().to_numpy()[:asked]
    old = lists[lists["list_id"].isin(pages[: args.old])]
    old.drop(columns=["grade", "split"]).to_parquet(out / "old.parquet", index=False)
    columns = [each for role, column in OLD.items() for each in (f"--{role}", column)]
    run = _train(args, 0, ["--log", out / "old.parquet", *columns])
    policy = out / "policy-0"
    _command(
        "mmrank.rerank", "--run", run, "--out", policy, "--set", "agent=ranker",
        "--set", f"pages.size={args.size}",
    )  # fmt: skip
    runs = [run]
    for number in range(1, args.rounds + 1):
        _command("mmrank.export", "--run", run, "--policy", policy)
        first = args.old + (number - 1) * args.pages
        _show(args, shop, run / "export", log, number, pages[first : first + args.pages])
        before = run
        run = _train(args, number, ["--log", log])
        runs.append(run)
        learned = out / f"policy-{number}"
        _command(
            "mmrank.rerank", "--log", log, "--run", before, "--out", learned,
            "--set", f"pages.size={args.size}", "--set", "most_moves=1",
        )  # fmt: skip
        # What the exploration costs: the ranker's own order against what was shown. The policy has
        # been judged already, by the latest pages, from which it did not learn.
        _command("mmrank.judge", "--log", log, "--policy", "ranker", fails=True)
        # Item vectors of the new ranker mean something else: it starts without a policy.
        policy = out / f"policy-{number}-next"
        _command(
            "mmrank.rerank", "--run", run, "--out", policy, "--set", "agent=ranker",
            "--set", f"pages.size={args.size}",
        )  # fmt: skip
    _compare(shop, runs, out)


def _train(args: argparse.Namespace, number: int, source: Sequence[object]) -> pathlib.Path:
    """A ranker that learned from a log, and its folder."""
    data, run = args.out / f"data-{number}", args.out / f"run-{number}"
    features = [each for text in FEATURES for each in ("--feature", text)]
    catalog = args.out / "shop" / "catalog.parquet"
    _command("pipelines.prepare_logs", *source, "--catalog", catalog, "--out", data, *features)
    _command("mmrank.train", "--config", args.config, "--data", data, "--out", run)
    return run


def _show(
    args: argparse.Namespace,
    shop: pathlib.Path,
    model: pathlib.Path,
    log: pathlib.Path,
    number: int,
    pages: np.ndarray,
) -> None:
    """Serves an export, and plays users who search and send feedback."""
    from mmrank.data.tables import load_dataset
    from mmrank.reranking.shop_truth import ShopTruth
    from mmrank.reranking.users import USERS

    dataset, user = load_dataset(shop), USERS.make(args.user)
    truth = ShopTruth.of(dataset)
    assert truth is not None
    rng = np.random.default_rng([args.seed, number])
    settings = {
        "log.folder": log,
        "rerank.exploration": "pair_swap",
        "rerank.options": json.dumps({"epsilon": args.epsilon}),
    }
    lists = dict(iter(dataset.lists.groupby("list_id", sort=False)))
    with (
        server_process(model, settings, args.out / f"server-{number}.log") as server,
        httpx.Client(base_url=f"http://{server.rest}", timeout=30) as client,
    ):
        for page in tqdm(pages, desc=f"round {number}: pages", disable=None):
            rows = lists[page].sort_values("item_id")
            request = {
                "query": rows["query"].iloc[0],
                "candidates": rows["item_id"].tolist(),
                "rerank": True,
            }
            answer = _posted(client, "/rank", request)
            index = np.array([entry["index"] for entry in answer["ranked"]])
            seen = truth.page(rows, np.zeros(len(rows))).take(index)
            did = user.session(seen, rng)
            items = np.array([entry["item"] for entry in answer["ranked"]])
            feedback = {
                "page": answer["page"],
                "clicks": items[did.clicks].tolist(),
                "dwell": dict(
                    zip(items[did.clicks].tolist(), did.dwell[did.clicks].tolist(), strict=True)
                ),
                "purchases": items[did.purchases].tolist(),
            }
            _posted(client, "/feedback", feedback)


def _posted(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(path, json=body)
    if answer.status_code != httpx.codes.OK:
        raise UserError(f"{path}: {answer.text.strip()}")
    reply: dict[str, Any] = answer.json()
    return reply


def _compare(shop: pathlib.Path, runs: Sequence[pathlib.Path], out: pathlib.Path) -> None:
    """Compares the rankers by true grades on lists that nobody searched for yet."""
    from mmrank.data.tables import load_dataset
    from mmrank.evaluation.metrics import per_list
    from mmrank.evaluation.offline import list_offsets
    from mmrank.evaluation.significance import bootstrap_intervals, compare
    from mmrank.trained_run import load_run

    dataset = load_dataset(shop)
    rows = dataset.rows("test")
    grades, offsets = rows["grade"].to_numpy(float), list_offsets(rows["list_id"])
    values = {}
    for run in runs:
        scores = load_run(run).score(dataset, rows)
        found = per_list(scores, grades, offsets, metrics=[METRIC])[METRIC]
        values[run.name] = found[~np.isnan(found)]  # lists without a relevant item
    intervals = bootstrap_intervals(np.stack(list(values.values()), -1))
    tests = compare({n: {METRIC: v} for n, v in reversed(values.items())})
    lines = ["", f"NDCG@10 by true grades, {rows['list_id'].nunique()} test lists"]
    for name, interval in zip(values, intervals, strict=True):
        lines.append(f"{name}  {interval.mean:.4f} [{interval.low:.4f} {interval.high:.4f}]")
    last = runs[-1].name
    for test in tests:
        lines.append(f"{last} - {test.b}  {test.difference.mean:+.4f}  p {test.p_holm:.4f}")
    result = {n: dataclasses.asdict(i) for n, i in zip(values, intervals, strict=True)}
    write_whole(out / "rounds.json", json.dumps(result, indent=2) + "\n")
    print("\n".join(lines))


def _command(module: str, *arguments: object, fails: bool = False) -> None:
    """Prints and runs a command; `fails` says that its exit code may be 2."""
    words = ["-m", module, *map(str, arguments)]
    print(f"\n$ python {shlex.join(words)}", flush=True)
    code = subprocess.run([sys.executable, *words], check=False).returncode
    if code != 0 and not (fails and code == 2):
        raise UserError(f"{module} ended with exit code {code}; its message is above")


if __name__ == "__main__":
    sys.exit(main())

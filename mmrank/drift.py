"""Command line: compares lists or a server's requests with an export's training data."""

from __future__ import annotations

import argparse
import http.client
import os
import pathlib
import urllib.parse
from collections.abc import Sequence

import numpy as np

from mmrank.config import ConfigError
from mmrank.data.tables import DataError
from mmrank.data.validation import checked_dataset
from mmrank.outputs import InputError, exit_code, log_progress, require_extra
from mmrank.schema import did_you_mean
from mmrank.server.monitor.config import Drift
from mmrank.serving.drift.reference import FILE, Reference
from mmrank.serving.drift.report import Counts, compare, table
from mmrank.serving.versions import version_folder, versions

KEY = "MMRANK_API_KEY"
DRIFTED = 1
SECONDS = 10.0
MOST_BYTES = 1 << 26
EXAMPLE = f"""examples:
  python -m mmrank.drift --model runs/quickstart-1/export --data data/this-week --split all
  python -m mmrank.drift --model runs/quickstart-1/export --server http://127.0.0.1:8501

Prints the population stability index of every feature, the largest first. The exit code is 1 if
one is above its limit. --server reads the counts of all requests since the server started; if the
server needs an API key, it is read from {KEY}.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 if a feature drifted, 2 for wrong input, 130 when interrupted.

    Args:
      argv: The arguments, those of the process unless given.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), "nothing was changed")


def _run(args: argparse.Namespace) -> int:
    reference = _reference(args.model)
    limits = _limits(args.limit, reference)
    if args.data is not None:
        counts = _of_data(reference, args.data, args.split)
    else:
        counts = _of_server(reference, args.server)
    shifts = compare(reference, counts, limits.limit, args.least)
    if not shifts:
        raise InputError("nothing to compare: no watched feature has a value")
    print(table(shifts))
    return DRIFTED if any(s.drifted for s in shifts) else 0


def _reference(model: pathlib.Path) -> Reference:
    """The training data's distribution in an export, or in the newest export of a folder."""
    if not model.is_dir():
        raise InputError(f"--model: {model}: no such folder")
    numbered = [version_folder(model, n) for n in versions(model)[-1:]]
    for folder in (model, *numbered):
        found = Reference.load(folder / "assets.extra" / FILE)
        if found is not None:
            return found
    raise InputError(
        f"--model: {model}: no {FILE} in an export there; export the run again with `python -m "
        "mmrank.export --run RUN`"
    )


def _limits(given: Sequence[str], reference: Reference) -> Drift:
    """The limits, parsed from texts such as 0.2 and price=0.4."""
    known = {b.feature for b in reference.bins}
    threshold, features = Drift().threshold, {}
    for text in given:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise ConfigError(f"--limit {text!r}: write it as 0.2 or price=0.4") from None
        if not equals:
            threshold = value
        elif name in known:
            features[name] = value
        else:
            raise ConfigError(f"--limit: unknown feature {name!r}{did_you_mean(name, known)}")
    return Drift(threshold=threshold, features=features)


def _of_data(reference: Reference, folder: pathlib.Path, split: str) -> Counts:
    """The counts of a prepared dataset's lists."""
    if not folder.is_dir():
        raise InputError(f"--data: {folder}: no such folder")
    dataset = checked_dataset(folder, training=False, graded=False)
    watched = {b.feature for b in reference.bins}
    there = {f.name for f in dataset.schema.side("item", "query", "user", "pair")}
    for name in watched:
        if name not in there:
            raise DataError(
                f"{folder}: the schema has no feature {name!r}{did_you_mean(name, there)}"
            )

    from mmrank.features import make_features
    from mmrank.serving.drift.training import samples

    features = make_features(dataset.schema, {}, sorted(there - watched))
    return {
        (name, bins.measure): bins.count(values, present)
        for name, values, present in samples(features, dataset, split)
        for bins in reference.of(name)
    }


def _of_server(reference: Reference, url: str) -> Counts:
    """The counts of all requests since a server started."""
    require_extra("--server", "prometheus_client", "serving")
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[tuple[str, str, str], float] = {}
    for family in text_string_to_metric_families(_page(url)):
        for sample in family.samples:
            if sample.name == "mmrank_feature_values_total":
                labels = sample.labels
                found[labels["feature"], labels["measure"], labels["bin"]] = sample.value
    if not found:
        raise InputError(f"--server: {url}: no mmrank_feature_values_total among its metrics")
    return {
        (b.feature, b.measure): np.array(
            [found.get((b.feature, b.measure, label), 0.0) for label in b.labels]
        )
        for b in reference.bins
    }


def _page(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise InputError(f"--server: {url!r}: expected an address such as http://127.0.0.1:8501")
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=SECONDS)
    key = os.environ.get(KEY)
    path = f"{parts.path.rstrip('/')}/monitoring/prometheus/metrics"
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
        reply = connection.getresponse()
        text = reply.read(MOST_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"--server: {url}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if reply.status != 200:
        raise InputError(f"--server: {url}{path}: status {reply.status}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.drift",
        description="Compares values with an export's training data, feature by feature.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        type=pathlib.Path,
        required=True,
        metavar="DIR",
        help="an export, or the folder of the numbered exports",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--data", type=pathlib.Path, metavar="DIR", help="a prepared dataset with other lists"
    )
    source.add_argument("--server", metavar="URL", help="address of a running mmrank.serve")
    parser.add_argument(
        "--split",
        default="all",
        choices=("train", "valid", "test", "all"),
        help="the lists of --data to read (default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="[FEATURE=]PSI",
        help="index above which a feature has drifted, for all features (default: "
        f"{Drift().threshold}) or for one; may be repeated",
    )
    parser.add_argument(
        "--least",
        type=int,
        default=300,
        help="fewest values for which a feature is judged (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

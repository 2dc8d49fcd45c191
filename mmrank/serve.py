"""Serves an exported ranker over REST and gRPC: `python -m mmrank.serve --model DIR`."""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import sys
from collections.abc import Sequence

from mmrank.outputs import exit_code, log_progress, require_extra

EXAMPLE = """\
example:
  python -m mmrank.serve --model runs/quickstart-1/export
  curl -s localhost:8501/v1/models/ranker
  python -m mmrank.serve --model runs/quickstart-1/export --config serve.yaml \\
      --set listen.rest_port=9000 --set batching.max_batch_size=16

DIR holds numbered exports. The server serves the highest number and loads new ones without a
restart. The API is that of TensorFlow Serving. It listens on the loopback address only, unless
listen.host is set. After SIGTERM it answers the requests in progress and ends.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 after SIGTERM, 2 for wrong input."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), "the server has ended")


def _run(args: argparse.Namespace) -> None:
    for module in (
        "starlette",
        "uvicorn",
        "orjson",
        "prometheus_client",
        "limits",
        "structlog",
        "cachetools",
    ):
        require_extra("python -m mmrank.serve", module, "serving")
    from mmrank.server.config import load_server_config
    from mmrank.server.versions import check_model

    config = load_server_config(args.config, args.set, args.model)
    check_model(config.model)
    from mmrank.server.machine import free_tensors_at_once
    from mmrank.server.monitor.native import diverted

    free_tensors_at_once()
    with diverted() as native:
        # TensorFlow takes seconds to import, so wrong input is reported before.
        from mmrank.server.run import serve

        asyncio.run(serve(config, native))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.serve",
        description="Serves an exported ranker with TensorFlow Serving's REST and gRPC API.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", type=pathlib.Path, metavar="DIR", help="folder of the numbered exports"
    )
    parser.add_argument(
        "--config", type=pathlib.Path, metavar="FILE", help="config of the server, in YAML"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        help="override a value of the config; may be repeated",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

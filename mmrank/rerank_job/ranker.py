"""Makes a policy that keeps the ranker's order, so that pages can be logged for others."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from mmrank.config import ConfigError
from mmrank.outputs import write_whole
from mmrank.rerank_job.about import about_of_ranker, print_next
from mmrank.rerank_job.source import RESULTS, Source
from mmrank.reranking.config import RANKER, RerankConfig
from mmrank.reranking.dqn import Policy
from mmrank.reranking.trained import WEIGHTS, network_of, write_about
from mmrank.trained_run import load_run

__all__ = ["keep_order"]


def keep_order(
    config: RerankConfig,
    source: Source,
    out: pathlib.Path,
    resume: bool,
    start: Callable[[], None],
) -> None:
    """Writes a policy that makes no move; arguments as for `learn_from_users`.

    Raises:
      ConfigError: There is no ranker.
    """
    if source.run is None:
        raise ConfigError(f"agent {RANKER}: keeps the order of a ranker; give --run")
    run = load_run(source.run)
    width = int(run.model.scorer.input["tokens"].shape[-1])
    start()
    Policy(network_of(config, width)).save(out / WEIGHTS)
    write_about(out, about_of_ranker(run, config.columns, width))
    write_whole(out / RESULTS, "[]\n")
    print_next(source, out)

"""Learns a policy from shown pages, and says what the latest of them predict."""

from __future__ import annotations

import json
import logging
import pathlib
from collections.abc import Callable

import numpy as np

from mmrank.data.page_log import read_page_log
from mmrank.outputs import write_whole
from mmrank.rerank_job.about import about_of_ranker, print_next
from mmrank.rerank_job.source import RESULTS, Source
from mmrank.reranking.config import RerankConfig
from mmrank.reranking.guards import Guards
from mmrank.reranking.judging.report import as_json, table
from mmrank.reranking.logged import check_one_ranker, sessions_of, usable_pages
from mmrank.reranking.offline import LogObserver, divided, orders_by, predicted_gain, train_offline
from mmrank.reranking.offline.division import sessions_at
from mmrank.reranking.trained import About, write_about
from mmrank.serving.fingerprint import item_fingerprint
from mmrank.trained_run import load_run

__all__ = ["learn_from_log"]

BASE = "base"  # what is shown without exploration
logger = logging.getLogger(__name__)


def learn_from_log(
    config: RerankConfig,
    source: Source,
    out: pathlib.Path,
    resume: bool,
    start: Callable[[], None],
) -> None:
    """Learns a policy from shown pages, and writes and prints what the latest of them predict.

    Arguments as for `learn_from_users`.

    Raises:
      ConfigError, DataError, InputError: The log cannot be used.
    """
    assert source.log is not None
    log = read_page_log(pathlib.Path(source.log))
    run = None if source.run is None else load_run(source.run)
    fingerprint = None if run is None else item_fingerprint(run.model, run.fitted)
    pages = usable_pages(log, fingerprint)
    check_one_ranker(pages)
    sessions = sessions_of(log, config.pages.size, fingerprint)
    times = np.array([page.shown.time for page in pages])
    earlier, latest = divided(times, config.offline.judged)
    judged = sessions_at(sessions, latest)
    logger.info("learning from %d pages, judging by %d later ones", len(earlier), len(latest))
    start()
    policy = train_offline(
        sessions_at(sessions, earlier),
        agent=str(config.agent),
        agent_options=config.agent_options,
        learning=config.offline,
        most_moves=config.most_moves,
        rewards=config.rewards,
        guards=config.guards,
        seed=config.seed,
        folder=out,
        resume=resume,
    )
    width = sessions.pages.vector.shape[-1]
    # Without the ranker, the policy can be judged, but not exported.
    write_about(out, About(width) if run is None else about_of_ranker(run, config.columns, width))
    observer = LogObserver(judged, config.most_moves, Guards(config.guards))
    orders = orders_by(policy.network, observer)
    records = [pages[row].shown.exploration for row in latest.tolist()]
    said, overlap = predicted_gain(judged, records, orders, config.rewards, seed=config.seed)
    plain = as_json(said, overlap, BASE)
    write_whole(out / RESULTS, json.dumps(plain, indent=2, allow_nan=False) + "\n")
    print(f"on the {len(judged):,} latest pages of {source.log}\n{table(said, overlap, BASE)}")
    print_next(source, out)

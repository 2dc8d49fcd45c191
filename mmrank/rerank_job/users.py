"""Learns a policy by making moves on pages of users of a model, and compares it."""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmrank.config import ConfigError
from mmrank.data.tables import DataError, load_dataset
from mmrank.outputs import write_whole
from mmrank.rerank_job.about import about_of_ranker, print_next
from mmrank.rerank_job.source import RESULTS, Source
from mmrank.reranking.config import DQN, DrawnPages, RerankConfig
from mmrank.reranking.dqn import train_policy
from mmrank.reranking.drawn import draw_page
from mmrank.reranking.environment import RerankEnv
from mmrank.reranking.guards import Guards
from mmrank.reranking.orders import ORDERS
from mmrank.reranking.page import MOST_TRIED, Page
from mmrank.reranking.peers import PEERS
from mmrank.reranking.ranker_pages import pages_of_ranker
from mmrank.reranking.results import OrderResult, as_json, compare_orders, table
from mmrank.reranking.trained import About, write_about
from mmrank.trained_run import load_run

__all__ = ["learn_from_users"]

LENGTHS = "lengths.json"
Draw = Callable[[np.random.Generator], Page]
logger = logging.getLogger(__name__)


def learn_from_users(
    config: RerankConfig,
    source: Source,
    out: pathlib.Path,
    resume: bool,
    start: Callable[[], None],
) -> None:
    """Learns a policy from moves on pages, and writes and prints how it compares.

    Args:
      config: The configuration.
      source: Where the pages come from.
      out: Gets all files.
      resume: Whether to continue a training in `out`.
      start: Called once nothing can be wrong any more, before the first file is written.

    Raises:
      ConfigError, DataError: The pages cannot be made.
    """
    pages = config.pages
    about, draw, test = _drawn(config) if source.run is None else _ranked(config, source)
    env = _environment(config, draw, pages.size)
    start()
    policy = train_policy(env, config.dqn, seed=config.seed, folder=out, resume=resume)
    write_about(out, about)
    policies = {DQN: policy}
    for name in config.peers:
        logger.info("training %s", name)
        policies[name] = PEERS.make(name)(env, config.dqn, config.seed)
    by_length = {}
    for length in pages.lengths:
        # A peer takes no longer pages than those that it learned from.
        able = policies if length <= pages.size else {DQN: policy}
        of_length = dataclasses.replace(pages, size=length, shortest=None)
        by_length[length] = _compared(config, test(of_length), able)
    pages_of_test = test(pages)
    results = _compared(config, pages_of_test, policies)
    if by_length:
        plain = {length: as_json(rows) for length, rows in by_length.items()}
        write_whole(out / LENGTHS, json.dumps(plain, indent=2) + "\n")
    write_whole(out / RESULTS, json.dumps(as_json(results), indent=2) + "\n")
    lengths = sorted({page.size for page in pages_of_test})
    sizes = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[0]}"
    for each, rows in ((sizes, results), *by_length.items()):
        title = f"{config.user}, {len(pages_of_test)} pages of {each} candidates"
        print(f"\n{title}\n\n{table(rows)}")
    print_next(source, out)


def _drawn(config: RerankConfig) -> tuple[About, Draw, Callable[[DrawnPages], list[Page]]]:
    """Pages drawn at random: what they are, one of the training, and all of the test."""

    def draw(pages: DrawnPages, rng: np.random.Generator) -> Page:
        return draw_page(pages.size, rng, pages.groups, pages.noise, pages.shortest)

    def test(pages: DrawnPages) -> list[Page]:
        # Training draws from seeds of its own, so that no test page is a training page.
        rng = np.random.default_rng([config.seed, 1])
        return [draw(pages, rng) for _ in range(pages.test)]

    return About(config.pages.groups), lambda rng: draw(config.pages, rng), test


def _ranked(
    config: RerankConfig, source: Source
) -> tuple[About, Draw, Callable[[DrawnPages], list[Page]]]:
    """Pages of a ranker, as `_drawn` returns them."""
    if config.pages.lengths or config.pages.shortest is not None:
        raise ConfigError("pages: lengths and shortest are of drawn pages; leave them out")
    assert source.run is not None
    run = load_run(source.run)
    folder = run.data if source.data is None else pathlib.Path(source.data)
    if not folder.is_dir():
        raise DataError(f"{folder}: the run's dataset does not exist; give one with --data")
    logger.info("ranking the lists of %s", folder)
    dataset = load_dataset(folder)
    pages = pages_of_ranker(run, dataset, config.columns, config.pages.size, config.pages.test)
    logger.info("%d training pages, %d test pages", len(pages.train), len(pages.test))
    about = about_of_ranker(run, config.columns, pages.test[0].vector.shape[-1])
    return about, pages.draw, lambda _: list(pages.test)


def _environment(config: RerankConfig, draw: Draw, size: int) -> RerankEnv:
    """The environment of the training, or one for longer pages."""
    return RerankEnv(
        draw,
        config.user,
        config.options,
        size=max(size, config.pages.size),
        most_moves=config.most_moves,
        rewards=config.rewards,
        when="difference",
        guards=Guards(config.guards, config.rules),
    )


def _compared(
    config: RerankConfig, test: list[Page], policies: Mapping[str, Any]
) -> list[OrderResult]:
    """The policies next to the orders that need no learning, on test pages."""
    longest = max(page.size for page in test)
    logger.info("comparing with other orders on %d pages of up to %d", len(test), longest)
    env = _environment(config, lambda _: test[0], longest)
    rng = np.random.default_rng([config.seed, 2])
    orders = {name: policy.orders(test, env) for name, policy in policies.items()}
    for name in ORDERS:
        if name == "exhaustive" and longest > MOST_TRIED:
            continue
        order = ORDERS.make(name)
        orders[name] = [order(page, env.user, env.rewards, rng) for page in test]
    return compare_orders(test, orders, env.user, env.rewards, seed=config.seed)

"""The simulated shop: a complete prepared dataset, drawn from a seed, with known true relevance."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable

import numpy as np
import pandas as pd

from mmrank.data.simulator.clicks import ClickModel
from mmrank.data.simulator.clips import write_clips
from mmrank.data.simulator.hidden import MOTION, SOUND, with_hidden
from mmrank.data.simulator.kinds import KINDS
from mmrank.data.simulator.logs import LONGEST, LoggingRanker, make_log
from mmrank.data.simulator.photos import photo_states
from mmrank.data.simulator.products import make_products
from mmrank.data.simulator.queries import make_queries
from mmrank.data.simulator.sounds import write_sounds
from mmrank.data.simulator.summary import Summary, summarize
from mmrank.data.simulator.users import make_population, past_events
from mmrank.data.simulator.write import HiddenMedia, write_dataset, write_simulation
from mmrank.outputs import OutputError, UserError, new_folder
from mmrank.schema import Feature

MIN_ITEMS, MIN_QUERIES, MIN_USERS = 2 * LONGEST, 10, 1
MAX_WEIGHT = 10.0

__all__ = ["OutputError", "Summary", "simulate"]


def simulate(
    out: str | pathlib.Path,
    items: int = 2000,
    queries: int = 3000,
    users: int = 500,
    seed: int = 0,
    progress: Callable[[int], object] = lambda steps: None,
    *,
    clips: float = 0.0,
    sounds: float = 0.0,
    eta: float = ClickModel.eta,
    sales_weight: float = LoggingRanker.sales,
    randomised: float = 0.0,
    match: bool = False,
    kind: str = "overlapping",
) -> Summary:
    """Writes a simulated shop into `out` and returns its summary.

    The same arguments give the same bytes in every table and photo. The folder appears only when
    it is complete.

    Args:
      out: Folder to make; absent or empty.
      items: Number of products, at least 60.
      queries: Number of logged result pages, one list each, at least 10. The number of distinct
        queries is about a third of this; popular queries are repeated (Zipf).
      users: Number of users, at least 1.
      seed: Seed, not negative.
      progress: Called with 1 after each logged page, and for each item after its photo and, if
        the shop has them, after its clip and its sound.
      clips: Share of the items that have a clip, 0 to 1. Above 0, every product swings, bounces,
        spins or blinks. Only the clips show this, and many queries ask for it.
      sounds: Share of the items that have a recording, 0 to 1. Above 0, every product hums, beeps,
        rings or rustles. Only the recordings reveal this, and many queries ask for it.
      eta: Severity of the position bias: the probability that position k is examined is k^−eta.
      sales_weight, randomised, match: Properties of the ranker that ordered the logged pages; see
        `LoggingRanker`.
      kind: Name of the kind of shop, which sets what texts name, what queries ask for and what
        users like: `overlapping`, or `complementary`, where text, photo, numbers and history each
        hold information that the others lack. See `mmrank/data/simulator/kinds.py`.

    Returns:
      The figures of the shop.

    Raises:
      UserError: An argument is out of range.
      OutputError: `out` is not empty.

    Example:
      >>> summary = simulate("shop", items=60, queries=20, users=5, seed=1)
      >>> summary.items, summary.lists
      (60, 20)
      >>> summary.ndcg_random < summary.ndcg_logged
      True
    """
    arguments: dict[str, float] = {"items": items, "queries": queries, "users": users, "seed": seed}
    least = {"items": MIN_ITEMS, "queries": MIN_QUERIES, "users": MIN_USERS, "seed": 0}
    for name, value in arguments.items():
        if value < least[name]:
            raise UserError(f"{name} is {value}, but must be at least {least[name]}")
    for name, share in {"clips": clips, "sounds": sounds, "randomised": randomised}.items():
        if not 0 <= share <= 1:
            raise UserError(f"{name} is {share}, but must be from 0 to 1")
        if share:
            arguments[name] = share
    for name, weight in {"eta": eta, "sales_weight": sales_weight}.items():
        if not 0 <= weight <= MAX_WEIGHT:
            raise UserError(f"{name} is {weight}, but must be from 0 to {MAX_WEIGHT}")
    if sales_weight != LoggingRanker.sales:
        arguments["sales_weight"] = sales_weight
    if kind not in KINDS:
        raise UserError(f"kind is {kind!r}, but must be one of {', '.join(KINDS)}")
    recorded: dict[str, float | str] = dict(arguments)
    if kind != "overlapping":
        recorded["kind"] = kind
    model = ClickModel(eta=eta)
    ranker = LoggingRanker(sales_weight, randomised, match)
    with new_folder(pathlib.Path(out)) as folder:
        # Each part has its own random stream: more users do not change the products.
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(9)]
        products = make_products(items, streams[0], KINDS[kind])
        states = photo_states(items, streams[1])
        population = make_population(users, streams[2])
        asked = make_queries(max(8, queries // 3), products, streams[3], KINDS[kind])
        hidden: list[HiddenMedia] = []
        if clips:
            products, asked = with_hidden(products, asked, MOTION, streams[7])
            write = functools.partial(
                write_clips, products=products, share=clips, rng=streams[7], progress=progress
            )
            hidden.append((Feature("clip", "video", "item", "clip"), write))
        if sounds:
            products, asked = with_hidden(products, asked, SOUND, streams[8])
            write = functools.partial(
                write_sounds, products=products, share=sounds, rng=streams[8], progress=progress
            )
            hidden.append((Feature("sound", "audio", "item", "sound"), write))
        past = past_events(population, products, streams[4], KINDS[kind])
        lists, caused = make_log(
            queries, products, population, asked, model, streams[5], progress, ranker, KINDS[kind]
        )
        events = pd.concat([past, caused], ignore_index=True)
        write_dataset(folder, products, states, asked, lists, events, streams[6], progress, hidden)
        write_simulation(folder, recorded, model)
    return summarize(lists, len(events), states)

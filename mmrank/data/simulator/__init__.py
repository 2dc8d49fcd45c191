"""The simulated shop: a whole prepared dataset, drawn from a seed, whose truth is known."""

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
from mmrank.data.simulator.shoppers import make_shoppers, past_events
from mmrank.data.simulator.sounds import write_sounds
from mmrank.data.simulator.summary import Summary, summarize
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
    """A summary of the simulated shop that is written into `out`.

    The same arguments give the same bytes in every table and photo. The folder appears only when
    it is complete.

    Args:
      out: Folder to make; absent or empty.
      items: Products, at least 60.
      queries: Logged result pages, one list each, at least 10. A page asks one of about a third as
        many distinct queries; popular ones come back (Zipf).
      users: Shoppers, at least 1.
      seed: Not negative.
      progress: Called with 1 after each logged page, and for each item after its photo and, if
        there are any, its clip and its sound.
      clips: Share of the items that have a clip, 0 to 1. Above 0, products swing, bounce, spin or
        blink, which nothing but their clips tells and many queries ask for.
      sounds: Share of the items that have a recording, 0 to 1. Above 0, products hum, beep, ring or
        rustle, likewise.
      eta: Severity of the position bias: position k is looked at with a chance of k^−eta.
      sales_weight, randomised, match: Of the ranker that ordered the logged pages, see
        `LoggingRanker`.
      kind: What texts tell, what is asked for and what shoppers like, by name: `overlapping`, or
        `complementary`, where text, photo, numbers and history each tell what the others do not.
        See `mmrank/data/simulator/kinds.py`.

    Returns:
      The figures of the shop.

    Raises:
      UserError: An argument is out of range.
      OutputError: `out` holds something.
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
    told: dict[str, float | str] = dict(arguments)
    if kind != "overlapping":
        told["kind"] = kind
    model = ClickModel(eta=eta)
    ranker = LoggingRanker(sales_weight, randomised, match)
    with new_folder(pathlib.Path(out)) as folder:
        # A stream of chance of its own for each part: more shoppers leave the products as they are.
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(9)]
        products = make_products(items, streams[0], KINDS[kind])
        states = photo_states(items, streams[1])
        shoppers = make_shoppers(users, streams[2])
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
        past = past_events(shoppers, products, streams[4], KINDS[kind])
        lists, caused = make_log(
            queries, products, shoppers, asked, model, streams[5], progress, ranker, KINDS[kind]
        )
        events = pd.concat([past, caused], ignore_index=True)
        write_dataset(folder, products, states, asked, lists, events, streams[6], progress, hidden)
        write_simulation(folder, told, model)
    return summarize(lists, len(events), states)

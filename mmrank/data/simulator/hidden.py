"""Attributes that no text, tag or photo reveals, but only the clip or the sound of an item."""

from __future__ import annotations

import dataclasses

import numpy as np

from mmrank.data.simulator.products import Products
from mmrank.data.simulator.queries import Queries
from mmrank.data.simulator.world import LANGUAGES, Hidden, Value

ASKED_SHARE = 0.4  # share of the queries that ask for each hidden attribute

MOTION = Hidden(
    "motion",
    (
        Value("swinging", ("左右摆动", "摇摆"), ("swinging", "swaying")),
        Value("bouncing", ("上下跳动", "弹跳"), ("bouncing", "jumping")),
        Value("spinning", ("旋转", "转动"), ("spinning", "rotating")),
        Value("blinking", ("闪烁", "闪光"), ("blinking", "flashing")),
    ),
)
SOUND = Hidden(
    "sound",
    (
        Value("humming", ("嗡嗡响", "低鸣"), ("humming", "droning")),
        Value("beeping", ("滴滴响", "蜂鸣"), ("beeping", "bleeping")),
        Value("ringing", ("叮当响", "清脆"), ("ringing", "chiming")),
        Value("rustling", ("沙沙响", "窸窣"), ("rustling", "crackling")),
    ),
)


def with_hidden(
    products: Products, queries: Queries, hidden: Hidden, rng: np.random.Generator
) -> tuple[Products, Queries]:
    """The products with one more attribute, and the queries, some of which now ask for it.

    Every product has a value of the attribute; all values are equally likely. A query that asks for
    the attribute names the value of a product that matches the rest of the query, so that at least
    one product matches all of it.
    """
    values = rng.integers(len(hidden.values), size=len(products))
    wanted = np.full(len(queries), -1)
    texts = list(queries.text)
    for q in np.flatnonzero(rng.random(len(queries)) < ASKED_SHARE):
        named = queries.wanted[q] >= 0
        fit = (products.attributes[:, named] == queries.wanted[q, named]).all(axis=1)
        fitting = np.flatnonzero(fit & (products.types == queries.types[q]))
        wanted[q] = values[fitting[int(rng.random() * len(fitting))]]
        texts[q] = _asking(texts[q], hidden.values[wanted[q]], rng)
    return (
        dataclasses.replace(
            products,
            attributes=np.column_stack([products.attributes, values]),
            named=np.column_stack([products.named, np.zeros(len(products), bool)]),
            hidden=(*products.hidden, hidden),
        ),
        dataclasses.replace(queries, wanted=np.column_stack([queries.wanted, wanted]), text=texts),
    )


def _asking(text: str, value: Value, rng: np.random.Generator) -> str:
    """The query with the value's word in front, in the query's language."""
    if text.isascii():
        return f"{value.word('en', rng)} {text}"
    if " " not in text:
        return value.word("zh", rng) + text
    return f"{value.word(LANGUAGES[int(rng.random() * 2)], rng)} {text}"

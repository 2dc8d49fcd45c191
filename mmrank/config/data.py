"""The section `data` of a config: which lists are read."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from mmrank.ranges import Count, Range, Seed, Share


@dataclasses.dataclass(frozen=True)
class Simulate:
    """The simulated shop that a run generates when it is given no data.

    Attributes:
      items, queries, users: How many of each the shop has.
      seed: The same seed gives the same shop.
      clips, sounds: Share of the items with a clip, and with a recording.
      kind: overlapping, or complementary: text, photo, numbers and history each hold information
        that the others lack.
    """

    items: Count = 2000
    queries: Count = 3000
    users: Count = 500
    seed: Seed = 0
    clips: Share = 0.0
    sounds: Share = 0.0
    kind: str = "overlapping"


@dataclasses.dataclass(frozen=True)
class Data:
    """Which lists are read, and how they are truncated and padded.

    Attributes:
      path: Folder of the prepared dataset; `--data` overrides it.
      simulate: Generates the simulated shop in RUN/data instead of reading `path`.
      buckets: Each list is padded to the smallest of these lengths that holds it.
      max_candidates: Training lists are cut to this many candidates, relevant ones kept first.
      cache: Folder that keeps the embeddings of frozen encoders for other runs: `auto` for
        mmrank/embeddings in XDG_CACHE_HOME or ~/.cache; null keeps them in memory.
      records: Folder with TFRecord shards of the training lists, which are then not read from the
        dataset's tables.
      window_lists: How many neighbouring lists of a shard are loaded and shuffled together.
      fit_lists: How many lists of the shards vocabularies and means are fitted on: the first ones
        of every shard, equally many of each.
    """

    path: str | None = None
    simulate: Simulate | None = None
    buckets: tuple[Count, ...] = (8, 16, 32, 64, 128, 256)
    max_candidates: Annotated[int, Range(2)] = 256
    cache: str | None = "auto"
    records: str | None = None
    window_lists: Count = 512
    fit_lists: Count = 100_000

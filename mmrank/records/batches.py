"""Batches from shards, with one window of lists in memory at a time.

The batches are reproducible: a stream that starts at batch n yields the same batches as a stream
that starts at batch 0 yields from batch n on.
"""

from __future__ import annotations

import functools
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mmrank.data.batches import Batch, Batches, ListArrays
from mmrank.data.tables import DataError
from mmrank.records.lists import RecordReader
from mmrank.records.shards import Window, messages

logger = logging.getLogger(__name__)


class RecordBatches:
    """Endless batches from the shards of a split, with the interface of `Batches`.

    In each pass a worker reads its shards in an order that is shuffled for that pass, and the
    windows of each shard one after another. Lists are shuffled, batched and cut within their
    window. A single window that holds all lists gives exactly the batches of `Batches`.

    Args:
      files: The shards.
      windows: The windows of all shards, in the order of the shards.
      reader: Turns messages into lists.
      make: Turns the lists of a window and a seed into its batches.
      seed: Seed of the run.

    Example:
      The windows give the numbers before any list is read:

      >>> import pathlib
      >>> from mmrank.records.shards import Window
      >>> windows = [
      ...     Window(shard=0, first=0, lists=4, batches=2, candidates=30, longest=9),
      ...     Window(shard=0, first=4, lists=3, batches=1, candidates=20, longest=8),
      ... ]
      >>> batches = RecordBatches([pathlib.Path("train.tfrecord")], windows, None, None, seed=0)
      >>> batches.per_pass, batches.size
      (3, (7, 50))
      >>> next(batches.stream(0, shard=(0, 2)))
      Traceback (most recent call last):
      mmrank.data.findings.DataError: .: 1 shard(s) for 2 workers; write at least one for each
    """

    def __init__(
        self,
        files: Sequence[pathlib.Path],
        windows: Sequence[Window],
        reader: RecordReader,
        make: Callable[[ListArrays, int], Batches],
        seed: int,
    ):
        self._files, self._windows = list(files), list(windows)
        self._reader, self._make, self._seed = reader, make, seed

    @property
    def per_pass(self) -> int:
        """The number of batches of a pass over all shards."""
        return sum(w.batches for w in self._windows)

    @property
    def size(self) -> tuple[int, int]:
        """The number of lists, and of their candidates after the cut."""
        return sum(w.lists for w in self._windows), sum(w.candidates for w in self._windows)

    @property
    def sample(self) -> ListArrays:
        """The lists of the first window."""
        return self._first.arrays

    @property
    def listwise(self) -> frozenset[str]:
        """Names of the arrays of a batch that have a value for each candidate, [B, L, ...]."""
        return self._first.listwise

    def largest(self) -> Batch:
        """The batch with the most candidates in the window with the longest list."""
        return self._largest

    @functools.cached_property
    def _first(self) -> Batches:
        return self._batches(0)

    @functools.cached_property
    def _largest(self) -> Batch:
        longest = max(range(len(self._windows)), key=lambda n: self._windows[n].longest)
        return self._batches(longest).largest()

    def stream(self, start: int, shard: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """Endless batches of one worker.

        Args:
          start: Number of batches that this worker has already taken.
          shard: (index, count): the worker reads every `count`-th shard from number `index` on.

        Raises:
          DataError: There are fewer shards than workers.
        """
        index, count = shard
        if len(self._files) < count:
            raise DataError(
                f"{self._files[0].parent}: {len(self._files)} shard(s) for {count} workers; write "
                "at least one for each"
            )
        own = [n for n, w in enumerate(self._windows) if w.shard % count == index]
        mine = sum(self._windows[n].batches for n in own)
        epoch, left = divmod(start, mine)
        self._reader.unusable.clear()  # drops the counts of `sample` and `largest`
        while True:
            for number in self._order(own, epoch):
                size = self._windows[number].batches
                if left >= size:
                    left -= size
                    continue
                batches = self._batches(number)
                for members in batches.plan(epoch)[left:]:
                    yield batches.make(members, epoch)
                left = 0
            self._log_unusable()
            epoch += 1

    def _order(self, own: Sequence[int], epoch: int) -> list[int]:
        """A worker's windows in the order of a pass: shards shuffled, windows of each in order."""
        shards = sorted({self._windows[n].shard for n in own})
        mixed = np.random.default_rng([self._seed, epoch]).permutation(len(shards))
        turn = {shards[s]: p for p, s in enumerate(mixed)}
        return sorted(own, key=lambda n: (turn[self._windows[n].shard], n))

    def _batches(self, number: int) -> Batches:
        window = self._windows[number]
        file = self._files[window.shard]
        last = window.first + window.lists - 1
        arrays = self._reader(
            list(messages(file, window.first, window.lists)),
            f"{file}, records {window.first} to {last}",
        )
        return self._make(arrays, self._seed + number)

    def _log_unusable(self) -> None:
        for name, count in self._reader.unusable.items():
            if count:
                logger.warning(
                    "%s: %d values in the records are broken and count as absent", name, count
                )
        self._reader.unusable.clear()

"""Padded, masked batches of lists in which every item stands once. NumPy in, flat dicts out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class HistoryArrays:
    """All shoppers' events, one shopper's together and in the order of time.

    Attributes:
      name: Of the history feature; its inputs are NAME_slots, NAME_types, NAME_ages, NAME_mask.
      length: H, latest events used.
      starts: Where user u's events begin, [users + 1] int64.
      items: Item numbers [events] int32; no event of an unknown item is among them.
      types: Type numbers [events] int32.
      times: Seconds [events] float64.
    """

    name: str
    length: int
    starts: np.ndarray
    items: np.ndarray
    types: np.ndarray
    times: np.ndarray

    def before(self, user: int, time: float) -> slice:
        """The latest events of a shopper (−1: unknown, none) strictly before a time."""
        if user < 0:
            return slice(0, 0)
        first, last = self.starts[user], self.starts[user + 1]
        end = last
        if not np.isnan(time):
            end = first + np.searchsorted(self.times[first:last], time, side="left")
        return slice(max(first, end - self.length), end)


@dataclasses.dataclass(frozen=True)
class ListArrays:
    """Lists and everything they point to, as arrays.

    Attributes:
      items: Item feature arrays [items, ...] by input name, presence flags among them.
      contexts: Query and user feature arrays [lists, ...] by input name.
      pairs: Pair feature arrays [rows, ...] by input name.
      offsets: List i holds rows offsets[i] to offsets[i + 1]; [lists + 1] int64.
      candidates: Item numbers [rows] int32.
      grades: [rows] float32.
      users: User numbers into the history [lists] int64, −1 for unknown.
      times: Seconds [lists] float64; NaN for a list without a time.
      history: The events, or None.
      labels: What is known of every row by label name, [rows] float32, NaN where unknown.
      weights: Weights of the rows in a task's loss by task name, [rows] float32, for some tasks.
    """

    items: Mapping[str, np.ndarray]
    contexts: Mapping[str, np.ndarray]
    pairs: Mapping[str, np.ndarray]
    offsets: np.ndarray
    candidates: np.ndarray
    grades: np.ndarray
    users: np.ndarray
    times: np.ndarray
    history: HistoryArrays | None = None
    labels: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def lengths(self) -> np.ndarray:
        """Candidates of every list, [lists]."""
        return np.diff(self.offsets)

    def taken(self, lists: np.ndarray) -> ListArrays:
        """Some of the lists by number, in that order; items and events stay."""
        parts = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in lists]
        rows = np.concatenate(parts or [np.zeros(0, np.int64)])

        def of(arrays: Mapping[str, np.ndarray], at: np.ndarray) -> dict[str, np.ndarray]:
            return {n: a[at] for n, a in arrays.items()}

        return dataclasses.replace(
            self,
            contexts=of(self.contexts, lists),
            pairs=of(self.pairs, rows),
            offsets=np.cumsum([0, *map(len, parts)]).astype(np.int64),
            candidates=self.candidates[rows],
            grades=self.grades[rows],
            users=self.users[lists],
            times=self.times[lists],
            labels=of(self.labels, rows),
            weights=of(self.weights, rows),
        )


# The task that there is where a config names none.
GRADE_TASK = "grade"


def label_name(label: str) -> str:
    """The name of a label in a batch."""
    return f"label_{label}"


def weights_name(task: str) -> str:
    """The name of a task's weights in a batch."""
    return f"weights_{task}"


def bucket_lengths(lengths: np.ndarray, buckets: Sequence[int]) -> np.ndarray:
    """The padded length of every list: the smallest bucket that holds it, [lists].

    Lists longer than the last bucket go to the next power of two.
    """
    edges = np.array(sorted(buckets))
    at = np.searchsorted(edges, lengths)
    beyond = 2 ** np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    return np.where(at < len(edges), edges[np.minimum(at, len(edges) - 1)], beyond)


def count_batches(padded: np.ndarray, batch_lists: int) -> int:
    """How many batches lists of these padded lengths make, those of one length together."""
    counts = np.unique(padded, return_counts=True)[1]
    return int(np.ceil(counts / batch_lists).sum())


@dataclasses.dataclass(frozen=True)
class Batches:
    """The batches of some lists.

    A batch is a flat dict:
      item features [U, ...] and their NAME_present [U]: the unique items of the batch;
      slots [B, L] int32: where each candidate stands among them; mask [B, L] bool;
      query and user features [B, ...], pair features [B, L, ...], each with NAME_present;
      HISTORY_slots, HISTORY_types [B, H] int32, HISTORY_ages [B, H] float32 days, HISTORY_mask;
      grades [B, L] float32;
      label_NAME [B, L] float32, NaN where unknown, of the labels asked for; weights_TASK [B, L].

    Attributes:
      arrays: The lists.
      batch_lists: B.
      buckets: Padded lengths.
      max_candidates: Longer lists are cut, relevant candidates kept first; None for no cut.
      seed: Of the order and the cuts.
      block: Neighbouring lists that stay together when the order is shuffled. Where neighbours
        share items (the pages of one query, say), a batch of them encodes fewer.
      unique_items: Whether an item shown by several lists stands once; False repeats it for
        every slot, for measuring what it saves.
      labels: Names of the labels that a batch holds beside the grades.
    """

    arrays: ListArrays
    batch_lists: int
    buckets: Sequence[int]
    max_candidates: int | None = None
    seed: int = 0
    block: int = 1
    unique_items: bool = True
    labels: Sequence[str] = ()

    @property
    def lengths(self) -> np.ndarray:
        """Candidates of every list after the cut, [lists]."""
        lengths = self.arrays.lengths
        return lengths if self.max_candidates is None else np.minimum(lengths, self.max_candidates)

    @property
    def per_pass(self) -> int:
        """Batches of a pass, the same number in every epoch."""
        return count_batches(bucket_lengths(self.lengths, self.buckets), self.batch_lists)

    @property
    def size(self) -> tuple[int, int]:
        """Lists, and candidates after the cut."""
        return len(self.lengths), int(self.lengths.sum())

    @property
    def sample(self) -> ListArrays:
        """Lists to start from: all of them."""
        return self.arrays

    @property
    def listwise(self) -> frozenset[str]:
        """Names of what a batch holds by candidate, [B, L, ...]."""
        labels = (label_name(label) for label in self.labels)
        weights = (weights_name(task) for task in self.arrays.weights)
        return frozenset(["mask", "slots", "grades", *self.arrays.pairs, *labels, *weights])

    def largest(self) -> Batch:
        """The batch of the most candidates."""
        lengths = self.lengths
        return self.make(max(self.plan(0), key=lambda members: lengths[members].sum()))

    def plan(self, epoch: int | None = None) -> list[np.ndarray]:
        """List numbers of every batch of a pass; an epoch gives a shuffled order of its own.

        Lists of one padded length are batched together; the number of batches is the same in
        every epoch.
        """
        padded = bucket_lengths(self.lengths, self.buckets)
        generator = None if epoch is None else np.random.default_rng([self.seed, epoch])
        batches = []
        for length in np.unique(padded):
            members = np.flatnonzero(padded == length)
            if generator is not None:
                blocks = np.split(members, range(self.block, len(members), self.block))
                members = np.concatenate([blocks[i] for i in generator.permutation(len(blocks))])
            batches += np.split(members, range(self.batch_lists, len(members), self.batch_lists))
        if generator is not None:
            order = generator.permutation(len(batches))
            batches = [batches[i] for i in order]
        return batches

    def stream(self, start: int, shard: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """Endless training batches from step `start` on: the same ones whenever it is started.

        Args:
          start: Steps already taken.
          shard: (index, count): this worker's share; step s of it is batch s · count + index.
        """
        index, count = shard
        per_pass = self.per_pass
        epoch, plan = -1, []
        at = start * count + index
        while True:
            if at // per_pass != epoch:
                epoch = at // per_pass
                plan = self.plan(epoch)
            yield self.make(plan[at % per_pass], epoch)
            at += count

    def once(self) -> Iterator[tuple[np.ndarray, Batch]]:
        """Every list once in a fixed order: (list numbers, batch)."""
        for members in self.plan():
            yield members, self.make(members)

    def make(self, members: np.ndarray, epoch: int = 0) -> Batch:
        """The batch of these lists."""
        arrays = self.arrays
        rows = [self._rows(i, epoch) for i in members]
        length = int(bucket_lengths(np.array([max(len(r) for r in rows)]), self.buckets)[0])
        mask = np.zeros([len(members), length], bool)
        at = np.zeros([len(members), length], np.int64)
        for b, row in enumerate(rows):
            mask[b, : len(row)] = True
            at[b, : len(row)] = row
        shown = [arrays.candidates[at[mask]]]
        history = self._history(members)
        if history is not None:
            events, seen = history
            assert arrays.history is not None
            shown.append(arrays.history.items[events[seen]])
        numbers, slots = self._unique(np.concatenate(shown))

        batch: Batch = {n: a[numbers] for n, a in arrays.items.items()}
        batch |= {n: a[members] for n, a in arrays.contexts.items()}
        for name, values in arrays.pairs.items():
            taken = values[at]
            taken[~mask] = 0
            batch[name] = taken
        batch["mask"] = mask
        batch["slots"] = _spread(slots[: mask.sum()], mask, np.int32)
        batch["grades"] = _spread(arrays.grades[at[mask]], mask, np.float32)
        for name in self.labels:
            batch[label_name(name)] = _spread(arrays.labels[name][at[mask]], mask, np.float32)
        for task, weights in arrays.weights.items():
            batch[weights_name(task)] = _spread(weights[at[mask]], mask, np.float32)
        if history is not None:
            batch |= self._history_inputs(members, events, seen, slots[mask.sum() :])
        return batch

    def _rows(self, number: int, epoch: int) -> np.ndarray:
        """The rows of a list, cut to `max_candidates`."""
        rows = np.arange(self.arrays.offsets[number], self.arrays.offsets[number + 1])
        if self.max_candidates is None or len(rows) <= self.max_candidates:
            return rows
        # A different draw of the irrelevant candidates every epoch; the highest grades stay.
        draw = np.random.default_rng([self.seed, epoch, int(number)]).random(len(rows))
        best = np.lexsort((draw, -self.arrays.grades[rows]))[: self.max_candidates]
        return rows[np.sort(best)]

    def _unique(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.unique_items:
            return items, np.arange(len(items))
        numbers, slots = np.unique(items, return_inverse=True)
        return numbers, slots

    def _history(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Event rows [B, H] and which of them are there."""
        history = self.arrays.history
        if history is None:
            return None
        events = np.zeros([len(members), history.length], np.int64)
        seen = np.zeros([len(members), history.length], bool)
        for b, i in enumerate(members):
            past = history.before(int(self.arrays.users[i]), float(self.arrays.times[i]))
            count = past.stop - past.start
            events[b, :count] = np.arange(past.start, past.stop)
            seen[b, :count] = True
        return events, seen

    def _history_inputs(
        self, members: np.ndarray, events: np.ndarray, seen: np.ndarray, slots: np.ndarray
    ) -> Batch:
        history = self.arrays.history
        assert history is not None
        name = history.name
        ages = np.zeros(seen.shape, np.float32)
        if len(history.times):
            now = self.arrays.times[members][:, None]
            # Without a list time the shopper's last event is taken for now.
            last = np.where(seen, history.times[events], -np.inf).max(1, keepdims=True)
            now = np.where(np.isnan(now), last, now)
            days = np.where(seen, now - np.where(seen, history.times[events], 0.0), 0.0) / 86_400.0
            ages = np.where(seen, days, 0.0).astype(np.float32)
        types = history.types[events] if len(history.types) else np.zeros(seen.shape, np.int32)
        return {
            f"{name}_slots": _spread(slots, seen, np.int32),
            f"{name}_types": np.where(seen, types, 0).astype(np.int32),
            f"{name}_ages": ages,
            f"{name}_mask": seen,
        }


def _spread(values: np.ndarray, mask: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """The values laid out where the mask is True, in row order, zeros elsewhere."""
    out = np.zeros(mask.shape, dtype)
    out[mask] = values
    return out

"""Padded, masked batches of lists with every item once: flat dicts of NumPy arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class HistoryArrays:
    """All users' events, grouped by user and in the order of time.

    Attributes:
      name: Name of the history feature; its inputs are NAME_slots, NAME_types, NAME_ages and
        NAME_mask.
      length: H, the number of latest events used.
      starts: Events of user u begin at index starts[u], [users + 1] int64.
      items: Item indices [events] int32; events of unknown items are left out.
      types: Type numbers [events] int32.
      times: Seconds [events] float64.

    Example:
      >>> import numpy as np
      >>> times = np.array([10.0, 20.0, 30.0])
      >>> history = HistoryArrays("history", 2, np.array([0, 3]), np.arange(3), np.zeros(3), times)
      >>> times[history.before(0, 30.0)].tolist(), times[history.before(-1, 30.0)].tolist()
      ([10.0, 20.0], [])
    """

    name: str
    length: int
    starts: np.ndarray
    items: np.ndarray
    types: np.ndarray
    times: np.ndarray

    def before(self, user: int, time: float) -> slice:
        """The slice of a user's latest events strictly before a time; empty for user −1 (unknown).

        A NaN time gives the user's latest events of all.
        """
        if user < 0:
            return slice(0, 0)
        first, last = self.starts[user], self.starts[user + 1]
        end = last
        if not np.isnan(time):
            end = first + np.searchsorted(self.times[first:last], time, side="left")
        return slice(max(first, end - self.length), end)


@dataclasses.dataclass(frozen=True)
class ListArrays:
    """Lists, their items and their events, as arrays.

    Attributes:
      items: Item feature arrays [items, ...] by input name, including presence flags.
      contexts: Query and user feature arrays [lists, ...] by input name.
      pairs: Pair feature arrays [rows, ...] by input name.
      offsets: List i has the rows offsets[i] to offsets[i + 1], exclusive; [lists + 1] int64.
      candidates: Item indices [rows] int32.
      grades: [rows] float32.
      users: User indices into the history [lists] int64, −1 for unknown.
      times: Seconds [lists] float64; NaN for a list without a time.
      history: The events, or None.
      labels: Labels of the rows by label name, [rows] float32, NaN where unknown.
      weights: Weights of the rows in a task's loss by task name, [rows] float32; tasks without
        weights are left out.

    Example:
      Two lists of two and three candidates, over three items:

      >>> import numpy as np
      >>> arrays = ListArrays(
      ...     items={"price": np.array([9.0, 5.0, 1.0])},
      ...     contexts={},
      ...     pairs={},
      ...     offsets=np.array([0, 2, 5]),
      ...     candidates=np.array([0, 1, 0, 1, 2]),
      ...     grades=np.array([1.0, 0.0, 0.0, 2.0, 0.0]),
      ...     users=np.array([-1, -1]),
      ...     times=np.full(2, np.nan),
      ... )
      >>> arrays.lengths.tolist(), arrays.taken(np.array([1])).candidates.tolist()
      ([2, 3], [0, 1, 2])
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
        """The lists with these indices [n], in this order; all items and events are kept."""
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


# The task of a config that names no tasks.
GRADE_TASK = "grade"


def label_name(label: str) -> str:
    """The name of a label in a batch."""
    return f"label_{label}"


def weights_name(task: str) -> str:
    """The name of a task's weights in a batch."""
    return f"weights_{task}"


def bucket_lengths(lengths: np.ndarray, buckets: Sequence[int]) -> np.ndarray:
    """The padded length of every list: the smallest bucket that holds it, [lists].

    Lists longer than the last bucket are padded to the next power of two.

    Example:
      >>> import numpy as np
      >>> bucket_lengths(np.array([3, 8, 9, 20]), buckets=[8, 16]).tolist()
      [8, 8, 16, 32]
    """
    edges = np.array(sorted(buckets))
    at = np.searchsorted(edges, lengths)
    beyond = 2 ** np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    return np.where(at < len(edges), edges[np.minimum(at, len(edges) - 1)], beyond)


def count_batches(padded: np.ndarray, batch_lists: int) -> int:
    """The number of batches of lists with these padded lengths; a batch has lists of one length.

    Example:
      Three lists of 8 candidates make two batches of at most two lists, one of 16 a third batch:

      >>> import numpy as np
      >>> count_batches(np.array([8, 8, 16, 8]), batch_lists=2)
      3
    """
    counts = np.unique(padded, return_counts=True)[1]
    return int(np.ceil(counts / batch_lists).sum())


@dataclasses.dataclass(frozen=True)
class Batches:
    """The batches of some lists.

    A batch is a flat dict:
      item features [U, ...] and their NAME_present [U]: the unique items of the batch;
      slots [B, L] int32: the index of each candidate among the unique items; mask [B, L] bool;
      query and user features [B, ...], pair features [B, L, ...], each with NAME_present;
      HISTORY_slots, HISTORY_types [B, H] int32, HISTORY_ages [B, H] float32 days, HISTORY_mask;
      grades [B, L] float32;
      label_NAME [B, L] float32, NaN where unknown, for each of `labels`; weights_TASK [B, L].

    Attributes:
      arrays: The lists.
      batch_lists: B.
      buckets: Padded lengths.
      max_candidates: Longer lists are cut to this length, keeping the most relevant candidates;
        None for no cut.
      seed: Seed of the order and of the cuts.
      block: Number of consecutive lists that stay together when the order is shuffled. Where
        consecutive lists share items, such as the pages of one query, a batch encodes fewer items.
      unique_items: Whether an item that several lists show occurs once; False repeats the item for
        every slot, to measure what this saves.
      labels: Names of the labels that a batch holds in addition to the grades.

    Example:
      Two lists of two and three candidates, padded to four. They share items 0 and 1, which the
      batch holds once:

      >>> import numpy as np
      >>> arrays = ListArrays(
      ...     items={"price": np.array([9.0, 5.0, 1.0])},
      ...     contexts={},
      ...     pairs={},
      ...     offsets=np.array([0, 2, 5]),
      ...     candidates=np.array([0, 1, 0, 1, 2]),
      ...     grades=np.array([1.0, 0.0, 0.0, 2.0, 0.0]),
      ...     users=np.array([-1, -1]),
      ...     times=np.full(2, np.nan),
      ... )
      >>> batches = Batches(arrays, batch_lists=2, buckets=[4, 8])
      >>> batch = batches.make(np.array([0, 1]))
      >>> batches.per_pass, batch["price"].tolist(), batch["mask"].tolist()
      (1, [9.0, 5.0, 1.0], [[True, True, False, False], [True, True, True, False]])
      >>> batch["slots"][batch["mask"]].tolist()
      [0, 1, 0, 1, 2]
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
        """The number of batches of a pass, the same in every epoch."""
        return count_batches(bucket_lengths(self.lengths, self.buckets), self.batch_lists)

    @property
    def size(self) -> tuple[int, int]:
        """The number of lists, and of their candidates after the cut."""
        return len(self.lengths), int(self.lengths.sum())

    @property
    def sample(self) -> ListArrays:
        """All lists, from whose labels a ranker can be initialised."""
        return self.arrays

    @property
    def listwise(self) -> frozenset[str]:
        """Names of the arrays of a batch that have a value for each candidate, [B, L, ...]."""
        labels = (label_name(label) for label in self.labels)
        weights = (weights_name(task) for task in self.arrays.weights)
        return frozenset(["mask", "slots", "grades", *self.arrays.pairs, *labels, *weights])

    def largest(self) -> Batch:
        """The batch with the most candidates."""
        lengths = self.lengths
        return self.make(max(self.plan(0), key=lambda members: lengths[members].sum()))

    def plan(self, epoch: int | None = None) -> list[np.ndarray]:
        """The list indices [B] of every batch of a pass; each epoch has its own shuffled order.

        Lists of one padded length are batched together; the number of batches is the same in
        every epoch. Without an epoch the order is fixed.
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
        """Endless training batches from step `start` on; the batch of a step is always the same.

        Args:
          start: Number of steps already taken.
          shard: (index, count) of this worker; its step s takes batch s · count + index.
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
        """Every list once in a fixed order, as (list indices [B], batch)."""
        for members in self.plan():
            yield members, self.make(members)

    def make(self, members: np.ndarray, epoch: int = 0) -> Batch:
        """The batch of the lists with indices [B]; the epoch selects the cut of long lists."""
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
        """The rows of a list, cut to `max_candidates`, in their order."""
        rows = np.arange(self.arrays.offsets[number], self.arrays.offsets[number + 1])
        if self.max_candidates is None or len(rows) <= self.max_candidates:
            return rows
        # The highest grades stay; among equal grades every epoch draws other candidates.
        draw = np.random.default_rng([self.seed, epoch, int(number)]).random(len(rows))
        best = np.lexsort((draw, -self.arrays.grades[rows]))[: self.max_candidates]
        return rows[np.sort(best)]

    def _unique(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.unique_items:
            return items, np.arange(len(items))
        numbers, slots = np.unique(items, return_inverse=True)
        return numbers, slots

    def _history(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Event indices [B, H], and which of them are events rather than padding [B, H] bool."""
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
            # Without a list time, ages count from the user's last event.
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
    """An array with the values where the mask is True, in row order, and zeros elsewhere."""
    out = np.zeros(mask.shape, dtype)
    out[mask] = values
    return out

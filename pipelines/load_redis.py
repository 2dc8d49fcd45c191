"""Loads item vectors into Redis: `python -m pipelines.load_redis`."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from mmrank.data.tables import DataError, load_dataset
from mmrank.outputs import InputError, UserError, exit_code, log_progress
from mmrank.serving.embeddings.base import ItemVectors, VectorShape
from mmrank.serving.embeddings.layered import ExportedItems
from mmrank.serving.embeddings.options import EmbeddingOptions
from mmrank.serving.embeddings.packed import CODES, Packing
from mmrank.serving.embeddings.redis_store import about_key, connect, item_key, models_key

if TYPE_CHECKING:
    import redis

PART, COMMANDS, SCANNED = 4096, 512, 1000
TIMEOUT_MS = 30_000.0
EXAMPLE = """examples:
  python -m pipelines.load_redis --redis redis://127.0.0.1:6379/0 --vectors vectors
  python -m pipelines.load_redis --redis redis://127.0.0.1:6379/0 --export runs/a/export --data shop
  python -m pipelines.load_redis --redis redis://127.0.0.1:6379/0 --drop 0123456789abcdef

--vectors is a folder that `python -m pipelines.embed_catalog` wrote. Every key has the fingerprint
of the model, so a new model can be loaded alongside the old one; drop the old one when no server
uses it. If the command is stopped, run it again to continue. The password is read from the
environment variable MMRANK_REDIS_PASSWORD.
"""
Part = tuple[Sequence[str], np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Source:
    """Vectors to load, in parts that are the same on every read.

    Attributes:
      fingerprint: The `item_fingerprint` of their model.
      modalities: Names of the item tokens, M of them.
      shape: Of an item's vectors.
      digest: Hash of their contents; it differs between catalogues of the same model.
      parts: Number of parts.
      items: Number of items in all parts.
      read: Yields the parts from a given number on: ids [n], tokens [n, M, D], presence
        [n, M] and match [n, W].
    """

    fingerprint: str
    modalities: tuple[str, ...]
    shape: VectorShape
    digest: str
    parts: int
    items: int
    read: Callable[[int], Iterator[Part]]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for wrong input, 130 when interrupted.

    Args:
      argv: The arguments; those of the process by default.
    """
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args), "loaded vectors are kept; run it again to continue")


def _run(args: argparse.Namespace) -> None:
    EmbeddingOptions(redis=args.redis)  # raises if the address is not valid
    client = connect(args.redis, TIMEOUT_MS)
    import redis

    try:
        if args.drop is not None:
            print(f"dropped {drop(client, args.prefix, args.drop):,} keys of {args.drop}")
        elif args.list:
            for line in models(client, args.prefix):
                print(line)
        else:
            source = _source(args)
            fill(client, args.prefix, source, args.dtype, args.again)
            print(f"{source.items:,} items of the model {source.fingerprint} are in Redis")
    except redis.RedisError as error:
        raise UserError(f"--redis {args.redis}: {error}; run it again to continue") from error
    finally:
        client.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.load_redis",
        description="Loads the vectors of a catalogue's items into Redis, for mmrank.serve.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--vectors", type=pathlib.Path, help="folder written by embed_catalog")
    what.add_argument(
        "--export", type=pathlib.Path, help="export whose stored items are loaded; needs --data"
    )
    what.add_argument("--list", action="store_true", help="list the models in Redis")
    what.add_argument("--drop", metavar="FINGERPRINT", help="remove all vectors of a model")
    parser.add_argument(
        "--data", type=pathlib.Path, help="dataset with the ids of --export's items"
    )
    parser.add_argument("--redis", required=True, help="address such as redis://127.0.0.1:6379/0")
    parser.add_argument(
        "--prefix", default=EmbeddingOptions().prefix, help="prefix of every key (%(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=tuple(CODES), default="float32", help="type of the numbers (%(default)s)"
    )
    parser.add_argument("--again", action="store_true", help="load everything again")
    return parser


def _source(args: argparse.Namespace) -> Source:
    if args.vectors is not None:
        return computed_source(args.vectors)
    if args.data is None:
        raise InputError("--export: give the dataset with its items' ids by --data")
    return export_source(args.export, args.data)


def computed_source(folder: pathlib.Path) -> Source:
    """The vectors in a folder of `pipelines.embed_catalog`, one part per shard.

    Raises:
      DataError: The folder has no finished vectors.
    """
    from mmrank.serving.computed import Computed

    made = Computed.open(folder)
    text = json.dumps([dict(shard) for shard in made.shards], sort_keys=True, default=str)
    return Source(
        made.fingerprint,
        made.modalities,
        VectorShape(len(made.modalities), made.width, made.match),
        _digest([text]),
        len(made.shards),
        made.items,
        lambda first: dataclasses.replace(made, shards=made.shards[first:]).read(),
    )


def export_source(export: pathlib.Path, data: pathlib.Path) -> Source:
    """The vectors that an export stores for a dataset's items.

    Raises:
      DataError: The export stores none of the items, or has no fingerprint.
    """
    from mmrank.serving.ranker import Ranker

    ranker, ids = Ranker.load(export), list(load_dataset(data).item_ids)
    if not ranker.card.fingerprint:
        raise DataError(f"{ranker.folder}: has no fingerprint; export the run again")

    def lookup(some: Sequence[str]) -> dict[str, np.ndarray]:
        return ranker.run("lookup_items", {"items": np.array(some, object)})

    def read(first: int) -> Iterator[Part]:
        for start in range(first * PART, len(ids), PART):
            some = ids[start : start + PART]
            found = lookup(some)
            known = np.flatnonzero(found["known"])
            kept = ItemVectors.given(found, found["known"])
            yield (
                [some[i] for i in known],
                kept.tokens[known],
                kept.present[known],
                kept.match[known],
            )

    starts = range(0, len(ids), PART)
    items = sum(int(lookup(ids[start : start + PART])["known"].sum()) for start in starts)
    if not items:
        raise DataError(
            f"{ranker.folder}: stores no item of {data}; give the dataset that was exported"
        )
    shape = ExportedItems(lambda some: lookup(list(some))).shape
    modalities = ranker.card.modalities
    digest = _digest(ids)
    return Source(ranker.card.fingerprint, modalities, shape, digest, len(starts), items, read)


def fill(
    client: redis.Redis, prefix: str, source: Source, dtype: str = "float32", again: bool = False
) -> None:
    """Loads the parts that an earlier call did not finish.

    Args:
      client: Client of Redis.
      prefix: Prefix of every key.
      source: The vectors.
      dtype: float32, or float16 for half the memory.
      again: Whether to load all parts again.

    Raises:
      DataError: A vector cannot be stored as `dtype`.
    """
    packing = Packing(source.shape)
    # In Redis itself, which loses it with the items; of the latest source alone, since another one
    # replaces what both have.
    loaded_key = f"{prefix}:{source.fingerprint}:loaded"
    mark = f"{source.digest}:{dtype}:"
    loaded = _text(client.get(loaded_key))
    first = 0 if again or not loaded.startswith(mark) else int(loaded.removeprefix(mark))
    bar = tqdm(total=source.parts, initial=first, desc="loading parts", disable=None, leave=False)
    with bar:
        for part, (ids, tokens, present, match) in enumerate(source.read(first), first + 1):
            try:
                rows = packing.pack(tokens, present, match, dtype)
            except ValueError as error:
                raise DataError(f"part {part}: {error}") from error
            pipe = client.pipeline(transaction=False)
            for item, row in zip(ids, rows, strict=True):
                pipe.set(item_key(prefix, source.fingerprint, item), row)
                if len(pipe) >= COMMANDS:
                    pipe.execute()
            pipe.execute()
            client.set(loaded_key, f"{mark}{part}")
            bar.update()
    about = {"modalities": source.modalities, "width": source.shape.width, "items": source.items}
    client.set(about_key(prefix, source.fingerprint), json.dumps(about, ensure_ascii=False))
    client.sadd(models_key(prefix), source.fingerprint)


def models(client: redis.Redis, prefix: str) -> list[str]:
    """A line for each model whose vectors are all in Redis."""
    lines = []
    for fingerprint in sorted(map(_text, client.smembers(models_key(prefix)))):
        about = json.loads(_text(client.get(about_key(prefix, fingerprint))) or "{}")
        lines.append(
            f"{fingerprint}  {about.get('items', 0):,} items, width {about.get('width', 0)}: "
            f"{', '.join(about.get('modalities', ()))}"
        )
    return lines


def drop(client: redis.Redis, prefix: str, fingerprint: str) -> int:
    """Removes all keys of one model and returns their number.

    Raises:
      InputError: The fingerprint is not valid.
    """
    if not fingerprint.isalnum():
        raise InputError(f"--drop {fingerprint!r}: give the fingerprint of a model, see --list")
    client.srem(models_key(prefix), fingerprint)
    count, some = 0, []
    for key in client.scan_iter(match=f"{_literal(prefix)}:{fingerprint}:*", count=SCANNED):
        some.append(key)
        if len(some) == SCANNED:
            count += int(client.unlink(*some))
            some = []
    return count + (int(client.unlink(*some)) if some else 0)


def _text(value: Any) -> str:
    """A reply of Redis as text; empty if there was none."""
    return value.decode() if isinstance(value, bytes) else value or ""


def _literal(text: str) -> str:
    """A SCAN pattern that matches only this text."""
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in text)


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode()
        digest.update(f"{len(raw)}:".encode())
        digest.update(raw)
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())

"""The pipeline from rows of lists, catalogue and events to shards of records.

Everything is joined by ranges of hashes: rows of lists go to shards by list id, items to ranges by
item id, events to ranges by item id and then by user. A shard requests every item once, even if
several of its lists show it.
"""

from __future__ import annotations

import pathlib
from typing import Any

import apache_beam as beam

from mmrank.data.shards import write_manifest
from mmrank.data.splits import SPLITS
from pipelines.beam.jobs import Job
from pipelines.beam.joins import (
    Asked,
    Describe,
    Histories,
    KnownEvents,
    Newest,
    Split,
    Wanted,
    in_order,
)
from pipelines.beam.readers import Reader
from pipelines.beam.writing import Write


def build_records(
    job: Job, reader: Reader, lists: Any, catalog: Any, events: Any, shards: int, out: pathlib.Path
) -> None:
    """Adds the steps from rows to shards and their manifest.

    Args:
      job: The job.
      reader: Reader of the dataset's features.
      lists: Rows of lists, [frames], indexed by their order.
      catalog: Rows of the catalogue, in the same form.
      events: Rows of events, in the same form; None if there are none.
      shards: Number of shards, and of ranges of the joins.
      out: Folder of the shards.
    """
    schema = reader.schema
    by_list, by_id = Split(shards, schema.lists.file), Split(shards, schema.catalog.file)
    pages = job.do("lists to shards", lists, by_list, schema.lists.list)
    pages = pages | "whole shards" >> beam.GroupByKey() | "in order" >> beam.MapTuple(in_order)
    by_item = job.do("catalogue to ranges", catalog, by_id, schema.catalog.item)
    newest: Any = {}
    if any(f.kind == "reviews" for f in schema.side("item")):
        newest = beam.pvalue.AsDict(
            job.do("times of reviews", catalog, Newest(reader))
            | "newest review" >> beam.CombinePerKey(max)
        )
    wanted = job.do("wanted items", pages, Wanted(schema, shards))
    met = {"catalog": by_item, "wanted": wanted} | "items meet lists" >> beam.CoGroupByKey()
    items = job.do("describe items", met, Describe(reader), newest)
    # A shard without lists is written too, so that readers can see by names which shard is missing.
    every = job.pipeline | "every shard" >> beam.Create([(shard, None) for shard in range(shards)])
    joined = {"every": every, "rows": pages, "items": items}
    if events is not None and schema.events is not None and reader.features.history is not None:
        length = reader.features.history.options.length
        by_known = job.do("events to ranges", events, Split(shards), schema.events.item)
        known = {
            "catalog": by_item,
            "events": by_known,
        } | "events meet items" >> beam.CoGroupByKey()
        by_user = job.do("known events", known, KnownEvents(schema, shards))
        asked = job.do("lists to users", pages, Asked(schema, shards))
        both = {"events": by_user, "lists": asked} | "users' events" >> beam.CoGroupByKey()
        joined["pasts"] = job.do("histories", both, Histories(schema, length))
    whole = joined | "everything of a shard" >> beam.CoGroupByKey()
    written = job.do("write shards", whole, Write(reader, shards, out))
    finished = written | "all shards" >> beam.combiners.ToList()
    _ = finished | "manifest" >> beam.Map(_finish, out)


def _finish(finished: list[dict[str, Any]], out: pathlib.Path) -> None:
    splits = {}
    for split in SPLITS:
        own = sorted((t for t in finished if t["split"] == split), key=lambda t: t["shard"]["file"])
        lists = sum(t["shard"]["records"] for t in own)
        if lists:
            splits[split] = {
                "lists": lists,
                "candidates": sum(t["candidates"] for t in own),
                "longest": max(t["longest"] for t in own),
                "shards": [t["shard"] for t in own],
            }
        else:
            for written in own:
                (out / written["shard"]["file"]).unlink(missing_ok=True)
    write_manifest(out, "examples", {"splits": splits})

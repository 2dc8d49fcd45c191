"""Item vectors computed ahead of an export, as `pipelines.embed_catalog` writes them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from mmrank.data.shards import Shard, checked, file_hash, read_manifest, write_manifest
from mmrank.data.tables import DataError

JOB = "embeddings"
ID, TOKENS, PRESENT = "item_id", "tokens", "present"
REMEDY = "run `python -m pipelines.embed_catalog` again; it goes on where it was stopped"


@dataclasses.dataclass(frozen=True)
class Computed:
    """The vectors of a catalogue's items, in a finished folder.

    Attributes:
      folder: The folder.
      fingerprint: The `item_fingerprint` of the model that computed them.
      modalities: Names of the item tokens, M of them.
      width: D.
      items: How many there are.
      shards: Its files, as the manifest tells of them.
    """

    folder: pathlib.Path
    fingerprint: str
    modalities: tuple[str, ...]
    width: int
    items: int
    shards: tuple[Mapping[str, Any], ...]

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Computed:
        """The vectors in a folder.

        Raises:
          DataError: The folder is not there, not finished, or holds something else.
        """
        path = pathlib.Path(folder)
        told = read_manifest(path, JOB, REMEDY)
        return cls(
            path,
            told["fingerprint"],
            tuple(told["modalities"]),
            int(told["width"]),
            int(told["items"]),
            tuple(told["shards"]),
        )

    def save(self) -> None:
        """Writes the manifest, by which the folder is a finished one."""
        told = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        write_manifest(self.folder, JOB, {n: v for n, v in told.items() if n != "folder"})

    def read(self) -> Iterator[tuple[list[str], np.ndarray, np.ndarray]]:
        """Ids [n], tokens [n, M, D] float32 and presence [n, M] bool, shard by shard.

        Raises:
          DataError: A shard is missing, cut short or altered.
        """
        count = len(self.modalities)
        for shard in checked(self.folder, self.shards):
            table = pq.read_table(self.folder / shard.file)
            tokens = table[TOKENS].combine_chunks().flatten().to_numpy()
            present = table[PRESENT].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            yield (
                table[ID].to_pylist(),
                tokens.reshape([-1, count, self.width]),
                present.reshape([-1, count]),
            )

    def of(self, ids: Sequence[str], fingerprint: str) -> dict[str, np.ndarray]:
        """The tokens [N, M, D] and presence [N, M] of some items.

        Args:
          ids: Item ids [N], unique.
          fingerprint: The `item_fingerprint` of the model that is to use them.

        Raises:
          DataError: They are of another model, or an item is not among them.
        """
        if fingerprint != self.fingerprint:
            raise DataError(
                f"{self.folder}: vectors of the model {self.fingerprint}, not of {fingerprint}; "
                "compute them with an export of this run"
            )
        rows = {item: row for row, item in enumerate(ids)}
        tokens = np.zeros([len(ids), len(self.modalities), self.width], np.float32)
        present = np.zeros([len(ids), len(self.modalities)], bool)
        found = np.zeros([len(ids)], bool)
        shards = tqdm(self.read(), "reading vectors", len(self.shards), disable=None, leave=False)
        for some, some_tokens, some_present in shards:
            at = np.array([rows.get(item, -1) for item in some], np.int64)
            wanted = at >= 0
            tokens[at[wanted]] = some_tokens[wanted]
            present[at[wanted]] = some_present[wanted]
            found[at[wanted]] = True
        if not found.all():
            missing = [ids[row] for row in np.flatnonzero(~found)[:3]]
            raise DataError(
                f"{self.folder}: no vector of {int((~found).sum())} item(s) of the catalogue, "
                f"{', '.join(map(repr, missing))}; run `python -m pipelines.embed_catalog` on it "
                "into a new folder"
            )
        return {TOKENS: tokens, PRESENT: present}


def described_shard(file: pathlib.Path) -> Shard:
    """What the manifest tells of a shard that is there."""
    records = pq.read_metadata(file).num_rows
    return Shard(file.name, records, file.stat().st_size, file_hash(file))


def width_of(file: pathlib.Path, modalities: int) -> int:
    """D of the vectors in a shard."""
    return pq.read_schema(file).field(TOKENS).type.list_size // modalities


def write_vectors(
    file: pathlib.Path, parts: Iterable[tuple[Sequence[str], np.ndarray, np.ndarray]]
) -> int:
    """The number of items, written to a parquet file.

    Args:
      file: The file.
      parts: Ids [n], tokens [n, M, D] float32 and presence [n, M] bool; at least one part.
    """
    count, writer = 0, None
    try:
        for ids, tokens, present in parts:
            _, modalities, width = tokens.shape
            values = pa.FixedSizeListArray.from_arrays(
                pa.array(tokens.reshape(-1), pa.float32()), modalities * width
            )
            flags = pa.FixedSizeListArray.from_arrays(
                pa.array(present.reshape(-1), pa.bool_()), modalities
            )
            table = pa.table({ID: pa.array(ids, pa.string()), TOKENS: values, PRESENT: flags})
            # Floats of an encoder are as good as random: packing costs time and saves nothing.
            writer = writer or pq.ParquetWriter(file, table.schema, compression="none")
            writer.write_table(table)
            count += len(ids)
    finally:
        if writer is not None:
            writer.close()
    return count

"""Item vectors computed before an export, as `pipelines.embed_catalog` writes them."""

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
ID, TOKENS, PRESENT, MATCH = "item_id", "tokens", "present", "match"
Part = tuple[Sequence[str], np.ndarray, np.ndarray, np.ndarray]
REMEDY = "run `python -m pipelines.embed_catalog` again; it continues where it stopped"


@dataclasses.dataclass(frozen=True)
class Computed:
    """The vectors of a catalogue's items, in a finished folder.

    Attributes:
      folder: The folder.
      fingerprint: The `item_fingerprint` of the model that computed them.
      modalities: Names of the M item tokens.
      width: D, the width of a token.
      items: Number of items.
      shards: The folder's files, as the manifest lists them.
      match: W, the number of values that an item is matched by; 0 for a model without matching.
    """

    folder: pathlib.Path
    fingerprint: str
    modalities: tuple[str, ...]
    width: int
    items: int
    shards: tuple[Mapping[str, Any], ...]
    match: int = 0

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Computed:
        """Opens the vectors in a folder.

        Raises:
          DataError: The folder does not exist, is not finished, or holds something else.
        """
        path = pathlib.Path(folder)
        manifest = read_manifest(path, JOB, REMEDY)
        return cls(
            path,
            manifest["fingerprint"],
            tuple(manifest["modalities"]),
            int(manifest["width"]),
            int(manifest["items"]),
            tuple(manifest["shards"]),
            int(manifest.get("match", 0)),  # folders of earlier versions have none
        )

    def save(self) -> None:
        """Writes the manifest, which marks the folder as finished."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        write_manifest(self.folder, JOB, {n: v for n, v in fields.items() if n != "folder"})

    def read(self) -> Iterator[Part]:
        """Yields ids [n], tokens [n, M, D], presence [n, M] bool and match [n, W] of each shard.

        Raises:
          DataError: A shard is missing, cut short or altered.
        """
        count = len(self.modalities)
        for shard in checked(self.folder, self.shards):
            table = pq.read_table(self.folder / shard.file)
            tokens = table[TOKENS].combine_chunks().flatten().to_numpy()
            present = table[PRESENT].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            match = np.zeros([table.num_rows, 0], np.float32)
            if self.match:
                match = table[MATCH].combine_chunks().flatten().to_numpy()
                match = match.reshape([-1, self.match])
            yield (
                table[ID].to_pylist(),
                tokens.reshape([-1, count, self.width]),
                present.reshape([-1, count]),
                match,
            )

    def of(self, ids: Sequence[str], fingerprint: str) -> dict[str, np.ndarray]:
        """Returns tokens [N, M, D], presence [N, M] and perhaps match [N, W] of items, by name.

        Args:
          ids: Item ids [N], unique.
          fingerprint: The `item_fingerprint` of the model that will use the vectors.

        Raises:
          DataError: The vectors are of another model, or an item has no vectors.
        """
        if fingerprint != self.fingerprint:
            raise DataError(
                f"{self.folder}: vectors of the model {self.fingerprint}, not of {fingerprint}; "
                "compute them with an export of this run"
            )
        rows = {item: row for row, item in enumerate(ids)}
        tokens = np.zeros([len(ids), len(self.modalities), self.width], np.float32)
        present = np.zeros([len(ids), len(self.modalities)], bool)
        match = np.zeros([len(ids), self.match], np.float32)
        found = np.zeros([len(ids)], bool)
        shards = tqdm(self.read(), "reading vectors", len(self.shards), disable=None, leave=False)
        for some, some_tokens, some_present, some_match in shards:
            at = np.array([rows.get(item, -1) for item in some], np.int64)
            wanted = at >= 0
            tokens[at[wanted]] = some_tokens[wanted]
            present[at[wanted]] = some_present[wanted]
            match[at[wanted]] = some_match[wanted]
            found[at[wanted]] = True
        if not found.all():
            missing = [ids[row] for row in np.flatnonzero(~found)[:3]]
            raise DataError(
                f"{self.folder}: no vector for {int((~found).sum())} item(s) of the catalogue, "
                f"{', '.join(map(repr, missing))}; run `python -m pipelines.embed_catalog` on it "
                "into a new folder"
            )
        return {TOKENS: tokens, PRESENT: present} | ({MATCH: match} if self.match else {})


def described_shard(file: pathlib.Path) -> Shard:
    """Returns the manifest's description of an existing shard."""
    records = pq.read_metadata(file).num_rows
    return Shard(file.name, records, file.stat().st_size, file_hash(file))


def widths_of(file: pathlib.Path, modalities: int) -> tuple[int, int]:
    """Returns D and W of the vectors in a shard."""
    schema = pq.read_schema(file)
    match = schema.field(MATCH).type.list_size if MATCH in schema.names else 0
    return schema.field(TOKENS).type.list_size // modalities, match


def write_vectors(file: pathlib.Path, parts: Iterable[Part]) -> int:
    """Writes vectors to a parquet file, and returns the number of items.

    Args:
      file: The file.
      parts: Ids [n], tokens [n, M, D] float32, presence [n, M] bool and match [n, W] float32; at
        least one part.
    """
    count, writer = 0, None
    try:
        for ids, tokens, present, match in parts:
            _, modalities, width = tokens.shape
            values = pa.FixedSizeListArray.from_arrays(
                pa.array(tokens.reshape(-1), pa.float32()), modalities * width
            )
            flags = pa.FixedSizeListArray.from_arrays(
                pa.array(present.reshape(-1), pa.bool_()), modalities
            )
            columns = {ID: pa.array(ids, pa.string()), TOKENS: values, PRESENT: flags}
            if match.shape[1]:
                columns[MATCH] = pa.FixedSizeListArray.from_arrays(
                    pa.array(match.reshape(-1), pa.float32()), match.shape[1]
                )
            table = pa.table(columns)
            # An encoder's floats are close to random: compression costs time and saves nothing.
            writer = writer or pq.ParquetWriter(file, table.schema, compression="none")
            writer.write_table(table)
            count += len(ids)
    finally:
        if writer is not None:
            writer.close()
    return count

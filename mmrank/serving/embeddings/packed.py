"""Converts an item's vectors to bytes of one fixed length, as Redis stores them, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmrank.serving.embeddings.base import ItemVectors, VectorShape

# The first byte of a row is the type of its numbers, so that a store may hold rows of both types.
CODES = {"float32": 1, "float16": 2}


class Packing:
    """Packs M tokens of width D, and W numbers to match by, into a row of bytes.

    A row is one byte for the type, M bytes of presence (0 or 1), M · D little-endian numbers of
    that type, then W float32 numbers. The latter include hashes, which must not be rounded.

    Args:
      shape: M, D and W.

    Example:
      >>> import numpy as np
      >>> from mmrank.serving.embeddings.base import VectorShape
      >>> packing = Packing(VectorShape(modalities=1, width=2))
      >>> tokens, present = np.array([[[0.5, 1.0]]]), np.array([[True]])
      >>> [row] = packing.pack(tokens, present, np.zeros([1, 0]), "float16")
      >>> len(row)  # the type, one flag, two numbers of two bytes
      6
      >>> packing.unpack([row]).tokens.tolist()
      [[[0.5, 1.0]]]
    """

    def __init__(self, shape: VectorShape):
        self.shape = shape
        modalities, width = shape.modalities, shape.width
        self._rows = {
            name: np.dtype(
                [
                    ("code", "u1"),
                    ("present", "u1", (modalities,)),
                    ("tokens", np.dtype(name).newbyteorder("<"), (modalities, width)),
                    ("match", "<f4", (shape.match,)),
                ]
            )
            for name in CODES
        }

    def pack(
        self, tokens: np.ndarray, present: np.ndarray, match: np.ndarray, dtype: str
    ) -> list[bytes]:
        """Returns the rows of some items.

        Args:
          tokens: [N, M, D].
          present: [N, M] bool.
          match: [N, W].
          dtype: float32, or float16 for half the memory and three digits.

        Raises:
          ValueError: A number is not finite, or too large for float16.
        """
        rows = np.zeros(len(tokens), self._rows[dtype])
        rows["code"], rows["present"] = CODES[dtype], present
        with np.errstate(over="ignore"):  # an overflow is reported below
            rows["tokens"], rows["match"] = tokens, match
        if not (np.isfinite(rows["tokens"]).all() and np.isfinite(rows["match"]).all()):
            raise ValueError(f"a vector has a number that {dtype} cannot hold")
        return [row.tobytes() for row in rows]

    def unpack(self, rows: Sequence[bytes | None]) -> ItemVectors:
        """Returns the vectors in some rows; missing or malformed rows are not known."""
        found = ItemVectors.none(len(rows), self.shape)
        for name, layout in self._rows.items():
            indices = [
                i
                for i, row in enumerate(rows)
                if row is not None and len(row) == layout.itemsize and row[0] == CODES[name]
            ]
            if not indices:
                continue
            read = np.frombuffer(b"".join(rows[i] or b"" for i in indices), layout)
            tokens = read["tokens"].astype(np.float32)
            match = read["match"].astype(np.float32)
            whole = np.isfinite(tokens).all((1, 2)) & np.isfinite(match).all(1)
            whole &= (read["present"] <= 1).all(1)
            found.put(
                np.array(indices),
                ItemVectors(tokens, read["present"] == 1, match, np.asarray(whole)),
            )
        return found

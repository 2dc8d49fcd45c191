"""An item's vectors as bytes of one fixed length, and back: what Redis holds under an id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmrank.serving.embeddings.base import ItemVectors, VectorShape

# The first byte of a row names the type of its numbers, so that both may stand side by side.
CODES = {"float32": 1, "float16": 2}


class Packing:
    """Rows of M modalities of width D, and of W numbers to match by.

    A row is one byte of the type, M bytes of presence (0 or 1), M · D little-endian numbers of that
    type, then W of float32: there are hashes among them, which must not be rounded.

    Args:
      shape: M, D and W.
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
        """The rows of some items.

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
        with np.errstate(over="ignore"):  # told below
            rows["tokens"], rows["match"] = tokens, match
        if not (np.isfinite(rows["tokens"]).all() and np.isfinite(rows["match"]).all()):
            raise ValueError(f"a vector has a number that {dtype} cannot hold")
        return [row.tobytes() for row in rows]

    def unpack(self, rows: Sequence[bytes | None]) -> ItemVectors:
        """The vectors in some rows; what is missing or no row of this form is not known."""
        found = ItemVectors.none(len(rows), self.shape)
        for name, layout in self._rows.items():
            places = [
                i
                for i, row in enumerate(rows)
                if row is not None and len(row) == layout.itemsize and row[0] == CODES[name]
            ]
            if not places:
                continue
            read = np.frombuffer(b"".join(rows[i] or b"" for i in places), layout)
            tokens = read["tokens"].astype(np.float32)
            match = read["match"].astype(np.float32)
            whole = np.isfinite(tokens).all((1, 2)) & np.isfinite(match).all(1)
            whole &= (read["present"] <= 1).all(1)
            found.put(np.array(places), ItemVectors(tokens, read["present"] == 1, match, whole))
        return found

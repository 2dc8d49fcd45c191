"""Conversion of values to texts and of texts to numbers, without a detour through floats."""

from __future__ import annotations

import numbers
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mmrank.data.findings import DataError
from mmrank.outputs import shown

_TRUTHS = {"true": "1", "false": "0"}
# Words for a missing number in a text file.
MISSING = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None")


# A surrogate: half of a pair that encodes one character. A lone one is not valid text.
_HALF = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """A text in which U+FFFD replaces lone surrogates, which remain where an emoji was cut."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


class Literal(str):
    """A number of a JSON document, as the text in the document."""


def text_of(value: Any) -> Any:
    """The text of a value: 38 for 38.0, True or False for a boolean, None for a missing value.

    A list becomes a list of the texts of its values. A dict stays unchanged.

    Example:
      >>> text_of(38.0), text_of(1.5), text_of(True), text_of(float("nan")), text_of(["a", 2.0])
      ('38', '1.5', 'True', None, ['a', '2'])
    """
    if isinstance(value, str):
        return str(value)
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (list, tuple, np.ndarray)):
        return [text_of(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        if value != value:
            return None
        whole = np.isfinite(value) and float(value).is_integer()
        return str(int(value)) if whole else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, dict) else str(value)


def texts_of(column: pd.Series) -> pd.Series:
    """The values of a column, converted by `text_of`."""
    if isinstance(column.dtype, pd.StringDtype):
        return column
    codes, distinct = _factorized(column)
    if codes is None:
        made = [text_of(value) for value in column]
        return pd.Series(made, index=column.index, dtype=object, name=column.name)
    table = np.array([*(text_of(value) for value in distinct), None], dtype=object)
    return pd.Series(table[codes], index=column.index, dtype=object, name=column.name)


def _factorized(column: pd.Series) -> tuple[np.ndarray | None, Any]:
    """Codes and distinct values; None for columns of objects: lists, mappings or mixed types."""
    if column.dtype == object:
        return None, None
    return pd.factorize(column)


def arrow_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of an Arrow column as text, by the rules of `text_of`; structs stay structs."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return arrow_texts(values.cast(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_struct(kind):
        return values
    if pa.types.is_floating(kind):
        return _texts_of_floats(values)
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "True", "False")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        if pa.types.is_map(kind) or not _has_text(kind.value_type):
            return values
        return pa.chunked_array(
            [_texts_of_list(chunk) for chunk in values.chunks]
            or [pa.array([], pa.list_(pa.string()))]
        )
    return values.cast(pa.string())


def _has_text(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_dictionary(kind))


def _texts_of_list(values: pa.Array) -> pa.Array:
    flat = arrow_texts(pa.chunked_array([values.flatten()])).combine_chunks()
    if isinstance(flat, pa.ChunkedArray):
        flat = pa.concat_arrays(flat.chunks)
    sizes = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), flat.cast(pa.string()), mask=values.is_null()
    )


def _texts_of_floats(values: pa.ChunkedArray) -> pa.ChunkedArray:
    array = values.to_numpy()
    made = np.array([text_of(v) for v in array], dtype=object)
    return pa.chunked_array([pa.array(made, pa.string())])


def as_numbers_where_all(
    column: pd.Series,
    decimal: str = ".",
    thousands: str | None = None,
    truths: bool = False,
) -> pd.Series:
    """The column as numbers if each of its texts is a number or means missing, else as texts.

    If the column stays texts, those texts that are numbers are written with a decimal point.

    Args:
      column: Texts, or values of another type.
      decimal: Decimal mark.
      thousands: Separator between groups of three digits; None for none.
      truths: Whether true and false are read as 1 and 0, as in a column of booleans.

    Example:
      >>> import pandas as pd
      >>> as_numbers_where_all(pd.Series(["1.234,5", "7"]), decimal=",", thousands=".").tolist()
      [1234.5, 7.0]
      >>> as_numbers_where_all(pd.Series(["1", "XL"])).tolist()
      ['1', 'XL']
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column
    stripped = texts_of(column).astype("string").str.strip()
    texts = stripped.mask(stripped.isin(MISSING) | (stripped == ""))
    if thousands is not None:
        grouped = texts.str.fullmatch(_grouped(thousands, decimal)).fillna(False)
        texts = texts.mask(grouped, texts.str.replace(thousands, "", regex=False))
    if truths:
        lower = texts.str.lower()
        texts = texts.mask(lower.isin(_TRUTHS), lower.map(_TRUTHS))
    if decimal == ",":
        texts = texts.mask(texts.str.contains(".", regex=False).fillna(False), "no number")
        texts = texts.str.replace(",", ".", regex=False)
    made = pd.to_numeric(texts, errors="coerce")
    if (made.isna() & texts.notna()).any():
        return (
            column if decimal == "." and thousands is None else texts.where(made.notna(), stripped)
        )
    whole = pd.api.types.is_integer_dtype(made) and not made.isna().any()
    return made.astype("int64" if whole else "float64")


def _grouped(thousands: str, decimal: str) -> str:
    mark = re.escape(decimal)
    return rf"[+-]?\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+(?:{mark}\d*)?"


_LISTS = (list, tuple, np.ndarray)


def refuse_nested(file: Any, column: pd.Series, lists: bool = False) -> None:
    """Checks that every value of a column is a text, a number or missing.

    Args:
      file: The file of the column, for the message.
      column: The values.
      lists: Whether lists of such values are allowed as well.

    Raises:
      DataError: A value is a list or an object that is not allowed.
    """
    if column.dtype != object:
        return
    nested = [
        any(isinstance(part, (*_LISTS, dict)) for part in value)
        if lists and isinstance(value, _LISTS)
        else isinstance(value, (*_LISTS, dict))
        for value in column
    ]
    if any(nested):
        row = nested.index(True)
        value = column.iloc[row]
        what, meant = "a list, not a text", "a single text or id"
        if isinstance(value, dict):
            what = "an object, not a text"
        elif lists:
            what = "a list of lists or objects"
        if lists:
            meant = "a list of texts"
        raise DataError(
            f"{file}: column {column.name!r}: {sum(nested)} value(s), row {row + 1}: "
            f"{shown(value)}: is {what}; write {meant}"
        )

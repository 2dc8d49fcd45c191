"""Tables read in pieces have the values of the whole table, wherever the pieces are cut."""

from __future__ import annotations

import gzip
import pathlib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrank.data.cells import as_ids
from mmrank.data.chunks import read_chunks
from mmrank.data.findings import DataError

BIG = 2**53 + 1  # the first whole number that a float cannot represent


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_no_id_passes_through_a_float(tmp_path: pathlib.Path, ending: str, rows: int) -> None:
    file = tmp_path / f"t.{ending}"
    if ending == "parquet":
        ids = pa.array([BIG, None, 7, BIG + 2], pa.int64())
        size = pa.array([38.0, 38.5, None, 39.0])
        pq.write_table(pa.table({"sku": ids, "size": size, "price": ids}), file)
    else:
        lines = [f'{{"sku": {BIG}, "size": 38, "price": {BIG}}}', '{"size": 38.5}']
        lines += ['{"sku": "7", "price": 7}', f'{{"sku": {BIG + 2}, "size": 39}}']
        file.write_text("\n".join(lines))
    pieces = list(read_chunks(file, rows, texts=["sku", "size"]))
    assert [len(p) for p in pieces] == {1: [1] * 4, 2: [2, 2], 9: [4]}[rows]
    for piece in pieces:
        for column in {"sku", "size"} - set(piece):
            piece[column] = None
    read = pd.concat([as_ids(p["sku"]) for p in pieces])
    assert [None if pd.isna(v) else v for v in read] == [str(BIG), None, "7", str(BIG + 2)]
    sizes = [v for p in pieces for v in p["size"]]
    assert [None if pd.isna(v) else v for v in sizes] == ["38", "38.5", None, "39"]
    assert pieces[0]["price"].iloc[0] == BIG


def test_a_truncated_file_is_a_one_line_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"sku": 1}\n{"sku": ')
    with pytest.raises(DataError, match="cannot be read as .jsonl: line 2: "):
        list(read_chunks(tmp_path / "t.jsonl", 1))


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz"])
def test_cells_of_a_text_table_stay_text(tmp_path: pathlib.Path, name: str, rows: int) -> None:
    lines = ["id,title", '007,"a, b"', "1.10,", ",501", "NA,d"]
    text = "\n".join(lines).replace(",", "\t") if name == "t.tsv" else "\n".join(lines)
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    read = pd.concat(read_chunks(tmp_path / name, rows), ignore_index=True)
    plain = [[None if pd.isna(v) else v for v in row] for row in read.to_numpy()]
    comma = "a\t b" if name == "t.tsv" else "a, b"
    assert plain == [["007", comma], ["1.10", None], [None, "501"], ["NA", "d"]]


@pytest.mark.parametrize(
    ("text", "actual"),
    [
        ("a,b\n1,2\n3,4,5\n", "t.csv: row 2 has 3 fields, the header 2"),
        ("a,b\n1,2\n3\n", "t.csv: row 2 has 1 fields, the header 2"),
        # pandas would use the first field of each row as its row name.
        ("a,b\n1,2,3\n4,5,6\n", "t.csv: row 1 has 3 fields, the header 2"),
        ("a,a\n1,2\n", "2 columns are called 'a'"),
    ],
)
def test_rows_of_other_lengths_are_reported(tmp_path: pathlib.Path, text: str, actual: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        list(read_chunks(tmp_path / "t.csv", 1))
    assert actual in str(caught.value)

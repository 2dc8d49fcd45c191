"""Files of every type: unchanged texts, numbers as numbers, dialects, parts."""

from __future__ import annotations

import gzip
import json
import pathlib
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrank.data.reading import FOUND, columns_of, read_table
from mmrank.data.tables import DataError
from mmrank.schema import Reading

BIG = 2**53 + 1  # the first whole number that a float cannot represent


def values(frame: pd.DataFrame, column: str) -> list[object]:
    return [None if pd.isna(v) else v for v in frame[column]]


@pytest.fixture
def csv(tmp_path: pathlib.Path):
    def write(text: str, name: str = "t.csv", encoding: str = "utf-8") -> pathlib.Path:
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def test_texts_of_a_csv_are_unchanged(csv) -> None:
    file = csv("size,version,title,count\n38,1.1,501,1\n38.5,1.10,,NA\n007,1e5,NA,\n")
    frame = read_table(file, ["size", "version", "title"], numbers=["count"])
    assert values(frame, "size") == ["38", "38.5", "007"]
    assert values(frame, "version") == ["1.1", "1.10", "1e5"]
    assert values(frame, "title") == ["501", None, "NA"]
    np.testing.assert_array_equal(frame["count"], [1, np.nan, np.nan])
    # An unnamed column is also read as text, unless the table is only inspected.
    assert values(read_table(file, numbers=[]), "version") == ["1.1", "1.10", "1e5"]


def test_a_zero_byte_does_not_end_a_title(csv) -> None:
    frame = read_table(csv("title,x\nred\x00dress,1\n"), ["title"], numbers=["x"])
    assert values(frame, "title") == ["red\x00dress"]


def test_a_column_with_a_value_that_is_not_a_number_is_unchanged(csv) -> None:
    frame = read_table(csv('price\n1.50\n"1,299.00"\n'), numbers=["price"])
    assert values(frame, "price") == ["1.50", "1,299.00"]


def test_texts_of_json_lines_are_unchanged(tmp_path: pathlib.Path) -> None:
    lines = [
        f'{{"id": {BIG}, "size": 38, "version": 1.10, "price": 1.50, "tags": [1, "b"]}}',
        '{"id": null, "size": 38.5, "version": 1.1, "price": 2, "tags": null}',
        '{"id": "007", "size": "39", "version": true, "price": null}',
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    frame = read_table(tmp_path / "t.jsonl", ["id", "size", "version", "tags"], numbers=["price"])
    assert values(frame, "id") == [str(BIG), None, "007"]
    assert values(frame, "size") == ["38", "38.5", "39"]
    assert values(frame, "version") == ["1.10", "1.1", "True"]
    assert list(frame["tags"]) == [["1", "b"], None, None]
    np.testing.assert_array_equal(frame["price"], [1.5, 2, np.nan])
    # By default numbers are read as numbers, and no large number becomes a float.
    assert list(read_table(tmp_path / "t.jsonl", numbers=[])["id"]) == [BIG, None, "007"]


def test_texts_of_parquet_are_unchanged(tmp_path: pathlib.Path) -> None:
    table = pa.table(
        {
            "id": pa.array([BIG, None, 7], pa.int64()),
            "other": pa.array([BIG, None, 7], pa.int64()),
            "gap": pa.array([17.0, None, 3.0]),
            "size": pa.array([38.0, 38.5, None]),
            "single": pa.array([0.1, 2.5, None], pa.float32()),
            "code": pa.array([1, 1, 2]).dictionary_encode(),
            "cost": pa.array([Decimal("9.50"), None, Decimal("1.00")], pa.decimal128(10, 2)),
            "truth": pa.array([True, False, None]),
            "tags": pa.array([[BIG, None], None, []], pa.list_(pa.int64())),
            "bytes": pa.array([b"abc", None, "ü".encode()]),
            "price": pa.array([1, None, 2], pa.int32()),
            "decimal": pa.array([Decimal("9.50"), None, Decimal("1.00")], pa.decimal128(10, 2)),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    texts = ["id", "gap", "size", "single", "code", "cost", "truth", "tags", "bytes"]
    frame = read_table(tmp_path / "t.parquet", texts, numbers=["price", "decimal"])
    assert values(frame, "id") == [str(BIG), None, "7"]
    assert values(frame, "other") == [BIG, None, 7]
    assert values(frame, "gap") == ["17", None, "3"]
    assert values(frame, "size") == ["38", "38.5", None]
    assert values(frame, "single") == ["0.1", "2.5", None]
    assert values(frame, "code") == ["1", "1", "2"]
    assert values(frame, "cost") == ["9.50", None, "1.00"]
    assert values(frame, "truth") == ["True", "False", None]
    assert [None if t is None else list(t) for t in frame["tags"]] == [[str(BIG), None], None, []]
    assert values(frame, "bytes") == ["abc", None, "ü"]
    np.testing.assert_array_equal(frame["price"], [1, np.nan, 2])
    np.testing.assert_array_equal(frame["decimal"], [9.5, np.nan, 1])


def test_an_index_of_pandas_is_a_column(tmp_path: pathlib.Path) -> None:
    frame = pd.DataFrame({"sku": ["a", "b", "c"], "x": [1, 2, 3]})
    frame.set_index("sku").to_parquet(tmp_path / "i.parquet")
    frame[frame["x"] > 1].to_parquet(tmp_path / "n.parquet")
    assert values(read_table(tmp_path / "i.parquet"), "sku") == ["a", "b", "c"]
    assert list(read_table(tmp_path / "n.parquet")) == columns_of(tmp_path / "n.parquet")
    assert columns_of(tmp_path / "n.parquet") == ["sku", "x"]


@pytest.mark.parametrize(
    ("text", "encoding", "actual", "found"),
    [
        ("id,t,p\n1,é,1.5\n", "utf-8-sig", Reading(), ["UTF-8 with a byte order mark"]),
        ('"id","t","p"\n"1","é","1.5"\n', "utf-8-sig", Reading(), ["UTF-8 with a byte order mark"]),
        ("id,t,p\n1,é,1.5\n", "utf-16", Reading(), ["UTF-16 with a byte order mark"]),
        ("id,t,p\n1,é,1.5\n", "utf-32", Reading(), ["UTF-32 with a byte order mark"]),
        ("id,t,p\n1,é,1.5\n", "utf-16-le", Reading(encoding="utf-16-le"), []),
        ("id;t;p\n1;é;1,5\n", "utf-8", Reading(), ["separated by ';'", "decimal commas"]),
        ('id;t;p\n1;"a;é";1,5\n', "utf-8", Reading(separator=";", decimal=","), []),
        ("id\tt\tp\n1\té\t1.5\n", "utf-8", Reading(), [r"separated by '\t'"]),
        ("id,t,p\r1,é,1.5\r", "utf-8", Reading(), []),
        ("id;t;p\r\n1;é;1,5\r\n", "latin-1", Reading(encoding="latin-1"), ["separated by ';'"]),
        ("id|t|p\n1|é|1.5\n", "cp1252", Reading(encoding="cp1252"), ["separated by '|'"]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_dialects(tmp_path: pathlib.Path, text, encoding, actual, found, packed) -> None:
    file = tmp_path / ("t.csv.gz" if packed else "t.csv")
    content = text.encode(encoding)
    file.write_bytes(gzip.compress(content) if packed else content)
    frame = read_table(file, ["id", "t"], numbers=["p"], reading=actual)
    assert values(frame, "id") == ["1"]
    assert values(frame, "t")[0].endswith("é")
    assert values(frame, "p") == [1.5]
    assert columns_of(file, actual) == ["id", "t", "p"]
    said = "; ".join(frame.attrs[FOUND])
    assert bool(said) == bool(found)
    for words in found:
        assert words in said


@pytest.mark.parametrize(
    ("cells", "actual", "expected"),
    [
        (["1,5", "2"], Reading(), [1.5, 2]),
        (["1,500", "2"], Reading(), ["1,500", "2"]),  # ambiguous: 1.5 or 1500
        (["1,500", "2"], Reading(decimal=","), [1.5, 2]),
        (["1.299,50", "2"], Reading(decimal=",", thousands="."), [1299.5, 2]),
        (["1.299,50", "2,5"], Reading(decimal=","), ["1.299,50", "2.5"]),
        (["1,299.50", "12,2"], Reading(thousands=","), ["1,299.50", "12,2"]),
        (["1,299.50", "2"], Reading(thousands=","), [1299.5, 2]),
    ],
)
def test_decimal_marks(csv, cells, actual, expected) -> None:
    actual = Reading(separator=";", decimal=actual.decimal, thousands=actual.thousands)
    frame = read_table(
        csv("\n".join(["a;p", *(f"x;{c}" for c in cells)])), numbers=["p"], reading=actual
    )
    if "12,2" in cells:  # the only number is normalised before the check
        expected = ["1299.50", "12,2"]
    assert values(frame, "p") == expected


def test_titles_with_commas_in_a_single_column_are_not_split(csv) -> None:
    assert values(read_table(csv("title\na;b\nc;d;e\n"), ["title"], numbers=[]), "title") == [
        "a;b",
        "c;d;e",
    ]
    frame = read_table(csv("id;title\n1;a, b\n2;c, d, e\n"), ["title"], numbers=["id"])
    assert values(frame, "title") == ["a, b", "c, d, e"]


def test_inch_signs_do_not_join_rows(csv) -> None:
    lines = ["id\ttitle", '1\t"quoted start', "2\tb", '3\ta lamp of 19"', "4\td"]
    frame = read_table(csv("\n".join(lines), "t.tsv"), ["id", "title"], numbers=[])
    assert values(frame, "title") == ['"quoted start', "b", 'a lamp of 19"', "d"]
    assert frame.attrs[FOUND] == ("t.tsv: quotes are part of the text",)


def test_cells_of_several_lines_are_reported(csv) -> None:
    frame = read_table(csv('id,title\n1,"a,\nb"\n2,"say ""c"""\n'), ["title"], numbers=[])
    assert values(frame, "title") == ["a,\nb", 'say "c"']
    assert frame.attrs[FOUND] == ("t.csv: 1 quoted cells contain line breaks and ','",)


@pytest.mark.parametrize(
    ("content", "name", "actual", "words"),
    [
        (
            b"a,b\n1,2,3\n",
            "t.csv",
            Reading(),
            "t.csv: row 1 has 3 fields, the header 2 ('1,2,3'); put",
        ),
        (b"a,b\n1,2\n3\n", "t.csv", Reading(), "t.csv: row 2 has 1 fields, the header 2"),
        (b"a,a\n1,2\n", "t.csv", Reading(), "2 columns are called 'a'"),
        (b"a,b\n1,\xe9\n", "t.csv", Reading(), "encoding: latin-1}"),
        (b'{"a": 1}\n{"a": \n', "t.jsonl", Reading(), "cannot be read as .jsonl: line 2: "),
        (
            b"[1]\n",
            "t.jsonl",
            Reading(),
            "line 1 begins an array; expected an object",
        ),
        (
            gzip.compress(b"a,b\n" + b"1,2\n" * 9_999, mtime=0)[:-30],
            "t.csv.gz",
            Reading(),
            "download it again",
        ),
        (
            gzip.compress(b'{"a": 1}\n' * 9_999, mtime=0)[:-30],
            "t.jsonl.gz",
            Reading(),
            "download it again",
        ),
        (b"no gzip", "t.csv.gz", Reading(), "cannot be read"),
        (
            b"# made today\na,b\n",
            "t.csv",
            Reading(),
            "first line, '# made today', is not the header",
        ),
        (
            b"a,b\n1,2\n(1 row)\n",
            "t.csv",
            Reading(),
            "row 2 has 1 fields, the header 2 ('(1 row)')",
        ),
        (b'{"a": 1, "b": 2, "a": 3}\n', "t.jsonl", Reading(), "line 1: the key 'a' appears twice"),
        (b'{"a": {"b": 1, "b": 2}}\n', "t.jsonl", Reading(), "line 1: the key 'b' appears twice"),
        (b"", "t.jsonl", Reading(), "t.jsonl: cannot be read as .jsonl: it is empty"),
        (b"\n\n", "t.csv", Reading(), "t.csv: cannot be read as .csv: it is empty"),
        (b"PK\x03\x04...", "t.csv", Reading(), "is a zip archive or an Excel file; unzip it"),
        (
            gzip.compress(b"a,b\n", mtime=0),
            "t.csv",
            Reading(),
            "is a gzip file; rename it to end in .gz",
        ),
        (b"PAR1...", "t.tsv", Reading(), "is a parquet file; rename it to end in .parquet"),
        (b"\n <!DOCTYPE html>\n<p>Sign in, please", "t.csv", Reading(), "is HTML or XML"),
        ("a,b\n1,2\n".encode("utf-16-le"), "t.csv", Reading(), "encoding: utf-16-le}"),
        ("a,b\n1,2\n".encode("utf-16-be"), "t.csv", Reading(), "encoding: utf-16-be}"),
        (b"1 qid:1 1:x\n", "t.svm", Reading(), "t.svm: cannot be read as svmlight: line 1"),
        (b"a b\n", "t.train", Reading(), "set `format` in the schema"),
    ],
)
def test_unreadable_files_are_one_line_errors(tmp_path, content, name, actual, words) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / name, reading=actual)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "csv.gz", "svm"])
def test_parts_of_a_folder_or_a_pattern_are_one_table(tmp_path: pathlib.Path, ending: str) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for n in range(2):
        frame = pd.DataFrame({"id": [f"{n}0", f"{n}1"], "x": [n, n + 0.5]})
        file = folder / f"part-{n}.{ending}"
        if ending == "parquet":
            frame.to_parquet(file)
        elif ending == "jsonl":
            frame.to_json(file, orient="records", lines=True)
        elif ending == "svm":
            file.write_text(f"{n} qid:{n} 1:0.5\n")
        else:
            frame.to_csv(file, index=False)
    (folder / "_SUCCESS").write_text("")
    (folder / ".part.crc").write_text("")
    for path in (folder, folder / f"part-*.{ending}"):
        frame = read_table(path, ["id"], numbers=["x"])
        if ending == "svm":
            assert values(frame, "qid") == ["0", "1"]
            continue
        assert values(frame, "id") == ["00", "01", "10", "11"]
        assert values(frame, "x") == [0, 0.5, 1, 1.5]
        assert list(frame.index) == [0, 1, 2, 3]
    (folder / "b.tsv").write_text("id\n")
    with pytest.raises(DataError, match="a folder with files of several types"):
        read_table(folder)
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "parts-*.csv")


def test_parts_must_have_the_same_columns(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DataError, match=r"b.csv: its columns differ from those of a.csv: y, z"):
        read_table(tmp_path / "*.csv")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_columns_of_a_prefix_become_one(tmp_path: pathlib.Path, ending: str) -> None:
    frame = pd.DataFrame(
        {
            "id": ["1", "2", "3"],
            "attr_t_colour": ["red", None, None],
            "attr_n_weight": [62.0, 1.5, None],
            "attr_b_new": [True, False, None],
            "title": ["a", "b", "c"],
        }
    )
    file = tmp_path / f"t.{ending}"
    if ending == "parquet":
        frame.to_parquet(file)
    elif ending == "csv":
        frame.to_csv(file, index=False)
    else:
        rows = [
            {k: v for k, v in r.items() if v == v and v is not None}
            for r in frame.to_dict("records")
        ]
        file.write_text("\n".join(map(json.dumps, rows)))
    read = read_table(file, ["id", "attr_*"], numbers=[])
    assert sorted(read) == ["attr_*", "id", "title"]
    weight = "62.0" if ending == "csv" else "62"  # the text of the file
    assert list(read["attr_*"]) == [
        f"t colour: red\nn weight: {weight}\nb new: yes",
        "n weight: 1.5\nb new: no",
        "",
    ]
    kept = read_table(file, ["attr_*"], ["attr_b_new"], numbers=[])["attr_*"]
    assert kept[1] == "n weight: 1.5"
    assert "other_*" not in read_table(file, ["other_*"])


def test_lone_surrogates_are_not_text(tmp_path: pathlib.Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": "x\\ud800y", "b": "\\ud83d\\ude00"}\n')
    frame = read_table(tmp_path / "t.jsonl", ["a"])
    assert values(frame, "a") == ["x\ufffdy"]
    assert values(frame, "b") == ["😀"]


@pytest.mark.parametrize("wanted", ["texts", "numbers", "neither"])
@pytest.mark.parametrize("form", ["string", "dictionary", "binary"])
def test_a_parquet_column_of_bytes_that_are_not_text_is_reported(
    tmp_path: pathlib.Path, form: str, wanted: str
) -> None:
    """Writers other than Arrow's may mark bytes as text without checking them."""
    offsets, held = np.array([0, 2, 4], np.int32), b"ok\xff\xfe"
    column = pa.StringArray.from_buffers(2, pa.py_buffer(offsets), pa.py_buffer(held))
    if form == "dictionary":
        column = column.dictionary_encode()
    if form == "binary":
        column = pa.array([b"ok", b"\xff\xfe"])
        if wanted != "texts":
            return  # it is not declared as text and was not asked for as text
    file = tmp_path / "catalog.parquet"
    pq.write_table(pa.table({"title": column}), file)
    kinds = {"texts": {"texts": ["title"]}, "numbers": {"numbers": ["title"]}, "neither": {}}
    with pytest.raises(
        DataError, match="column 'title': row 2: bytes that are not UTF-8"
    ) as raised:
        read_table(file, **kinds[wanted])
    assert str(raised.value) == (
        f"{file}: column 'title': row 2: bytes that are not UTF-8; write it as UTF-8 text"
    )


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_true_and_false_are_1_and_0_in_number_columns(tmp_path: pathlib.Path, ending: str) -> None:
    file = tmp_path / f"t.{ending}"
    if ending == "csv":
        file.write_text("click,word\nTrue,True\nfalse,false\n,\n")
    elif ending == "jsonl":
        file.write_text('{"click": true, "word": true}\n{"click": false, "word": false}\n{}\n')
    else:
        truths = pa.array([True, False, None])
        pq.write_table(pa.table({"click": truths, "word": truths}), file)
    frame = read_table(file, ["word"], numbers=["click"])
    np.testing.assert_array_equal(frame["click"].to_numpy(float), [1, 0, np.nan])
    assert values(frame, "word") == ["True", "false" if ending == "csv" else "False", None]


def test_repeated_column_names_in_parquet_are_reported(tmp_path: pathlib.Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 2, ["x", "x"]), tmp_path / "t.parquet")
    for read in (read_table, columns_of):
        with pytest.raises(DataError, match="t.parquet: 2 columns are called 'x'; give each"):
            read(tmp_path / "t.parquet")


def test_windows_line_ends_within_quotes_do_not_end_rows(csv) -> None:
    file = csv('id,title\r\n1,"red\r\ndress"\r\n2,mug\r\n')
    assert values(read_table(file, ["id", "title"], numbers=[]), "title") == ["red\r\ndress", "mug"]

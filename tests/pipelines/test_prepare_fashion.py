"""Attribute queries over fashion products: grades, stripped titles, disjoint sets of products."""

import math
import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest

from mmrank.data.tables import load_dataset
from mmrank.outputs import OutputError, exit_code, new_folder
from pipelines import prepare_fashion
from pipelines.difficulty import random_ndcg, scored_ndcg
from pipelines.fashion_lists import draw_candidates
from pipelines.fashion_queries import Phrase, phrases, type_wordings
from pipelines.fashion_titles import colour_words, indicative_words, strip_title
from pipelines.prepare_fashion import loses_words, pool_of

COLOURS = colour_words(["Red", "Navy Blue", "Black", "White"])


def products(number: int = 400) -> pd.DataFrame:
    """Products in every combination of three types and four colours, in the public layout."""
    types = [("Kurtas", "Topwear", "Ethnic"), ("Tshirts", "Topwear", "Sports")]
    types.append(("Casual Shoes", "Shoes", "Casual"))
    colours = ["Red", "Navy Blue", "Black", "White"]
    rows = []
    for i in range(number):
        kind, sub, usage = types[i % 3]
        colour = colours[i // 3 % 4]
        title = f"Acme Men {colour} {kind} Line{i}"
        rows.append((str(1000 + i), title, "Apparel", sub, kind, colour, usage))
    columns = "product_id title master_category sub_category article_type colour usage".split()
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "source"
    folder.mkdir()
    items = products()
    items.to_csv(folder / "products.csv", index=False)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for product_id in items["product_id"][1:]:
            archive.writestr(f"images/{product_id}.jpg", b"picture " + product_id.encode())
    return folder


def items_of(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["article_type", "colour", "usage"])


class TestGrades:
    def test_of_two_parts(self):
        items = items_of(
            ("Kurtas", "Red", "Ethnic"),
            ("Kurtas", "Black", "Ethnic"),
            ("Shirts", "Red", "Formal"),
            ("Shirts", "Black", "Formal"),
        )
        assert Phrase("Kurtas", colour="Red").grades(items).tolist() == [3, 2, 1, 0]
        assert Phrase("Shirts", usage="Formal").grades(items).tolist() == [0, 0, 3, 3]

    def test_of_three_parts(self):
        items = items_of(
            ("Shirts", "Red", "Formal"),
            ("Shirts", "Red", "Casual"),
            ("Shirts", "Blue", "Formal"),
            ("Shirts", "Blue", "Casual"),
            ("Kurtas", "Red", "Formal"),
            ("Kurtas", "Red", "Ethnic"),
            ("Kurtas", "Blue", "Formal"),
            ("Kurtas", "Blue", "Ethnic"),
        )
        grades = Phrase("Shirts", "Red", "Formal").grades(items)
        assert grades.tolist() == [3, 2, 2, 1, 1, 0, 0, 0]


def test_a_common_usage_makes_no_phrase():
    items = items_of(
        ("Sports Shoes", "Red", "Sports"),
        ("Tshirts", "Red", "Sports"),
        ("Tshirts", "Red", "Casual"),
    )
    found = phrases(items)
    assert found["colour"] == {Phrase("Sports Shoes", "Red"): 1, Phrase("Tshirts", "Red"): 2}
    assert found["usage"] == {Phrase("Tshirts", usage="Sports"): 1}
    assert found["both"] == {Phrase("Tshirts", "Red", "Sports"): 1}


def test_phrases_are_worded_like_queries():
    assert Phrase("Kurtas", "Navy Blue").wordings() == ["navy blue kurtas", "navy blue kurta"]
    assert Phrase("Shirts", "Red", "Formal").wordings()[1] == "red formal shirt"
    assert type_wordings("Tshirts") == ("tshirts", "tshirt", "t-shirt", "t-shirts")
    assert type_wordings("Watches") == ("watches", "watch")
    assert type_wordings("Casual Shoes") == ("casual shoes",)
    assert type_wordings("Nail Polish") == ("nail polish",)


@pytest.mark.parametrize(
    ("title", "attributes", "left"),
    [
        ("Puma Men Navy Blue T-shirt", ("Navy Blue", "Tshirts", "Topwear", "Sports"), "Puma Men"),
        ("Nike tee RED Tshirts Run", ("Red", "Tshirts", "Topwear", "Casual"), "Nike Run"),
        ("Acme T Shirt", ("Red", "Tshirts", "Topwear", "Casual"), "Acme"),
        ("Vans Men Black Shoe", ("Black", "Casual Shoes", "Shoes", "Casual"), "Vans Men"),
        # Another colour of the catalogue, and pieces joined by punctuation.
        ("Ray White/Red - Kurta", ("Black", "Kurtas", "Topwear", "Ethnic"), "Ray"),
        # A word inside a longer word is kept.
        ("Redtape Blackberry Kurta", ("Red", "Kurtas", "Topwear", "Ethnic"), "Redtape Blackberry"),
        ("Red Kurtas", ("Red", "Kurtas", "Topwear", "Ethnic"), ""),
        ("Elle Party Dress", ("Red", "Dresses", "Dress", "Party"), "Elle"),
        ("Wool Scarf", ("Red", "Scarves", "Scarves", "Casual"), "Wool"),
    ],
)
def test_titles_lose_their_attribute_words(title, attributes, left):
    assert strip_title(title, attributes, COLOURS) == left


class TestCandidates:
    graded = [np.arange(100, 200), np.arange(50, 100), np.arange(10, 50), np.arange(10)]

    def draw(self, graded):
        return draw_candidates(graded, 60, np.random.default_rng(1))

    def test_five_perfect_thirty_near_the_rest_random(self):
        chosen = self.draw(self.graded)
        assert len(set(chosen.tolist())) == len(chosen) == 60
        assert (chosen < 10).sum() >= 5
        assert np.isin(chosen, self.graded[2]).sum() >= 12
        assert np.isin(chosen, self.graded[1]).sum() >= 18

    def test_missing_near_misses_are_made_up_by_the_other_grade(self):
        graded = [np.arange(45, 200), np.arange(41, 45), np.arange(1, 41), np.arange(1)]
        chosen = self.draw(graded)
        assert (chosen == 0).sum() == 1
        assert np.isin(chosen, graded[1]).sum() == 4
        assert np.isin(chosen, graded[2]).sum() >= 26


def test_prepared_dataset(source, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepare_fashion.main(["--source", str(source), "--out", str(out)]) == 0
    assert "random order NDCG@10" in capsys.readouterr().out
    data = load_dataset(out)
    truth = products().set_index("product_id")

    assert list(data.catalog.columns) == ["item_id", "title", "photo"]
    assert data.catalog["photo"].isna().tolist() == [True] + [False] * 399
    for item_id, title in zip(data.catalog["item_id"], data.catalog["title"], strict=True):
        row = truth.loc[item_id]
        line = row["title"].split()[-1]
        assert title == (f"Acme Men {line}" if loses_words(item_id) else row["title"])
    with zipfile.ZipFile(out / "images.zip") as archive:
        assert archive.read(data.catalog["photo"][7]) == b"picture 1007"

    assert set(data.lists["split"]) == {"train", "valid", "test"}
    shown = {split: set(rows["item_id"]) for split, rows in data.lists.groupby("split")}
    for split, items in shown.items():
        assert {pool_of(item) for item in items} == {split}
    for _, rows in data.lists.groupby("list_id"):
        assert rows["item_id"].is_unique
        assert rows["grade"].max() == 3
    check_grades(data.lists, truth)


def check_grades(lists: pd.DataFrame, truth: pd.DataFrame) -> None:
    """Checks the grades, row by row, against the words of the query."""
    spoken = {w: t for t in truth["article_type"].unique() for w in type_wordings(t)}
    for row in lists[::7].itertuples():
        item = truth.loc[row.item_id]
        wording = max((w for w in spoken if f" {row.query}".endswith(f" {w}")), key=len)
        rest = row.query[: -len(wording)].split()
        colour = [c for c in truth["colour"].unique() if c.lower() == " ".join(rest)]
        usage = [u for u in truth["usage"].unique() if rest and u.lower() == rest[-1]]
        if not colour and usage:
            before = " ".join(rest[:-1])
            colour = [c for c in truth["colour"].unique() if c.lower() == before]
        else:
            usage = []
        of_type = item["article_type"] == spoken[wording]
        held = [item["colour"] == colour[0]] if colour else []
        held += [item["usage"] == usage[0]] if usage else []
        assert held
        if all(held) and of_type:
            grade = 3
        elif len(held) == 1:
            grade = 2 if of_type else int(held[0])
        elif of_type:
            grade = 2 if any(held) else 1
        else:
            grade = int(all(held))
        assert row.grade == grade, row


def test_same_seed_same_dataset(source, tmp_path):
    lists = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        prepare_fashion.prepare(source, tmp_path / name, seed=seed, queries=40)
        lists.append(pd.read_parquet(tmp_path / name / "lists.parquet"))
    assert lists[0].equals(lists[1])
    assert not lists[0].equals(lists[2])


def test_one_split_gets_everything(source, tmp_path):
    prepare_fashion.prepare(source, tmp_path / "out", split="test", queries=25)
    lists = load_dataset(tmp_path / "out").lists
    assert set(lists["split"]) == {"test"}
    assert lists["list_id"].nunique() == 25
    assert (lists.groupby("list_id").size() == 60).all()
    assert lists["item_id"].map(pool_of).nunique() == 3


class TestWrongInput:
    def run(self, source, out):
        return prepare_fashion.main(["--source", str(source), "--out", str(out)])

    def test_no_such_source(self, tmp_path, capsys):
        assert self.run(tmp_path / "none", tmp_path / "out") == 2
        assert "products.csv: no such file" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_missing_column(self, source, tmp_path, capsys):
        products().drop(columns="colour").to_csv(source / "products.csv", index=False)
        assert self.run(source, tmp_path / "out") == 2
        assert "no column 'colour'" in capsys.readouterr().err

    def test_duplicated_product(self, source, tmp_path, capsys):
        items = products(3)
        pd.concat([items, items[1:2]]).to_csv(source / "products.csv", index=False)
        assert self.run(source, tmp_path / "out") == 2
        assert "row 5: '1001' is repeated" in capsys.readouterr().err

    def test_broken_archive(self, source, tmp_path, capsys):
        (source / "images.zip").write_bytes(b"not a zip")
        assert self.run(source, tmp_path / "out") == 2
        assert "not a zip archive" in capsys.readouterr().err

    def test_too_few_products(self, source, tmp_path, capsys):
        products(3).to_csv(source / "products.csv", index=False)
        assert self.run(source, tmp_path / "out") == 2
        assert "too few" in capsys.readouterr().err
        assert [p.name for p in tmp_path.iterdir()] == ["source"]

    def test_output_is_never_overwritten(self, source, tmp_path, capsys):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("keep")
        assert self.run(source, tmp_path / "out") == 2
        assert "exists and is not empty" in capsys.readouterr().err
        assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


def test_words_that_reveal_attributes_by_hand():
    # "dial" is in 6 titles, 4 of watches: 2/3 against a share of 6/30 overall, so it reveals the
    # type. "belt" is in 2 titles, both of belts: too few. "plain" is only in titles of shirts, but
    # 18 of 30 items are shirts: less than three times the share overall.
    types = ["Watches"] * 6 + ["Belts"] * 6 + ["Shirts"] * 18
    titles = ["Dial"] * 4 + ["Steel"] * 2 + ["Dial belt"] * 2 + ["Men"] * 12 + ["Plain"] * 10
    actual = indicative_words(pd.Series(titles), pd.DataFrame({"article_type": types}))
    assert actual == {"dial": {"Watches"}}
    stripped = [
        strip_title("Acme DIAL's Steel", [kind], frozenset(), actual)
        for kind in ("Watches", "Belts")
    ]
    assert stripped == ["Acme Steel", "Acme DIAL's Steel"]


class TestOutput:
    def test_appears_whole_or_not_at_all(self, tmp_path):
        out = tmp_path / "deep" / "out"
        with pytest.raises(OutputError):
            self.write_and_fail(out)
        assert not any((tmp_path / "deep").iterdir())
        (tmp_path / "deep" / ".out.partial").mkdir()
        (tmp_path / "deep" / ".out.partial" / "left over").write_text("")
        (tmp_path / "deep" / ".out.partial" / ".mmrank-unfinished").write_text("")
        with new_folder(out) as folder:
            (folder / "whole").write_text("")
        assert [p.name for p in out.iterdir()] == ["whole"]
        assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]

    def write_and_fail(self, out):
        with new_folder(out) as folder:
            (folder / "half").write_text("")
            raise OutputError("stop")

    def test_ctrl_c_ends_with_one_line(self, capsys):
        def job() -> None:
            raise KeyboardInterrupt

        assert exit_code(job) == 130
        assert capsys.readouterr().err.count("\n") == 1


def test_ndcg_by_hand():
    lists = pd.DataFrame({"list_id": list("aaabb"), "grade": [0, 2, 1, 0, 0]})
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    ideal = 3 + 1 * second
    # List b has no relevant item and is left out.
    expected = (0 + 3 + 1) / 3 * (1 + second) / ideal
    assert random_ndcg(lists, k=2) == pytest.approx(expected)
    scores = np.array([3.0, 2.0, 1.0, 0.0, 1.0])
    assert scored_ndcg(lists, scores, k=3) == pytest.approx((3 * second + 1 * third) / ideal)


def test_real_products(shared_data, tmp_path):
    prepare_fashion.prepare(shared_data / "fashion", tmp_path / "out", split="test", queries=300)
    data = load_dataset(tmp_path / "out")
    assert 0.25 < random_ndcg(data.lists) < 0.30
    assert data.catalog["photo"].notna().all()
    items = pd.read_csv(shared_data / "fashion" / "products.csv", dtype=str).set_index("product_id")
    stripped = data.catalog[data.catalog["item_id"].map(loses_words)]
    words = stripped["title"].str.lower().str.split().map(set)
    colours = items["colour"].loc[stripped["item_id"]].str.lower().str.split().map(set)
    kept = [bool(title & colour) for title, colour in zip(words, colours, strict=True)]
    assert not any(kept)

"""MovieLens lists: no information from a list's own time or later, grades, titles, splits."""

import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest

from mmrank.data.tables import load_dataset
from pipelines import prepare_movielens_posters as prepare_movielens
from pipelines.movielens_lists import Negatives, tag_lists, tag_split, user_windows
from pipelines.movielens_source import clean_title, rating_class, year_of
from pipelines.popularity import Popularity

DAY = 86_400
MOVIES = 60


def ratings_of(users: int = 8, each: int = 30) -> pd.DataFrame:
    """Ratings in which every third time equals the previous one, also across users."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(1, users + 1):
        movies = rng.choice(np.arange(1, MOVIES + 1), each, replace=False)
        for i, movie in enumerate(movies):
            time = 900_000_000 + (user % 3) * 200 * DAY + (i - (i % 3 == 2)) * 20 * DAY
            rows.append((user, movie, rng.integers(1, 11) / 2, time))
    frame = pd.DataFrame(rows, columns=["userId", "movieId", "rating", "timestamp"])
    return frame.sample(frac=1, random_state=1)


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "source"
    (folder / "posters").mkdir(parents=True)
    ids = range(1, MOVIES + 1)
    titles = [f"Film {i}, The ({1950 + i})" for i in ids]
    genres = ["(no genres listed)" if i == 3 else "Comedy|Drama" for i in ids]
    movies = pd.DataFrame({"movieId": ids, "title": titles, "genres": genres})
    movies.to_csv(folder / "movies.csv", index=False)
    ratings_of().to_csv(folder / "ratings.csv", index=False)
    tags = [(u, m, f"Tag {m % 12}") for m in ids for u in range(1 + (m % 5 == 0))]
    tags = pd.DataFrame(tags, columns=["userId", "movieId", "tag"])
    tags.to_csv(folder / "tags.csv", index=False)
    for i in range(2, MOVIES + 1):
        (folder / "posters" / f"{i}.jpg").write_bytes(b"poster %d" % i)
    return folder


def prepared(source: pathlib.Path, out: pathlib.Path, **options: object):
    prepare_movielens.prepare(source, out, negatives=Negatives(5, 20), **options)
    return load_dataset(out)


@pytest.mark.parametrize(
    ("title", "said", "year"),
    [
        ("Real McCoy, The (1993)", "The Real McCoy", 1993),
        ("Lover, The (Amant, L') (1992)", "The Lover (L'Amant)", 1992),
        ("Goods: Live Hard, Sell Hard, The (2009)", "The Goods: Live Hard, Sell Hard", 2009),
        ("Honey, I Shrunk the Kids (1989)", "Honey, I Shrunk the Kids", 1989),
        ("Paris, Texas (1984)", "Paris, Texas", 1984),
        ("Léon (a.k.a. Professional, The) (1994)", "Léon (a.k.a. The Professional)", 1994),
        ("2001 (1968) ", "2001", 1968),
        ("Hyena Road", "Hyena Road", float("nan")),
    ],
)
def test_titles(title, said, year):
    assert clean_title(title) == said
    assert year_of(title) == pytest.approx(year, nan_ok=True)


def test_grades_of_ratings():
    ratings = pd.Series([0.5, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0])
    assert rating_class(ratings).tolist() == [0, 0, 1, 1, 2, 3, 3]


class TestPopularity:
    def test_by_hand(self):
        # Movie 0 is rated 4 at 100 and 2 at 200; movie 1 is rated 5 at 100.
        popularity = Popularity(np.array([0, 1, 0]), np.array([200, 100, 100]), np.array([2, 5, 4]))
        items, times = np.array([0, 0, 0, 0, 1, 2]), np.array([100, 101, 200, 999, 999, 999])
        assert popularity.count(items, times).tolist() == [0, 1, 1, 2, 1, 0]
        means = popularity.mean_rating(items, times)
        prior = (2 + 5 + 4) / 3
        expected = [np.nan, (4 + 5 * 4.5) / 6, (4 + 5 * 4.5) / 6, (6 + 5 * prior) / 7]
        assert means == pytest.approx([*expected, (5 + 5 * prior) / 6, np.nan], nan_ok=True)

    def test_recent_means_the_last_year(self):
        popularity = Popularity(np.array([0, 0]), np.array([10, 20]), np.array([3.0, 3.0]))
        times = np.array([15, 10 + 365 * DAY, 11 + 365 * DAY, 20 + 365 * DAY, 21 + 365 * DAY])
        counts = popularity.recent_count(np.zeros(5, dtype=np.int64), times)
        assert counts.tolist() == [1, 2, 1, 1, 0]


class TestWindows:
    def test_the_last_fifth_and_the_tenth_before_it(self):
        windows = user_windows(np.arange(40), np.zeros(40, dtype=bool), True, True)
        sizes = [(split, len(part)) for split, part in windows]
        assert sizes == [("train", 10), ("train", 9), ("train", 9), ("valid", 4), ("test", 8)]
        assert np.concatenate([part for _, part in windows]).tolist() == list(range(40))

    def test_without_cold_start_what_has_no_history_is_left_out(self):
        times = np.array([0] * 10 + list(range(1, 31)))
        windows = user_windows(times, np.zeros(40, dtype=bool), True, False)
        assert [part[0] for split, part in windows if split == "train"] == [10, 19]

    def test_known_ratings_after_the_test_period_begins_make_no_list(self):
        held_out = np.arange(30) == 20
        windows = user_windows(np.arange(30), held_out, False, True)
        positions = {split: part.tolist() for split, part in windows}
        assert positions["test"] == [20]
        assert positions["valid"] == [18, 19]
        assert max(positions["train"]) == 17

    def test_one_rating_is_a_test_list(self):
        windows = user_windows(np.array([7]), np.array([False]), True, True)
        assert [(split, part.tolist()) for split, part in windows] == [("test", [0])]

    def test_a_user_outside_the_test_file_has_no_test_list(self):
        windows = user_windows(np.arange(20), np.zeros(20, dtype=bool), False, True)
        assert [split for split, _ in windows] == ["train", "train", "valid"]


def test_figures_use_only_events_before_the_list(source, tmp_path):
    data = prepared(source, tmp_path / "out")
    rated = ratings_of()
    lists = data.lists[data.lists["user_id"].notna()]
    assert lists.groupby("list_id")["time"].nunique().eq(1).all()
    for row in lists.itertuples():
        before = rated[rated["timestamp"] < row.time]
        of_movie = before[before["movieId"] == int(row.item_id)]
        recent = of_movie["timestamp"] >= row.time - 365 * DAY
        assert row.popularity == len(of_movie)
        assert row.recent_popularity == recent.sum()
        if len(of_movie):
            smoothed = (of_movie["rating"].sum() + 5 * before["rating"].mean()) / (
                len(of_movie) + 5
            )
            assert row.mean_rating == pytest.approx(smoothed)
        else:
            assert np.isnan(row.mean_rating)


def test_changing_the_future_changes_no_figure_of_the_past(source, tmp_path):
    then = prepared(source, tmp_path / "then").lists
    rated = ratings_of()
    cut = int(rated["timestamp"].median())
    rated.loc[rated["timestamp"] >= cut, "rating"] = 5.0
    rated.to_csv(source / "ratings.csv", index=False)
    now = prepared(source, tmp_path / "now").lists
    figures = ["popularity", "recent_popularity", "mean_rating"]
    keys = ["user_id", "time", "item_id"]
    both = then[then["time"] <= cut].merge(now, on=keys, suffixes=("_then", "_now"))
    assert len(both) > 100
    for figure in figures:
        np.testing.assert_array_equal(both[f"{figure}_then"], both[f"{figure}_now"])


def test_rating_lists_have_movies_rated_then_and_movies_never_rated(source, tmp_path):
    data = prepared(source, tmp_path / "out")
    rated = ratings_of().astype({"userId": str, "movieId": str})
    known = rated.set_index(["userId", "movieId"])
    lists = data.lists[data.lists["user_id"].notna()]
    assert lists["query"].isna().all()
    test_sizes = lists[lists["split"] == "test"].groupby("user_id")["list_id"].nunique()
    assert (test_sizes == 1).all()
    for list_id, rows in lists.groupby("list_id"):
        pairs = list(zip(rows["user_id"], rows["item_id"], strict=True))
        is_rated = np.array([pair in known.index for pair in pairs])
        assert (~is_rated).sum() == (5 if list_id.startswith("train") else 20)
        stretch = known.loc[[p for p, r in zip(pairs, is_rated, strict=True) if r]]
        assert stretch["timestamp"].min() == rows["time"].iloc[0]
        for grade, rating in zip(rows["grade"][is_rated], stretch["rating"], strict=True):
            expected = 3 if rating >= 4.5 else 2 if rating == 4 else 1 if rating >= 3 else 0
            assert grade == expected
        assert (rows["grade"][~is_rated] == 0).all()
        assert rows["item_id"].is_unique


def test_catalogue_events_and_posters(source, tmp_path):
    data = prepared(source, tmp_path / "out")
    first, third = data.catalog.iloc[0], data.catalog.iloc[2]
    assert (first["title"], first["year"], first["genres"]) == ("The Film 1", 1951, "Comedy|Drama")
    assert pd.isna(first["poster"])
    assert pd.isna(third["genres"])
    with zipfile.ZipFile(tmp_path / "out" / "posters.zip") as archive:
        assert archive.read(third["poster"]) == b"poster 3"
    assert len(data.events) == len(ratings_of())
    loved = data.events[data.events["rating"] >= 4.5]
    assert set(loved["event_type"]) == {"loved"}
    assert set(data.events["event_type"]) == {"disliked", "neutral", "liked", "loved"}


def test_given_test_ratings_are_the_test_lists(source, tmp_path):
    rated = ratings_of().sort_values(["userId", "timestamp", "movieId"])
    last = rated.groupby("userId").tail(6)
    last = last[last["userId"] != 8]
    last.to_csv(tmp_path / "later.csv", index=False)
    rated.drop(last.index).to_csv(source / "ratings.csv", index=False)
    data = prepared(source, tmp_path / "out", test_ratings=tmp_path / "later.csv")
    assert len(data.events) == len(rated)
    lists = data.lists[data.lists["user_id"].notna()]
    test = lists[lists["split"] == "test"]
    relevant = test[test["grade"] > 0][["user_id", "item_id"]].astype(int)
    expected = last[last["rating"] >= 3][["userId", "movieId"]]
    assert set(map(tuple, relevant.to_numpy())) == set(map(tuple, expected.to_numpy()))
    # Nothing that is rated in the test period is a candidate earlier.
    pairs = set(zip(last["userId"].astype(str), last["movieId"].astype(str), strict=True))
    earlier = lists[lists["split"] != "test"]
    assert not pairs & set(zip(earlier["user_id"], earlier["item_id"], strict=True))
    # No earlier list has a test rating in its history.
    starts = test.groupby("user_id")["time"].first()
    times = earlier["time"] - earlier["user_id"].map(starts).fillna(np.inf)
    assert (times <= 0).all()


class TestTags:
    def test_lists_by_hand(self):
        tags = pd.DataFrame({"tag": ["a", "a", "b"], "_item": [0, 1, 2], "users": [1, 2, 1]})
        lists = tag_lists(tags, None, 6, Negatives(3, 3), np.random.default_rng(0))
        a = lists[lists["query"] == "a"].set_index("_item")["grade"]
        assert a[[0, 1]].tolist() == [2, 3]
        assert set(a.index) - {0, 1} <= {2, 3, 4, 5}
        assert len(a) == 5
        assert a.drop([0, 1]).eq(0).all()

    def test_given_test_tags(self):
        tags = pd.DataFrame({"tag": ["a", "b"], "_item": [0, 1], "users": [1, 1]})
        later = pd.DataFrame({"tag": ["a", "c"], "_item": [2, 3], "users": [2, 1]})
        lists = tag_lists(tags, later, 5, Negatives(9, 9), np.random.default_rng(0))
        test = lists[lists["split"] == "test"]
        assert set(test["query"]) == {"a", "c"}
        # Movie 0 is already known to have tag "a", so it is not a candidate for it.
        assert set(test[test["query"] == "a"]["_item"]) == {1, 2, 3, 4}

    def test_each_tag_in_one_split_and_no_user_or_figure(self, source, tmp_path):
        data = prepared(source, tmp_path / "out")
        lists = data.lists[data.lists["query"].notna()]
        assert lists["query"].nunique() == 12
        assert (lists.groupby("query")["split"].nunique() == 1).all()
        assert (lists["split"] == lists["query"].map(lambda t: tag_split(t, True))).all()
        columns = ["user_id", "time", "popularity", "recent_popularity", "mean_rating"]
        assert lists[columns].isna().all(axis=None)


class TestWrongInput:
    def run(self, source, out, *more):
        return prepare_movielens.main(["--source", str(source), "--out", str(out), *more])

    def test_a_rating_that_is_no_number(self, source, tmp_path, capsys):
        (source / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,good,5\n")
        assert self.run(source, tmp_path / "out") == 2
        assert "column 'rating', row 2: 'good' is not a number" in capsys.readouterr().err

    def test_the_same_rating_in_both_files(self, source, tmp_path, capsys):
        ratings = str(source / "ratings.csv")
        assert self.run(source, tmp_path / "out", "--test-ratings", ratings) == 2
        assert "a second time" in capsys.readouterr().err

    def test_no_such_test_file(self, source, tmp_path, capsys):
        assert self.run(source, tmp_path / "out", "--test-tags", str(tmp_path / "no.csv")) == 2
        assert "no.csv: no such file" in capsys.readouterr().err

    def test_movies_that_are_not_in_the_catalogue_are_left_out(self, source, tmp_path, capsys):
        with (source / "ratings.csv").open("a") as file:
            file.write("1,999,4.0,5\n")
        assert self.run(source, tmp_path / "out") == 0
        assert "1 rows dropped: not in movies.csv, such as 999" in capsys.readouterr().out


def test_real_ratings(shared_data, tmp_path):
    data = prepared(shared_data / "movielens_posters", tmp_path / "out")
    rated = data.lists[data.lists["user_id"].notna()]
    assert rated.loc[rated["split"] == "test", "user_id"].nunique() > 550
    assert data.events is not None
    # The number of all earlier events of a movie, counted again for some rows.
    for row in rated.sample(50, random_state=0).itertuples():
        events = data.events[data.events["item_id"] == row.item_id]
        assert row.popularity == (events["time"] < row.time).sum()

"""Makes a dataset of MovieLens: recommendation by behaviour, poster and text, and tag search.

    python -m pipelines.prepare_movielens_posters --source DIR --out DIR

Source: `ratings.csv`, `movies.csv`, `tags.csv` and `posters/<movieId>.jpg` in the MovieLens layout.

- Rating lists have a user and a time and no query: the movies that the user rated in a period
  (grade 0 below 3, 1 for 3 to 3.5, 2 for 4, 3 for 4.5 and 5) among movies the user never rated,
  100 in valid and test. The last fifth of a user's ratings is the test list, the tenth before it
  the valid list, the rest is divided into train lists of about ten ratings.
- A list's time is that of its first rating. Its history and every popularity figure come from
  strictly earlier events; ratings within the same second do not count.
- `--test-ratings FILE` (same columns as ratings.csv) replaces the test period, a list per user.
- Tag lists have a query and neither user nor time: the movies with the tag (grade 3 if two users
  gave it, else 2) among movies without it; tags are split by a hash. Tags have no time, so these
  lists have no popularity. `--test-tags FILE` replaces the test lists.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys

import numpy as np
import pandas as pd

from mmrank.outputs import InputError, exit_code, new_folder
from mmrank.ranges import Seed
from mmrank.schema import Catalog, Events, Feature, Lists, Schema, save_schema
from pipelines.difficulty import random_ndcg, scored_ndcg
from pipelines.movielens_lists import Negatives, rating_lists, tag_lists
from pipelines.movielens_source import (
    EVENT_TYPES,
    archive_posters,
    rating_class,
    read_movies,
    read_ratings,
    read_tags,
)
from pipelines.popularity import Popularity

SPLITS = ("train", "valid", "test")
SCHEMA = Schema(
    name="movielens_posters",
    media="posters.zip",
    catalog=Catalog(),
    lists=Lists(user="user_id", time="time", split="split"),
    events=Events(),
    features=(
        Feature("query", "text", "query", "query"),
        Feature("user", "category", "user", "user_id"),
        Feature("history", "history", "user", "history"),
        Feature("title", "text", "item", "title"),
        Feature("year", "number", "item", "year"),
        Feature("genres", "tags", "item", "genres", {"separator": "|"}),
        Feature("poster", "image", "item", "poster"),
        Feature("movie", "category", "item", "item_id"),
        Feature("popularity", "number", "pair", "popularity", {"log": True}),
        Feature("recent_popularity", "number", "pair", "recent_popularity", {"log": True}),
        Feature("mean_rating", "number", "pair", "mean_rating"),
        Feature("collaborative", "collaborative", "pair", "collaborative"),
        Feature("grade", "number", "label", "grade"),
    ),
)


def all_ratings(
    source: pathlib.Path, test_file: pathlib.Path | None, movies: pd.DataFrame
) -> pd.DataFrame:
    """All ratings, with `held_out` True for those of the test file.

    Raises:
      InputError: A file cannot be used, or a user rates a movie twice.
    """
    parts = [read_ratings(source / "ratings.csv", movies).assign(held_out=False)]
    if test_file is not None:
        parts.append(read_ratings(test_file, movies).assign(held_out=True))
    ratings = pd.concat(parts, ignore_index=True)
    twice = ratings.duplicated(["user_id", "item_id"])
    if twice.any():
        row = ratings[twice].iloc[0]
        where = test_file if row["held_out"] else source / "ratings.csv"
        raise InputError(
            f"{where}: user {row['user_id']} rates movie {row['item_id']} a second time "
            f"({twice.sum()} such rows over all files); keep one rating of each movie"
        )
    return ratings


def with_popularity(lists: pd.DataFrame, ratings: pd.DataFrame) -> pd.DataFrame:
    """Rating lists with three columns about each movie strictly before the list's time."""
    columns = (ratings[name].to_numpy() for name in ("_item", "time", "rating"))
    popularity = Popularity(*columns)
    items, times = lists["_item"].to_numpy(), lists["time"].to_numpy()
    return lists.assign(
        popularity=popularity.count(items, times),
        recent_popularity=popularity.recent_count(items, times),
        mean_rating=popularity.mean_rating(items, times),
    )


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `prepare`, which describes them."""

    test_ratings: pathlib.Path | None = None
    test_tags: pathlib.Path | None = None
    seed: Seed = 0
    negatives: Negatives | None = None


def prepare(
    source: pathlib.Path,
    out: pathlib.Path,
    *,
    test_ratings: pathlib.Path | None = None,
    test_tags: pathlib.Path | None = None,
    seed: int = 0,
    negatives: Negatives | None = None,
) -> None:
    """Writes the prepared dataset of `source` to the new folder `out` and prints a summary.

    Args:
      source: Folder in the MovieLens layout; only read.
      out: Folder to create.
      test_ratings: Later ratings for the test period; None for each user's last fifth.
      test_tags: Tags that are the test queries; None for a tenth of the tags.
      seed: Seed; the same seed and source give the same dataset.
      negatives: Number of unrated movies per list; None for the default.

    Raises:
      InputError: The source cannot be used, or `out` exists.
    """
    rng = np.random.default_rng(seed)
    negatives = negatives or Negatives()
    movies = read_movies(source)
    ratings = all_ratings(source, test_ratings, movies)
    tags = read_tags(source / "tags.csv", movies)
    later_tags = None if test_tags is None else read_tags(test_tags, movies)
    with new_folder(out) as folder:
        rated = rating_lists(ratings, len(movies), negatives, rng)
        if rated.empty:
            raise InputError(f"{source / 'ratings.csv'}: no user has a rating of 3 or more")
        tagged = tag_lists(tags, later_tags, len(movies), negatives, rng)
        lists = pd.concat([with_popularity(rated, ratings), tagged], ignore_index=True)
        lists = lists.assign(item_id=movies["item_id"].to_numpy()[lists["_item"].to_numpy(int)])
        lists = _as_stored(lists)
        lists.to_parquet(folder / SCHEMA.lists.file, index=False)
        movies.to_parquet(folder / SCHEMA.catalog.file, index=False)
        _events(ratings).to_parquet(folder / "events.parquet", index=False)
        archive_posters(source, movies, folder / "posters.zip")
        save_schema(SCHEMA, folder)
    _print_summary(movies, ratings, lists, out)


def _as_stored(lists: pd.DataFrame) -> pd.DataFrame:
    names = ["list_id", "query", "user_id", "item_id", "time", "split", "grade"]
    figures = ["popularity", "recent_popularity", "mean_rating"]
    for name in ("query", "user_id"):
        if name not in lists:
            lists = lists.assign(**{name: None})
    texts = {"query": "string", "user_id": "string"}
    return lists[names + figures].astype(
        texts | {"time": "float64", "grade": "int8"} | dict.fromkeys(figures, "float64")
    )


def _events(ratings: pd.DataFrame) -> pd.DataFrame:
    """The events in an order that is also unique for equal times: by user, time, movie."""
    ordered = ratings.sort_values(["user_id", "time", "_item"], kind="stable")
    types = EVENT_TYPES[rating_class(ordered["rating"])]
    return ordered.assign(event_type=types)[["user_id", "item_id", "event_type", "time", "rating"]]


def _print_summary(
    movies: pd.DataFrame, ratings: pd.DataFrame, lists: pd.DataFrame, out: pathlib.Path
) -> None:
    print(
        f"movies {len(movies):,}, {movies['poster'].isna().sum():,} without a poster; "
        f"ratings {len(ratings):,} by {ratings['user_id'].nunique():,} users"
    )
    by_tag = lists["user_id"].isna()
    for kind, mask in (("rating", ~by_tag), ("tag", by_tag)):
        for split in SPLITS:
            rows = lists[mask & (lists["split"] == split)].reset_index(drop=True)
            if rows.empty:
                continue
            number = rows["list_id"].nunique()
            text = (
                f"{split:<5} {kind:<6} lists {number:>6,}: {len(rows) / number:.0f} candidates, "
                f"{(rows['grade'] > 0).sum() / number:.1f} relevant; "
                f"NDCG@10 of a random order {random_ndcg(rows):.3f}"
            )
            if kind == "rating" and split != "train":
                text += f", by popularity {scored_ndcg(rows, rows['popularity'].to_numpy()):.3f}"
            print(text)
    print(
        f"written to {out}. Next:\n"
        f"  python -m mmrank.train --config configs/movielens_posters.yaml --data {out}"
    )


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.prepare_movielens_posters",
        description="Makes a prepared dataset of MovieLens ratings, posters and tags.",
        epilog="example: python -m pipelines.prepare_movielens_posters "
        "--source data/movielens_posters --out prepared",
    )
    path, defaults = pathlib.Path, Negatives()
    parser.add_argument("--source", type=path, required=True, help="folder in the MovieLens layout")
    parser.add_argument("--out", type=path, required=True, help="new folder for the dataset")
    parser.add_argument("--test-ratings", type=path, help="later ratings for the test period")
    parser.add_argument("--test-tags", type=path, help="tags for the test queries")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument(
        "--negatives",
        type=int,
        default=defaults.other,
        help=f"unlabelled movies in a valid or test list (default {defaults.other})",
    )
    parser.add_argument(
        "--train-negatives",
        type=int,
        default=defaults.train,
        help=f"unlabelled movies in a train list (default {defaults.train})",
    )
    args = parser.parse_args(argv)
    if min(args.negatives, args.train_negatives) < 1:
        parser.error("--negatives and --train-negatives must be at least 1")
    return exit_code(
        lambda: prepare(
            args.source,
            args.out,
            test_ratings=args.test_ratings,
            test_tags=args.test_tags,
            seed=args.seed,
            negatives=Negatives(train=args.train_negatives, other=args.negatives),
        )
    )


if __name__ == "__main__":
    sys.exit(main())

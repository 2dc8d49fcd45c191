"""Reads the MovieLens files with posters into plain tables."""

from __future__ import annotations

import pathlib
import re
import zipfile

import numpy as np
import pandas as pd

from mmrank.outputs import InputError, shown

# Rating classes 0–3: below 3, 3 to 3.5, 4, 4.5 and 5. They are grades and event types alike.
CLASS_FLOORS = (3.0, 4.0, 4.5)
EVENT_TYPES = np.array(["disliked", "neutral", "liked", "loved"], dtype=object)

_YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
_ARTICLES = (
    "The|An?|La|Le|Les|L'|Une?|El|Los?|Las|Una|Il|Gli|Der|Die|Das|Ein|Eine|Det|Den|En|De|Het|Os?|As"
)
_TRAILING_ARTICLE = re.compile(rf"((?:a\.k\.a\. )?)([^()]+), ({_ARTICLES})(?=\s*(?:[()]|$))")


def read_movies(source: pathlib.Path) -> pd.DataFrame:
    """The catalogue: `item_id`, `title` in reading order, `year`, `genres`, `poster`.

    A year, genres or a poster that a movie lacks is missing.

    Raises:
      InputError: movies.csv is missing, lacks a column or names a movie twice.
    """
    file = source / "movies.csv"
    movies = _read(file, {"movieId": "str", "title": "str", "genres": "str"})
    twice = movies["movieId"].duplicated()
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        raise InputError(
            f"{file}, column 'movieId', row {row + 2}: {shown(movies['movieId'].iloc[row])} "
            "is repeated; keep one row per movie"
        )
    pictures = {path.stem for path in (source / "posters").glob("*.jpg")}
    genres = movies["genres"]
    return pd.DataFrame(
        {
            "item_id": movies["movieId"],
            "title": movies["title"].map(clean_title),
            "year": movies["title"].map(year_of),
            "genres": genres.where(genres != "(no genres listed)", None),
            "poster": (movies["movieId"] + ".jpg").where(movies["movieId"].isin(pictures), None),
        }
    )


def clean_title(title: str) -> str:
    """The title in reading order: "Real McCoy, The (1993)" becomes "The Real McCoy"."""
    return _TRAILING_ARTICLE.sub(_article_first, _YEAR.sub("", title)).strip()


def year_of(title: str) -> float:
    """The year in brackets at the end of a MovieLens title, or NaN."""
    found = _YEAR.search(title)
    return float(found.group(1)) if found else float("nan")


def _article_first(match: re.Match[str]) -> str:
    also, name, article = match.groups()
    return f"{also}{article}{'' if article.endswith(chr(39)) else ' '}{name}"


def read_ratings(file: pathlib.Path, movies: pd.DataFrame) -> pd.DataFrame:
    """The ratings of a file: `user_id`, `item_id`, `_item` (row of `movies`), `rating`, `time`.

    Raises:
      InputError: The file is missing, lacks a column or has a value that is not a number.
    """
    types = {"userId": "str", "movieId": "str", "rating": "float64", "timestamp": "int64"}
    rows = _read(file, types)
    rows = rows.rename(columns={"userId": "user_id", "movieId": "item_id", "timestamp": "time"})
    return _known(file, rows, movies)[["user_id", "item_id", "_item", "rating", "time"]]


def read_tags(file: pathlib.Path, movies: pd.DataFrame) -> pd.DataFrame:
    """The number of users per tag: `tag` (lower-cased), `_item` (row of `movies`), `users`.

    User ids are dropped: a tag has no time, so it must not become an interaction of the user.

    Raises:
      InputError: The file is missing or lacks a column.
    """
    rows = _read(file, {"userId": "str", "movieId": "str", "tag": "str"})
    rows = rows.assign(tag=rows["tag"].str.strip().str.lower())
    rows = rows[rows["tag"] != ""].rename(columns={"movieId": "item_id"})
    known = _known(file, rows, movies)
    counts = known.groupby(["tag", "_item"], sort=True)["userId"].nunique()
    return counts.rename("users").reset_index()


def rating_class(ratings: pd.Series) -> np.ndarray:
    """[rows] int class 0–3: below 3, 3 to 3.5, 4, 4.5 and 5."""
    return np.digitize(ratings.to_numpy(dtype=np.float64), CLASS_FLOORS)


def archive_posters(source: pathlib.Path, movies: pd.DataFrame, archive: pathlib.Path) -> None:
    """Writes the movies' posters into one archive, uncompressed because JPEG is compressed."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:
        for name in movies["poster"].dropna():
            opened.write(source / "posters" / name, name)


def _known(file: pathlib.Path, rows: pd.DataFrame, movies: pd.DataFrame) -> pd.DataFrame:
    """The rows whose movie is in the catalogue, numbered; prints how many are not."""
    number = pd.Series(np.arange(len(movies)), index=movies["item_id"])
    item = number.reindex(rows["item_id"]).to_numpy(dtype=np.float64)
    unknown = np.isnan(item)
    if unknown.any():
        examples = ", ".join(rows["item_id"][unknown].unique()[:3])
        print(f"{file}: {unknown.sum():,} rows dropped: not in movies.csv, such as {examples}")
    return rows[~unknown].assign(_item=item[~unknown].astype(np.int64))


def _read(file: pathlib.Path, types: dict[str, str]) -> pd.DataFrame:
    if not file.is_file():
        raise InputError(f"{file}: no such file; --source is a folder in the MovieLens layout")
    rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    for column, kind in types.items():
        if column not in rows:
            raise InputError(f"{file}: no column {column!r}; it has {', '.join(rows.columns)}")
        if kind != "str":
            numbers = pd.to_numeric(rows[column], errors="coerce")
            if numbers.isna().any():
                row = int(np.flatnonzero(numbers.isna())[0])
                raise InputError(
                    f"{file}, column {column!r}, row {row + 2}: {shown(rows[column].iloc[row])} "
                    "is not a number; fix or drop the row"
                )
            rows[column] = numbers.astype(kind)
    return rows[list(types)]

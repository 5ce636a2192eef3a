"""MovieLens 100K as GroupLens ships it: ratings as events, films as items, people as users.

https://files.grouplens.org/datasets/movielens/ml-100k-README.txt
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pyarrow as pa

from feature_repo import schema as s
from flows.connectors.base import Chunk, Connector
from flows.errors import BrokenFileError, SourceMissingError

DATA_START = datetime(1997, 9, 1, tzinfo=UTC)
"""The first ratings are of September 1997; films and people are taken as true from then on."""

GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""In the order of the last 19 columns of u.item."""
_RATINGS = (s.USER_ID, s.ITEM_ID, s.VALUE, s.TIMESTAMP)
_FILMS = (s.ITEM_ID, s.NAME, "release_date", "video_release_date", "imdb_url", *GENRES)
_PEOPLE = (s.USER_ID, "age", "gender", "occupation", "zip_code")


class MovieLens100K(Connector):
    """Ratings (`value` is 1 to 5), films and people.

    Args:
        path: the folder with u.data, u.item and u.user, or a zip of it.

    Raises:
        SourceMissingError: one of the three files isn't there.
    """

    name: ClassVar[str] = "movielens-100k"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.source = str(path)
        for file in ("u.data", "u.item", "u.user"):
            self._bytes(file)

    def chunks(self, chunk_rows: int) -> Iterator[Chunk]:
        ratings = self._frame("u.data", "\t", _RATINGS)
        for start in range(0, len(ratings), chunk_rows):
            part = ratings.iloc[start : start + chunk_rows]
            rows = pa.Table.from_pandas(part, preserve_index=False)
            rows = rows.append_column(s.EVENT_TYPE, pa.repeat(s.RATING, len(part)))
            yield Chunk(rows, first_row=start + 1, done=(start + len(part)) / len(ratings))

    def items(self) -> pa.Table:
        films = self._frame("u.item", "|", _FILMS)
        flags = films[list(GENRES)] == "1"
        genres = [[genre for genre, on in zip(GENRES, row, strict=True) if on] for row in flags.to_numpy()]
        return pa.table(
            {
                s.ITEM_ID: pa.array(films[s.ITEM_ID]),
                s.NAME: pa.array(films[s.NAME]),
                s.CATEGORY: pa.array([names[0] if names else None for names in genres], pa.string()),
                "genres": pa.array(["|".join(names) for names in genres], pa.string()),
                "release_date": pa.array(films["release_date"], pa.string()),
                s.TIMESTAMP: _since_start(len(films)),
            }
        )

    def users(self) -> pa.Table:
        people = self._frame("u.user", "|", _PEOPLE)
        decades = pd.to_numeric(people["age"], errors="coerce") // 10 * 10
        return pa.table(
            {
                s.USER_ID: pa.array(people[s.USER_ID]),
                "age_group": pa.array([None if d != d else f"{d:.0f}-{d + 9:.0f}" for d in decades], pa.string()),
                "gender": pa.array(people["gender"]),
                "occupation": pa.array(people["occupation"]),
                "region": pa.array(people["zip_code"].str[:1]),
                s.TIMESTAMP: _since_start(len(people)),
            }
        )

    def _frame(self, file: str, delimiter: str, names: Sequence[str]) -> pd.DataFrame:
        """One file as text; latin-1, as GroupLens wrote it (titles with accents)."""
        try:
            return pd.read_csv(
                io.BytesIO(self._bytes(file)),
                sep=delimiter,
                names=list(names),
                dtype=str,
                encoding="latin-1",
                index_col=False,
                quoting=3,  # csv.QUOTE_NONE: titles hold single quotation marks
                keep_default_na=False,
                na_values=[""],
                on_bad_lines="error",
            )
        except pd.errors.ParserError as error:
            raise BrokenFileError(
                f"{self.path}: {file}: {error}; expected {len(names)} columns ({', '.join(names[:5])}, …) "
                f"separated by {delimiter!r}"
            ) from error

    def _bytes(self, file: str) -> bytes:
        if self.path.is_dir() and (self.path / file).is_file():
            return (self.path / file).read_bytes()
        if zipfile.is_zipfile(self.path):
            with zipfile.ZipFile(self.path) as archive:
                found = [name for name in archive.namelist() if Path(name).name == file]
                if found:
                    return archive.read(found[0])
        raise SourceMissingError(
            f"{self.path}: {file} isn't there; expected the folder ml-100k with u.data, u.item and u.user, or its zip"
        )


def _since_start(rows: int) -> pa.Array:
    return pa.array([DATA_START] * rows, pa.timestamp("us", tz="UTC"))

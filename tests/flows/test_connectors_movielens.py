"""MovieLens 100K in its own format, in small."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.connectors.movielens import GENRES, MovieLens100K
from flows.errors import BrokenFileError, SourceMissingError
from flows.ingest import ingest
from infra.settings import Settings


def flags(*genres: str) -> str:
    return "|".join("1" if genre in genres else "0" for genre in GENRES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "ml-100k"
    home.mkdir()
    (home / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t242\t1\t878887116\n")
    films = [
        f"242|Kolya (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya%20(1996)|{flags('Comedy')}",
        f"302|L.A. Confidential (1997)|01-Jan-1997||http://x|{flags('Crime', 'Film-Noir')}",
        f"543|Misérables, Les (1995)|01-Jan-1995||http://x|{flags('Drama', 'Musical')}",
        f"267|unknown||||{flags('unknown')}",
    ]
    (home / "u.item").write_bytes("\n".join(films).encode("latin-1") + b"\n")
    (home / "u.user").write_text("196|49|M|writer|55105\n186|7|F|student|00000\n22|25|M|writer|T8H1N\n")
    return home


def test_ratings_films_and_people(folder: Path) -> None:
    source = MovieLens100K(folder)
    first, second = source.chunks(2)
    assert first.rows.to_pylist()[0] == {
        "user_id": "196", "item_id": "242", "value": "3", "timestamp": "881250949", "event_type": "rating",
    }  # fmt: skip
    assert (second.first_row, second.done) == (3, 1.0)
    films = {row["item_id"]: row for row in source.items().to_pylist()}
    assert films["543"]["name"] == "Misérables, Les (1995)"
    assert (films["302"]["category"], films["302"]["genres"]) == ("Crime", "Crime|Film-Noir")
    people = source.users().to_pylist()
    assert [(p["age_group"], p["gender"], p["occupation"], p["region"]) for p in people] == [
        ("40-49", "M", "writer", "5"),
        ("0-9", "F", "student", "0"),
        ("20-29", "M", "writer", "T"),
    ]


def test_zip_reads_like_the_folder(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"ml-100k/{file.name}")
    assert MovieLens100K(packed).items().equals(MovieLens100K(folder).items())


def test_what_is_missing_or_broken_is_named(folder: Path) -> None:
    (folder / "u.user").write_text("196|49|M|writer|55105|extra|more\n1|2|3|4|5|6|7|8\n")
    with pytest.raises(BrokenFileError, match=r"u\.user"):
        MovieLens100K(folder).users()
    (folder / "u.user").unlink()
    with pytest.raises(SourceMissingError, match=r"u\.user isn't there; expected the folder ml-100k"):
        MovieLens100K(folder)


def test_it_goes_all_the_way_in(folder: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    report = ingest(MovieLens100K(folder), settings, now=datetime(2020, 1, 1, tzinfo=UTC), progress=False)
    assert (report.accepted, report.items, report.users, report.warnings) == (3, 4, 3, {})
    row = pq.read_table(settings.lake / "events").to_pylist()[0]
    assert (row["value"], row["timestamp"]) == (3.0, datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC))
    film = pq.read_table(settings.lake / "items.parquet").to_pylist()[2]
    assert dict(film["attributes"]) == {"genres": "Crime|Film-Noir", "release_date": "01-Jan-1997"}

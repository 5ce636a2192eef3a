"""CSV and Parquet connectors: names, streaming, and what they say about files that can't be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.connectors import Connector, connector
from flows.connectors.files import CsvFiles, ParquetFiles, format_of
from flows.errors import (
    BrokenEncodingError,
    BrokenFileError,
    EmptySourceError,
    MissingColumnError,
    SourceMissingError,
    UnknownConnectorError,
)

HEADER = "user_id,item_id,behavior,timestamp\n"


def rows_of(source: Connector, chunk_rows: int = 1_000) -> pa.Table:
    return pa.concat_tables([chunk.rows for chunk in source.chunks(chunk_rows)])


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_csv_is_text_under_our_names(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", HEADER + "007,i1,click,1483271606\nu2,,cart,2017-01-01\n")
    rows = rows_of(CsvFiles(path))
    assert rows.to_pylist() == [
        {"user_id": "007", "item_id": "i1", "behavior": "click", "timestamp": "1483271606"},
        {"user_id": "u2", "item_id": None, "behavior": "cart", "timestamp": "2017-01-01"},
    ]


def test_mapping_renames_once_and_unknown_columns_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "e.tsv", "visitor\titem_id\tevent_type\tat\tuser_id\tcolour\nv1\ti1\tview\t5\tother\tred\n")
    source = CsvFiles(path, columns={"user_id": "visitor", "timestamp": "at"})
    assert rows_of(source).to_pylist() == [{"user_id": "v1", "item_id": "i1", "event_type": "view", "timestamp": "5"}]
    assert source.notes() == [f"{path}: columns that no event has are left out: 'user_id', 'colour'"]


@pytest.mark.parametrize("pack", [lambda b: b, gzip.compress], ids=["plain", "gzip"])
def test_chunks_stream_with_row_numbers_and_progress(tmp_path: Path, pack, monkeypatch) -> None:
    monkeypatch.setattr("flows.connectors.csv_reader.BLOCK_BYTES", 2_000)
    lines = [f"u{n},i{n},click,{n}" for n in range(1_000)]
    lines[3], lines[500], lines[999] = "garbage", "a,b,c,d,e", "x,y"
    text = (HEADER + "\n".join(lines) + "\n").encode()
    suffix = ".csv" if pack(b"") == b"" else ".csv.gz"
    chunks = list(CsvFiles(write(tmp_path / f"e{suffix}", pack(text))).chunks(300))
    assert len(chunks) > 2
    assert [c.done for c in chunks] == sorted(c.done for c in chunks)
    assert chunks[-1].done == 1.0
    broken = {row.number: row.text for chunk in chunks for row in chunk.broken}
    assert broken == {4: "garbage", 501: "a,b,c,d,e", 1000: "x,y"}
    for chunk in chunks:
        users = chunk.rows.column("user_id").to_pylist()
        assert users == [f"u{number - 1}" for number in chunk.row_numbers]


def test_missing_column_names_file_column_and_what_was_found(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", "user,item_id,behavior,timestamp\nu,i,click,1\n")
    with pytest.raises(MissingColumnError, match=r"e\.csv: column 'user_id' is missing, found 'user', 'item_id'"):
        CsvFiles(path)
    with pytest.raises(MissingColumnError, match=r"reads 'user_id' from column 'nobody', which isn't there"):
        CsvFiles(path, columns={"user_id": "nobody"})
    with pytest.raises(MissingColumnError, match=r"names 'usr', which events don't have"):
        CsvFiles(path, columns={"usr": "user"})
    with pytest.raises(MissingColumnError, match=r"'event_type' or 'behavior' is missing"):
        CsvFiles(write(tmp_path / "f.csv", "user_id,item_id,timestamp\nu,i,1\n"))


@pytest.mark.parametrize("name", ["e.csv", "e.parquet"])
def test_empty_and_absent_files(tmp_path: Path, name: str) -> None:
    kind = CsvFiles if format_of(name) == "csv" else ParquetFiles
    with pytest.raises(SourceMissingError, match="no such file"):
        kind(tmp_path / name)
    with pytest.raises(EmptySourceError, match="the file is empty"):
        kind(write(tmp_path / name, b""))


def test_broken_encoding_names_line_and_byte(tmp_path: Path) -> None:
    head = (HEADER + "u1,i1,click,1\n").encode()
    path = write(tmp_path / "e.csv", head + b"caf\xe9,i2,click,2\n")
    with pytest.raises(BrokenEncodingError, match=rf"e\.csv: line 3, byte {len(head) + 3}: 0xe9 isn't utf-8 text"):
        rows_of(CsvFiles(path))
    assert rows_of(CsvFiles(path, encoding="latin-1")).column("user_id").to_pylist() == ["u1", "café"]
    with pytest.raises(BrokenEncodingError, match="line 1, byte 4"):
        CsvFiles(write(tmp_path / "h.csv", b"user\xff_id,item_id\n"))


def test_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", b"\xef\xbb\xbf" + HEADER.encode() + b"u1,i1,click,1\n")
    assert rows_of(CsvFiles(path)).column("user_id").to_pylist() == ["u1"]


def test_truncated_gzip_is_named(tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "".join(f"u{n},i{n},click,{n}\n" for n in range(20_000))).encode())
    path = write(tmp_path / "e.csv.gz", whole[: len(whole) // 2])
    with pytest.raises(BrokenFileError, match=r"e\.csv\.gz"):
        rows_of(CsvFiles(path))


def parquet(path: Path, rows: int = 5_000) -> Path:
    numbers = range(rows)
    table = pa.table(
        {
            "user_id": [f"u{n}" for n in numbers],
            "item_id": list(numbers),
            "event_type": pa.array(["view"] * rows).dictionary_encode(),
            "timestamp": pa.array(numbers, pa.timestamp("ms")),
        }
    )
    pq.write_table(table, path, row_group_size=1_000)
    return path


def test_parquet_streams(tmp_path: Path) -> None:
    chunks = list(ParquetFiles(parquet(tmp_path / "e.parquet")).chunks(1_000))
    assert [chunk.first_row for chunk in chunks] == [1, 1001, 2001, 3001, 4001]
    assert chunks[-1].done == 1.0
    assert chunks[1].rows.column("item_id")[0].as_py() == 1_000


def test_truncated_parquet_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path / "e.parquet")
    write(path, path.read_bytes()[:-1_000])
    with pytest.raises(BrokenFileError, match=r"e\.parquet: not readable as Parquet.*was the file copied whole"):
        ParquetFiles(path)


def test_parquet_damaged_inside_names_the_row(tmp_path: Path) -> None:
    path = parquet(tmp_path / "e.parquet")
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(2).column(0).data_page_offset
    content[start : start + 40] = b"\xff" * 40
    source = ParquetFiles(write(path, bytes(content)))
    with pytest.raises(BrokenFileError, match="from row 2001 on"):
        rows_of(source)


def test_items_table_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    events = write(tmp_path / "e.csv", HEADER + "u,i,click,1\n")
    items = write(tmp_path / "items.csv", "sku,name,colour\ni1,Tea,green\ni2,Salt, pepper,black\n")
    with pytest.raises(BrokenFileError, match=r"items\.csv: row 2 has 4 fields, the header has 3"):
        CsvFiles(events, items=items, item_columns={"item_id": "sku"}).items()
    with pytest.raises(MissingColumnError, match="column 'item_id' is missing"):
        CsvFiles(events, items=items)


def test_registry_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UnknownConnectorError, match="expected one of complete-journey, csv"):
        connector("excel")
    with pytest.raises(UnknownConnectorError, match=r"connector 'csv'.*its options are: path, items, users"):
        connector("csv", file="x")
    assert isinstance(connector("csv", path=str(write(tmp_path / "e.csv", HEADER))), CsvFiles)

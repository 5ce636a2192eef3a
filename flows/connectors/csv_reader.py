"""CSV in a stream of chunks of text; rows that don't split into the header's columns are kept apart, not lost."""

from __future__ import annotations

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from flows.connectors.base import BrokenRow, Chunk
from flows.connectors.columns import Columns
from flows.errors import BrokenEncodingError, BrokenFileError, EmptySourceError, SourceMissingError

BLOCK_BYTES = 4 << 20
"""Bytes parsed at once; chunks are put together from these."""


@dataclass(frozen=True)
class CsvFormat:
    """How a CSV is written.

    Args:
        delimiter: None reads .tsv with tabs and everything else with commas.
        encoding: a Python codec.
    """

    delimiter: str | None = None
    encoding: str = "utf-8"

    def delimiter_of(self, path: Path) -> str:
        return self.delimiter or ("\t" if ".tsv" in path.suffixes else ",")


def csv_header(path: Path, form: CsvFormat) -> list[str]:
    """The column names of the first line.

    Raises:
        SourceMissingError: there is no such file.
        EmptySourceError: the file has no first line.
        BrokenEncodingError: the first line isn't text in the stated encoding.
    """
    _check_exists(path)
    _, stream = _open(path)
    try:
        with stream, io.TextIOWrapper(stream, encoding=_bom_aware(form.encoding), newline="") as text:
            header = next(csv.reader(text, delimiter=form.delimiter_of(path)), None)
    except UnicodeDecodeError as error:
        raise _encoding_error(path, form) from error
    except OSError as error:
        raise BrokenFileError(f"{path}: can't be unpacked: {error}; make the file anew") from error
    if not header:
        raise EmptySourceError(f"{path}: the file is empty, expected a header with the column names and rows below it")
    return header


def csv_chunks(path: Path, form: CsvFormat, columns: Columns, chunk_rows: int) -> Iterator[Chunk]:
    """The file's rows as text under our names; an empty field is null.

    Raises:
        BrokenEncodingError: bytes that aren't text in the stated encoding; names line and byte.
        BrokenFileError: the file is no CSV, or its compression is broken.
    """
    broken: deque[BrokenRow] = deque()

    def keep_apart(row: pacsv.InvalidRow) -> str:
        broken.append(BrokenRow(row.number - 1, row.text, row.expected_columns, row.actual_columns))
        return "skip"

    size = path.stat().st_size
    raw, stream = _open(path)
    try:
        reader = pacsv.open_csv(
            stream,
            # Without threads, because only then does pyarrow number the rows that it can't split.
            read_options=pacsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False, encoding=form.encoding),
            parse_options=pacsv.ParseOptions(
                delimiter=form.delimiter_of(path), newlines_in_values=True, invalid_row_handler=keep_apart
            ),
            convert_options=pacsv.ConvertOptions(
                include_columns=list(columns.ours),
                column_types={name: pa.string() for name in columns.ours},
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        first, held = 1, []
        for block in reader:
            held.append(block)
            if sum(part.num_rows for part in held) >= chunk_rows:
                chunk = _chunk(held, reader.schema, columns, first, broken, raw.tell() / size)
                yield chunk
                first, held = first + chunk.rows.num_rows + len(chunk.broken), []
        if held or broken:
            yield _chunk(held, reader.schema, columns, first, broken, 1.0)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
            raise _encoding_error(path, form) from error
        raise BrokenFileError(f"{path}: not readable as CSV: {error}") from error
    except OSError as error:
        raise BrokenFileError(f"{path}: can't be unpacked: {error}; make the file anew") from error
    finally:
        stream.close()
        raw.close()


def _chunk(
    blocks: list[pa.RecordBatch], schema: pa.Schema, columns: Columns, first: int, broken: deque[BrokenRow], done: float
) -> Chunk:
    rows = pa.Table.from_batches(blocks, schema).rename_columns([columns.ours[name] for name in schema.names])
    end, here = first + rows.num_rows, []
    while broken and broken[0].number <= end:  # the parser reads ahead of the blocks that it hands out
        here.append(broken.popleft())
        end += 1
    return Chunk(rows, first, here, done)


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise SourceMissingError(f"{path}: no such file")


def _open(path: Path) -> tuple[pa.NativeFile, pa.NativeFile]:
    """The file, and the stream of its unpacked bytes; the same thing if it isn't compressed."""
    raw = pa.OSFile(str(path))
    packed = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}.get(path.suffix)
    return raw, pa.CompressedInputStream(raw, packed) if packed else raw


def _bom_aware(encoding: str) -> str:
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _encoding_error(path: Path, form: CsvFormat) -> BrokenEncodingError:
    """Reads again up to the first byte that can't be decoded, to say where it is."""
    decoder = codecs.getincrementaldecoder(form.encoding)()
    line, offset = 1, 0
    _, stream = _open(path)
    with stream:
        while block := stream.read(BLOCK_BYTES):
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                at = error.start - pending
                line += block[: max(at, 0)].count(b"\n")
                where = f"line {line}, byte {offset + at}"
                found = f"0x{error.object[error.start]:02x}"
                break
            line += block.count(b"\n")
            offset += len(block)
        else:
            where, found = f"line {line}, byte {offset}", "the end in the middle of a character"
    return BrokenEncodingError(
        f"{path}: {where}: {found} isn't {form.encoding} text; "
        f"save the file as UTF-8, or name its encoding: --encoding latin-1"
    )

"""Files to raw rows: every format becomes one frame of the shop's own columns, and each row remembers its file and its place there."""

import codecs
import glob
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa

from recsys.errors import SourceError, TableError

FILE, ROW = "__file__", "__row__"
"""Columns added to the raw rows: the file relative to the config's folder, and the row in it (from 1, header not counted)."""

COMPRESSIONS = (".gz", ".zst")
CHECKED_BYTES = 1 << 20


def _csv(separator: str) -> Callable[[bytes], pl.DataFrame]:
    # Nothing is guessed: 00123 keeps its zeros, and no daily file disagrees with another about a type.
    return lambda content: pl.read_csv(content, separator=separator, infer_schema=False)


READERS: dict[str, Callable[[bytes], pl.DataFrame]] = {
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".jsonl": lambda content: pl.read_ndjson(content, infer_schema_length=None),
    ".ndjson": lambda content: pl.read_ndjson(content, infer_schema_length=None),
    ".parquet": lambda content: pl.read_parquet(content),
}


def read(path: str, base: Path) -> pl.DataFrame:
    """All rows of a file, a glob or a folder, in order of file name, with FILE (String) and ROW (UInt32).

    CSV and TSV columns are String; Parquet and JSON lines keep their types. `path` is relative to `base`.
    Raises SourceError (missing, unreadable, not UTF-8, formats or columns that differ) and TableError (no row).
    """
    files = find_files(path, base)
    frames = [_read_file(file, base) for file in files]
    _same_columns(frames, files)
    try:
        rows = pl.concat([frame.select(frames[0].columns) for frame in frames], how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"{path}: a column has types that do not go together in its {len(files)} files ({_line(error)}).") from None
    if rows.is_empty():
        raise TableError(f"{path}: no row in {_n_files(files)}. Was the export cut short?")
    return rows


def find_files(path: str, base: Path) -> list[Path]:
    """The files that `path` names, sorted; names that start with a dot or an underscore (hidden, _SUCCESS) are skipped."""
    place = base / path
    if not glob.has_magic(path) and not place.is_dir():
        file_format(place)
        return [place]
    found = [Path(name) for name in glob.glob(str(place))] if glob.has_magic(path) else place.iterdir()
    files = sorted(file for file in found if file.is_file() and not file.name.startswith((".", "_")))
    if not files:
        raise SourceError(f"{path}: no file there (looked in {base.resolve()}). Mend the path; it is relative to the config file.")
    formats = sorted({file_format(file) for file in files})
    if len(formats) > 1:
        raise SourceError(
            f"{path}: its {len(files)} files mix the formats {', '.join(formats)}. Name one with a glob such as *{formats[0]}."
        )
    return files


def file_format(file: Path) -> str:
    """`.csv`, `.tsv`, `.jsonl`, `.ndjson` or `.parquet`: the suffix without its compression."""
    suffix = (Path(file.stem) if file.suffix.lower() in COMPRESSIONS else file).suffix.lower()
    if suffix not in READERS:
        known = ", ".join(READERS)
        raise SourceError(f"{file.name}: unknown format {suffix!r}; known: {known}, each also with {' or '.join(COMPRESSIONS)}.")
    return suffix


def _read_file(file: Path, base: Path) -> pl.DataFrame:
    name = os.path.relpath(file, base)
    content = _content(file, name)
    if not content.strip():
        raise SourceError(f"{name}: the file is empty. Export it again, or take it away.")
    if file_format(file) != ".parquet":
        _check_utf8(content, name)
    try:
        frame = READERS[file_format(file)](content)
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"{name}: not readable as {file_format(file)}: {_line(error)}. Mend or export it again.") from None
    return frame.with_columns(pl.lit(name).alias(FILE), pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(ROW))


def _content(file: Path, name: str) -> bytes:
    try:
        content = file.read_bytes()
        if file.suffix.lower() == ".gz":
            return gzip.decompress(content)
        if file.suffix.lower() == ".zst":
            return bytes(pa.CompressedInputStream(pa.BufferReader(content), "zstd").read())
        return content
    except FileNotFoundError:
        folder = file.parent.resolve()
        raise SourceError(f"{name}: no such file (looked in {folder}). Mend the path; it is relative to the config file.") from None
    except (OSError, EOFError) as error:
        raise SourceError(f"{name}: cannot be read: {_line(error)}. Is it whole, and what its suffix says?") from None


def _check_utf8(content: bytes, name: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), CHECKED_BYTES):
        kept = len(decoder.getstate()[0])
        try:
            decoder.decode(content[start : start + CHECKED_BYTES], final=start + CHECKED_BYTES >= len(content))
        except UnicodeDecodeError as error:
            byte = start - kept + error.start
            line = content.count(b"\n", 0, byte) + 1
            raise SourceError(
                f"{name}: not UTF-8 at byte {byte} (line {line}: {content[byte : byte + 1]!r}). "
                "Save it as UTF-8, for example with `iconv -f WINDOWS-1252 -t UTF-8`."
            ) from None


def _same_columns(frames: list[pl.DataFrame], files: list[Path]) -> None:
    every = {name for frame in frames for name in frame.columns}
    for frame, file in zip(frames, files, strict=True):
        lacking = sorted(every - set(frame.columns))
        if lacking:
            raise SourceError(f"{file.name}: lacks the column {lacking[0]!r} that other files beside it have. Export it again with it.")


def _n_files(files: list[Path]) -> str:
    return files[0].name if len(files) == 1 else f"{len(files)} files ({files[0].name} ...)"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

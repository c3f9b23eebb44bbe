"""A folder or a file is written whole or not at all: under a temporary name, fsync, the manifest last, then one rename.

Whatever was there before stays untouched until the rename, and a finished folder is never written over.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl

from recsys.errors import ArtefactError

VERSION = 1
"""Of the layout of runs and nights: raised when a reader of the earlier one would misread the later."""

MANIFEST = "manifest.json"
POINTER = "current"
PREFIX = ".draft-"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn a disk error into an ArtefactError that names the path and the way out."""
    try:
        yield
    except Exception as error:
        fault = _disk_fault(error)
        if fault is None:
            raise
        raise ArtefactError(_disk_message(path, fault)) from error


def _disk_fault(error: BaseException) -> OSError | None:
    """The disk error behind `error`: polars and safetensors wrap it in their own and keep only its number."""
    if isinstance(error, OSError):
        return error
    code = None if isinstance(error, ArtefactError) else re.search(r"\bos error (\d+)\b", str(error))
    return OSError(int(code[1]), os.strerror(int(code[1]))) if code else None


def _disk_message(path: Path, error: OSError) -> str:
    if error.errno in _TAKEN:
        return f"{path}: is already there, and what is finished is never written over. Remove it, or write under another name."
    advice = "Free some space there" if error.errno in _FULL else "Make it a folder that this user may write to"
    where = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
    fault = (error.strerror or str(error)).lower()
    return f"{path}: {fault}{where}; what was there before is untouched. {advice}, or set project.folder to another place."


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; on success it takes the place of `path` in one step, on error it is removed."""
    temporary = temporary_name(path)
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """A name beside `path` (the same disk, so a rename is one step) that no other process picks."""
    return path.with_name(f"{PREFIX}{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")


def point(folder: Path, name: str) -> None:
    """Write the pointer `current` of `folder`: the name of the entry that is served."""
    with replacing(folder / POINTER) as temporary:
        temporary.write_text(name + "\n", encoding="utf-8")


def pointed(folder: Path) -> str | None:
    """The name that the pointer of `folder` holds; None where there is no pointer yet."""
    with disk(folder):
        try:
            return (folder / POINTER).read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None


def dumps(content: dict[str, Any]) -> str:
    """JSON with sorted keys; ValueError on a NaN or an infinity, which JSON has not."""
    return json.dumps(content, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def sha256(path: Path) -> str:
    """64 hex digits over the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Draft:
    """A folder being written. As a context manager: on success it gets its final name, on error it is removed.

    `manifest` holds the caller's keys, also those added while writing; `version`, `digests` and `sizes` are the house's.
    """

    def __init__(self, final: Path, manifest: dict[str, Any]) -> None:
        self.final = final
        self.path = temporary_name(final)
        self.manifest = dict(manifest)

    def __enter__(self) -> "Draft":
        with disk(self.final):
            if os.path.lexists(self.final):
                raise FileExistsError(errno.EEXIST, "is already there")
            self.path.mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                with disk(self.final):
                    self._finish()
        finally:
            shutil.rmtree(self.path, ignore_errors=True)
        # A writer that is not ours met a full disk, or this folder went away under it.
        fault = _disk_fault(error) if isinstance(error, Exception) else None
        if fault and (fault.errno in _FULL or str(fault.filename or "").startswith(str(self.path))):
            raise ArtefactError(_disk_message(self.final, fault)) from error

    def table(self, name: str, frame: pl.DataFrame, row_group_size: int = 50_000) -> None:
        """Write `<name>.parquet`: the same frame gives the same bytes. `name` may hold `/`."""
        with disk(self.final):
            _write_parquet(frame, self.file(f"{name}.parquet"), row_group_size)

    def record(self, name: str, content: dict[str, Any]) -> None:
        """Write `<name>.json`, keys sorted. Raises ValueError on a NaN or an infinity."""
        text = dumps(content)
        with disk(self.final):
            self.file(f"{name}.json").write_text(text, encoding="utf-8")

    def file(self, name: str) -> Path:
        """A path inside the draft to write to; its folders exist."""
        path = self.path / name
        if name == MANIFEST or not path.resolve().is_relative_to(self.path.resolve()):
            raise ValueError(f"{name!r} is not a name for a file of an artefact")
        with disk(self.final):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _finish(self) -> None:
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        names = [path.relative_to(self.path).as_posix() for path in files]
        self.manifest["version"] = VERSION
        self.manifest["digests"] = dict(zip(names, map(sha256, files), strict=True))
        self.manifest["sizes"] = {name: path.stat().st_size for name, path in zip(names, files, strict=True)}
        for path in files:
            _sync(path)
        (self.path / MANIFEST).write_text(dumps(self.manifest), encoding="utf-8")
        for path in [self.path / MANIFEST, *(p for p in self.path.rglob("*") if p.is_dir()), self.path]:
            _sync(path)
        os.rename(self.path, self.final)
        _sync(self.final.parent)


def draft(final: Path, manifest: dict[str, Any]) -> Draft:
    """A new artefact folder `final`, to be written inside a `with`. Raises ArtefactError where it exists or cannot be made."""
    return Draft(final, manifest)


def rewrite(folder: Path, tables: dict[str, pl.DataFrame], more: dict[str, Any]) -> None:
    """Put other tables, by file name, in the place of those of a finished folder, each in one step, and `more` into its manifest, last.

    The one way in which something finished changes: personal rows have to go. Cut short, the folder is incomplete until this is done again.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for name, frame in tables.items():
        with replacing(folder / name) as temporary:
            _write_parquet(frame, temporary)
    for name in tables:
        manifest["digests"][name], manifest["sizes"][name] = sha256(folder / name), (folder / name).stat().st_size
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(dumps(manifest | more), encoding="utf-8")


def remove(path: Path) -> None:
    """Remove a file or a finished folder: it is gone in one step, what was in it after that. Raises ArtefactError on a disk error."""
    with disk(path):
        gone = temporary_name(path)
        os.replace(path, gone)
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()


def _write_parquet(frame: pl.DataFrame, path: Path, row_group_size: int = 50_000) -> None:
    with path.open("wb") as file:
        frame.write_parquet(file, compression="zstd", compression_level=3, statistics=True, row_group_size=row_group_size)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

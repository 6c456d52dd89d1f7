"""The files of a data set: named one by one, a folder with all below it, a zip read from within."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from models.bundle_files import is_left_over
from models.errors import TrainingError

_ENDINGS = (".csv", ".parquet", ".csv.gz")
_ENDINGS_TEXT = "*.csv, *.csv.gz, *.parquet or a zip of them"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of flows."""

    name: str  #: as shown and kept in `FlowTable.files`
    size: int  #: bytes as they will be read; of a .gz its packed bytes
    open: Callable[[], IO[bytes]]

    @property
    def is_parquet(self) -> bool:
        return self.name.lower().endswith(".parquet")


def find(paths: Sequence[Path]) -> list[Source]:
    """All files of flows under `paths`, those of a folder in order of their names.

    Raises TrainingError for a path that is not there and for one with no such file in it.
    """
    if not paths:
        raise TrainingError(f"no data given: name files ({_ENDINGS_TEXT}) or a folder")
    sources: list[Source] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                each
                for each in path.rglob("*")
                if each.is_file() and not is_left_over(each.relative_to(path).as_posix())
            )
            found = [one for each in inside for one in _of_file(each, str(each.relative_to(path.parent)))]
            if not found:
                raise TrainingError(
                    f"{path}: no file of flows in this folder ({_ENDINGS_TEXT}); check the path"
                )
        elif path.exists():
            found = _of_file(path, path.name)
            if not found:
                raise TrainingError(f"{path}: not a kind of file that holds flows: give {_ENDINGS_TEXT}")
        else:
            raise TrainingError(f"{path}: no such file or folder; check the path")
        sources += found
    _refuse_twice(sources)
    return sources


def _refuse_twice(sources: Sequence[Source]) -> None:
    """A zip beside its own files, or a file beside its folder, would make every flow a duplicate."""
    seen: dict[tuple[str, int], str] = {}
    for source in sources:
        key = PurePosixPath(source.name).name.lower(), source.size
        if key in seen:
            raise TrainingError(
                f"{source.name}: the same file as {seen[key]}, by name and size; give only one of them"
            )
        seen[key] = source.name


def _of_file(path: Path, name: str) -> list[Source]:
    lower = path.name.lower()
    if lower.endswith(".zip"):
        return _of_zip(path, name)
    if not lower.endswith(_ENDINGS):
        return []
    return [Source(name, path.stat().st_size, lambda: _opened(path))]


def _opened(path: Path) -> IO[bytes]:
    try:
        if path.name.lower().endswith(".gz"):
            return gzip.open(path, "rb")  # type: ignore[return-value]
        return path.open("rb")
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}; check path and rights") from None


def _of_zip(path: Path, name: str) -> list[Source]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                each
                for each in sorted(archive.infolist(), key=lambda each: each.filename)
                if each.filename.lower().endswith(_ENDINGS) and not is_left_over(each.filename)
            ]
    except NotImplementedError as error:  # made by a newer version of zip
        raise TrainingError(
            f"{path}: packed in a way that cannot be read here ({error}); unpack it and give the folder"
        ) from None
    except (zipfile.BadZipFile, OSError, ValueError) as error:  # ValueError: a name that is not UTF-8
        raise TrainingError(f"{path}: not a whole zip: {error}; fetch it again") from None
    if not members:
        raise TrainingError(f"{path}: no file of flows in this zip (*.csv, *.csv.gz, *.parquet)")
    if any(each.flag_bits & 1 for each in members):
        raise TrainingError(f"{path}: the zip is locked by a password; unpack it and give the folder")
    return [
        Source(f"{name}/{each.filename}", each.file_size, _opener(path, each.filename)) for each in members
    ]


def _opener(path: Path, member: str) -> Callable[[], IO[bytes]]:
    def opened() -> IO[bytes]:
        archive = zipfile.ZipFile(path)
        try:
            file = archive.open(member)
            return gzip.open(file, "rb") if member.lower().endswith(".gz") else file  # type: ignore[return-value]
        except UnicodeDecodeError as error:  # the name in front of the member is not UTF-8
            raise zipfile.BadZipFile(str(error)) from None
        finally:
            archive.close()  # the member keeps the file open for as long as it is read

    return opened

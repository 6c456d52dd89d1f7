"""The files of a bundle, in a folder or a zip, read with bounds; arrays and JSON as bytes.

Nothing is ever unpacked to disk, and no reader here runs code from a file: arrays are taken from
their headers and raw bytes, never by pickle.
"""

from __future__ import annotations

import io
import json
import lzma
import math
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.errors import BundleError

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
TFLITE, WEIGHTS, SCALING, CALIBRATION = "model.tflite", "weights.npz", "scaling.json", "calibration.json"
REPORT = "report"
MANIFEST_LIMIT = 1 << 20
FILE_LIMIT = 64 << 20
ARCHIVE_LIMIT = 4 * FILE_LIMIT  #: a zip
WEIGHTS_LIMIT = 256 << 20  #: bytes of all arrays together, once decompressed

AGAIN = "take the bundle from its source again"

#: What reading a damaged, locked or strangely packed zip ends in: NotImplementedError, a RuntimeError, is
#: an unknown compression, UnicodeDecodeError, a ValueError, a name that is none.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is written


class BundleFiles(Protocol):
    """Where the files of a bundle lie; names use `/` and are below the bundle's top."""

    def read(self, name: str, limit: int = FILE_LIMIT) -> bytes:
        """A whole file; BundleError when it is missing, no plain file, or longer than `limit`."""
        ...

    def names(self) -> list[str]:
        """All files that are there, whatever the manifest says, in order."""
        ...


def open_files(path: Path) -> BundleFiles:
    """The files of the bundle at `path`; BundleError when there is none."""
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            raise BundleError(f"{path}: not a bundle, it has no {MANIFEST}: check the path")
        return FolderFiles(path)
    if path.is_file():
        return ZipFiles(path)
    raise BundleError(f"{path}: no such bundle: check the path")


class FolderFiles:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str, limit: int = FILE_LIMIT) -> bytes:
        path = self._path / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise BundleError(f"{path}: not a plain file: {AGAIN}")
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise BundleError(f"{path}: missing: {AGAIN}") from None
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None
        return _bounded(data, limit, str(path))

    def names(self) -> list[str]:
        # A link to a folder is one file here: what it leads to is not of the bundle.
        files = (path for path in self._path.rglob("*") if path.is_symlink() or not path.is_dir())
        return sorted(path.relative_to(self._path).as_posix() for path in files)


class ZipFiles:
    """A zip of a bundle's files, or of one folder that holds them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if path.stat().st_size > ARCHIVE_LIMIT:
                raise BundleError(
                    f"{path}: longer than {ARCHIVE_LIMIT >> 20} MiB, no bundle is: check the path"
                )
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError):
            raise BundleError(f"{path}: not a bundle, neither a folder nor a zip: check the path") from None
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None
        tops = [n.removesuffix(MANIFEST) for n in names if n.endswith(MANIFEST) and n.count("/") <= 1]
        if len(tops) != 1 or tops[0] not in ("", tops[0].strip("/") + "/"):
            raise BundleError(f"{path}: not a bundle, it has no {MANIFEST}: check the path")
        self._top = tops[0]
        self._names = [name for name in names if not name.endswith("/")]

    def read(self, name: str, limit: int = FILE_LIMIT) -> bytes:
        where = f"{self._path}:{name}"
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(self._top + name) as file:
                data = file.read(limit + 1)
        except KeyError:
            raise BundleError(f"{where}: missing: {AGAIN}") from None
        except ZIP_ERRORS as error:
            raise BundleError(f"{where}: cannot be read ({error}): {AGAIN}") from None
        return _bounded(data, limit, where)

    def names(self) -> list[str]:
        return sorted(name.removeprefix(self._top) for name in self._names)


def is_left_over(name: str) -> bool:
    """Whether a file with `/` in its name was left by a file manager or a mount, meant by nobody as data."""
    parts = (part for part in name.split("/") if part not in (".", ".."))
    return any(part.startswith((".", "__MACOSX")) for part in parts)


def _bounded(data: bytes, limit: int, where: str) -> bytes:
    if len(data) > limit:
        raise BundleError(f"{where}: longer than {limit >> 20} MiB, no such file is: check the path")
    return data


def json_bytes(data: object, what: str) -> bytes:
    """The same bytes for equal data; BundleError for what JSON cannot hold."""
    try:
        text = json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise BundleError(f"{what}: cannot be written as JSON: {error}") from None


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The object that a JSON file holds; BundleError for anything else."""
    try:
        value = json.loads(data, parse_constant=_no_constant, parse_float=_float, parse_int=_int)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise BundleError(f"{where}: no valid JSON ({reason}): {AGAIN}") from None
    if not isinstance(value, dict):
        raise BundleError(f"{where}: no JSON object: {AGAIN}")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _float(text: str) -> float:
    """1e999 is JSON, and infinite as a float."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _int(text: str) -> int:
    """Python's are of any size; nothing here counts beyond 64 bits, and a float ends at 1e308."""
    value = int(text)
    if abs(value) >= 1 << 64:
        raise ValueError(f"{text[:20]}... is too large a number")
    return value


def arrays_bytes(arrays: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """Arrays by name as an npz of float32, the same bytes for equal arrays."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            array = np.ascontiguousarray(arrays[name], "<f4")
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _ZIP_TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, member.getvalue())
    return out.getvalue()


def parse_arrays(data: bytes, where: str) -> dict[str, npt.NDArray[np.float32]]:
    """The float32 arrays of an npz; BundleError for any other content."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > WEIGHTS_LIMIT:
                raise BundleError(f"{where}: more than {WEIGHTS_LIMIT >> 20} MiB of weights: check the path")
            return {e.filename.removesuffix(".npy"): _array(archive.read(e), e.filename) for e in entries}
    except ZIP_ERRORS as error:
        raise BundleError(f"{where}: no plain arrays ({error}): {AGAIN}") from None


def _array(member: bytes, name: str) -> npt.NDArray[np.float32]:
    """One npy file; the size that its header claims is held against what is there."""
    file = io.BytesIO(member)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name} is of another npy version")
    try:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    # What numpy's parser of a header lets out, some of it of several lines.
    except (ValueError, SyntaxError, tokenize.TokenError, TypeError, LookupError, ArithmeticError) as error:
        raise ValueError(f"{name} has a header that is none ({type(error).__name__})") from None
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(f"{name} has a shape that is none")
    if dtype != np.dtype("<f4") or fortran:
        raise ValueError(f"{name} is not float32 in C order")
    body = member[file.tell() :]
    if math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"{name} is cut or longer than its shape {shape}")
    array = np.frombuffer(body, dtype).reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a number that is not finite")
    return array


def below_report(report: Mapping[str, bytes] | None) -> dict[str, bytes]:
    """The files of report/ by their name in the bundle."""
    return {f"{REPORT}/{file}": data for file, data in sorted((report or {}).items())}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a new folder and have them on the disk when it returns."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

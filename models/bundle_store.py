"""What every kind of bundle is: a manifest with the hash of each file, verified and put in place whole."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.bundle_files import (
    AGAIN,
    FILE_LIMIT,
    MANIFEST,
    MANIFEST_LIMIT,
    SIGNATURE,
    BundleFiles,
    is_left_over,
    json_bytes,
    open_files,
    parse_json,
    write_folder,
)
from models.errors import BundleError
from models.signing import trusted_signer

SCHEMA = 1

Kind = Literal["windows", "flows"]

#: What is wrong with a file beside those of the manifest.
UNKNOWN = "not in the manifest: nothing vouches for it, remove it"

_SCORES = {"windows": "host windows", "flows": "single flows"}
#: What to do with a bundle of the other kind, by the kind that is wanted.
_WANTED = {
    "windows": "the daemon needs one of host windows: train it with 'ids-train fit --records'",
    "flows": "one of single flows is needed here: train it with 'ids-train fit DATA'",
}

_FILES_LIMIT = 256  # files in a bundle
_WHOLE_LIMIT = 5 * FILE_LIMIT  # bytes of all of them, unpacked
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"  # of a bundle
_LIBRARIES = ("numpy", "keras", "tensorflow", "tensorflow-cpu", "ai-edge-litert")


class Part(BaseModel):
    """A piece of a manifest: no other keys, no other types, no change."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class FileEntry(Part):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, le=FILE_LIMIT)]


class Manifest(Part):
    """What manifest.json holds in every kind of bundle."""

    schema_version: int
    name: Annotated[str, Field(pattern=_NAME)]
    created: Annotated[str, Field(max_length=64)]
    network: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    versions: dict[str, str]
    files: Annotated[dict[str, FileEntry], Field(max_length=_FILES_LIMIT)]


M = TypeVar("M", bound=Manifest)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened(Generic[M]):
    """A bundle whose manifest can be right; its files are not read yet."""

    where: Path
    manifest: M
    data: dict[str, Any]  #: manifest.json as it stands
    files: BundleFiles

    def contents(self, wanted: Container[str] | None = None) -> dict[str, bytes]:
        """The files `wanted` by name, or all; BundleError for any whose hash or size is not the manifest's.

        All are verified, one at a time: what is not wanted is held no longer than that.
        """
        found = {}
        for name, entry in self.manifest.files.items():
            data = self._verified(name, entry)
            if wanted is None or name in wanted:
                found[name] = data
        return found

    def _verified(self, name: str, entry: FileEntry) -> bytes:
        data = self.files.read(name)
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleError(f"{self.where}/{name}: its SHA-256 is not the manifest's: {AGAIN}")
        return data


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, by its key, without the value."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def kind_of(data: Mapping[str, Any]) -> str:
    """The kind that a manifest names; bundles older than kinds are of windows."""
    kind = data.get("kind", "windows")
    return kind if isinstance(kind, str) else repr(kind)


def read_manifest(where: Path, trusted_keys: Sequence[Path] = ()) -> tuple[dict[str, Any], BundleFiles]:
    """manifest.json of a bundle of a known schema, not looked at any further, and the bundle's files.

    trusted_keys: where there are any, one of them must have signed it.
    """
    files = open_files(where)
    text = files.read(MANIFEST, MANIFEST_LIMIT)
    if trusted_keys:
        trusted_signer(where, files, text, trusted_keys)
    data = parse_json(text, f"{where}/{MANIFEST}")
    schema = data.get("schema_version")
    if type(schema) is not int or schema < 1:
        raise BundleError(f"{where}/{MANIFEST}: not a bundle's, it has no schema_version: check the path")
    if schema > SCHEMA:
        raise BundleError(
            f"{where}/{MANIFEST}: schema {schema} is newer than {SCHEMA}, the newest known: update ids-daemon"
        )
    return data, files


def open_bundle(
    where: Path, kind: Kind, model: type[M], needed: Iterable[str], trusted_keys: Sequence[Path] = ()
) -> Opened[M]:
    """The bundle at `where`, which must be of `kind` and name the files `needed`.

    Raises BundleError for anything else, a bundle of the other kind by name.
    """
    data, files = read_manifest(where, trusted_keys)
    found = kind_of(data)
    if found != kind and found in _WANTED:
        raise BundleError(f"{where}: scores {_SCORES[found]} (kind {found!r}): {_WANTED[kind]}")
    try:
        manifest = model.model_validate(data)
    except ValidationError as error:
        raise BundleError(f"{where}/{MANIFEST}: {first_fault(error)}: {AGAIN}") from None
    for file in manifest.files:
        if not _is_below(file):
            raise BundleError(f"{where}/{MANIFEST}: file name {file!r} leaves the bundle: do not use it")
    for file in needed:
        if file not in manifest.files:
            raise BundleError(f"{where}/{MANIFEST}: no hash of {file}: {AGAIN}")
    if sum(entry.size for entry in manifest.files.values()) > _WHOLE_LIMIT:
        raise BundleError(
            f"{where}/{MANIFEST}: its files have more than {_WHOLE_LIMIT >> 20} MiB, no bundle has: {AGAIN}"
        )
    _refuse_unknown(where, manifest.files, files)
    return Opened(where, manifest, data, files)


def write_bundle(
    folder: str | os.PathLike[str],
    manifest: Mapping[str, Any],
    files: Mapping[str, bytes],
    load: Callable[[Path], T],
) -> T:
    """Write a bundle, replacing one that is there, and load it back with `load`.

    manifest: all but `schema_version` and `files`, which are added here; `versions` are those of now
        unless it names others.

    All is written beside `folder`, verified with `load` and then renamed, so there is never half a
    bundle.  Raises BundleError for what makes no bundle, and when `folder` holds something else.
    """
    whole = {
        "versions": _versions(),
        **manifest,
        "schema_version": SCHEMA,
        "files": {
            file: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for file, data in files.items()
        },
    }
    target = place_for(folder)
    new = target.with_name(f".{target.name}.new-{os.getpid()}")
    try:
        new.mkdir(parents=True)
        write_folder(new, {**files, MANIFEST: json_bytes(whole, MANIFEST)})
        load(new)
        _put_in_place(new, target)
    except OSError as error:
        raise BundleError(f"{target}: cannot be written ({error.strerror}): check the path") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return load(target)


def rewrite(
    opened: Opened[M],
    folder: str | os.PathLike[str],
    changed: Mapping[str, bytes],
    load: Callable[[Path], T],
    name: str | None = None,
) -> T:
    """Write a bundle again with some files changed, as `write_bundle`; a signature does not go along."""
    manifest = dict(opened.data) | ({"name": name} if name else {})
    return write_bundle(folder, manifest, {**opened.contents(), **changed}, load)


def place_for(folder: str | os.PathLike[str]) -> Path:
    """Where a bundle may be saved: a new folder, an empty one, or one with a bundle and nothing else.

    Raises BundleError for anything else: never something of a person's that a typing error names.
    """
    target = Path(folder).resolve()
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return target
    try:
        data, files = read_manifest(target)
    except BundleError:
        data, files = {}, None
    own = data.get("files")
    if files is None or not isinstance(own, dict) or kind_of(data) not in _SCORES or target.is_file():
        raise BundleError(f"{target}: is there and no bundle: name a new folder")
    for file in unknown_files(own, files):
        raise BundleError(f"{target}: holds {file}, which is not of the bundle there: name a new folder")
    return target


def unknown_files(own: Iterable[str], files: BundleFiles) -> list[str]:
    """What lies in a bundle beside its manifest, a signature and the manifest's own files."""
    known = {MANIFEST, SIGNATURE, *own}
    return [name for name in files.names() if name not in known]


def _refuse_unknown(where: Path, own: Iterable[str], files: BundleFiles) -> None:
    """BundleError for files that nothing vouches for.

    Hidden ones pass, though nothing reads them: desktops and mounts put them there unasked, and a sensor
    must not stay down for a .DS_Store.  `bundle verify` names them all the same.
    """
    unknown = [name for name in unknown_files(own, files) if not is_left_over(name)]
    if not unknown:
        return
    more = f" and {len(unknown) - 1} more" if unknown[1:] else ""
    raise BundleError(f"{where}/{unknown[0]}{more}: {UNKNOWN}")


def name_for(folder: str | os.PathLike[str], name: str | None = None) -> str:
    """The name of a bundle saved there: `name`, or that of the folder; BundleError for what is no name."""
    found = name or Path(folder).resolve().name
    if not re.fullmatch(_NAME, found):
        raise BundleError(
            f"{found!r} is no name of a bundle: letters, digits and ._+-, at most 64; --name gives one"
        )
    return found


def _is_below(name: str) -> bool:
    """Whether a file name stays below the bundle's top, spelled in the one plain way."""
    parts = name.split("/")
    plain = name.isprintable() and "\\" not in name and ":" not in name
    return plain and str(PurePosixPath(name)) == name and ".." not in parts and "" not in parts


def _versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that a model may depend on."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def _put_in_place(new: Path, target: Path) -> None:
    """Rename `new` to `target`; an old one there is kept until the new one stands."""
    if not target.exists():
        new.rename(target)
        return
    old = target.with_name(f".{target.name}.old-{os.getpid()}")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)

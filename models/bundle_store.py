"""What every kind of bundle is: a manifest with the hash of each file, verified and put in place whole."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    BundleFiles,
    json_bytes,
    open_files,
    parse_json,
    write_folder,
)
from models.errors import BundleError
from models.signing import trusted_signer

SCHEMA = 1

Kind = Literal["windows", "flows"]

_SCORES = {"windows": "host windows", "flows": "single flows"}
#: What to do with a bundle of the other kind, by the kind that is wanted.
_WANTED = {
    "windows": "the daemon needs one of host windows: train it with 'ids-train fit --records'",
    "flows": "one of single flows is needed here: train it with 'ids-train fit DATA'",
}

_FILES_LIMIT = 256  # files in a bundle
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

    def contents(self) -> dict[str, bytes]:
        """Every file by name; BundleError for one whose hash or size is not the manifest's."""
        return {name: self._verified(name, entry) for name, entry in self.manifest.files.items()}

    def _verified(self, name: str, entry: FileEntry) -> bytes:
        data = self.files.read(name)
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleError(f"{self.where}/{name}: its SHA-256 is not the manifest's: {AGAIN}")
        return data


def kind_of(data: Mapping[str, Any]) -> Any:
    """The kind that a manifest names; bundles older than kinds are of windows."""
    return data.get("kind", "windows")


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
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{where}/{MANIFEST}: {key}: {first['msg']}: {AGAIN}") from None
    for file in manifest.files:
        if not _is_below(file):
            raise BundleError(f"{where}/{MANIFEST}: file name {file!r} leaves the bundle: do not use it")
    for file in needed:
        if file not in manifest.files:
            raise BundleError(f"{where}/{MANIFEST}: no hash of {file}: {AGAIN}")
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
    """Where a bundle may be saved: a new folder, an empty one, or one with a bundle.

    Raises BundleError for anything else: never something of a person's that a typing error names.
    """
    target = Path(folder).resolve()
    replaceable = target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()))
    if target.exists() and not replaceable:
        raise BundleError(f"{target}: is there and no bundle: name a new folder")
    return target


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

"""Signatures of bundles: Ed25519 over manifest.json, which holds the hash of every other file.

The signature is 64 raw bytes in manifest.sig, keys are PEM files as `openssl` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.bundle_files import MANIFEST, SIGNATURE, BundleFiles, write_folder
from models.errors import BundleError, PackageMissing

_KEY_LIMIT = 1 << 16
_SIGNATURE_BYTES = 64


def sign(folder: Path, key: Path) -> None:
    """Write manifest.sig into a bundle's folder.

    key: PEM of an Ed25519 private key without a pass phrase (`openssl genpkey -algorithm ed25519`).
    Raises BundleError for a key or folder that cannot be used, PackageMissing without `cryptography`.
    """
    private = _load(key, private=True)
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder}: no folder of a bundle: unpack it first, or check the path")
    write_folder(folder, {SIGNATURE: private.sign((folder / MANIFEST).read_bytes())})


def trusted_signer(where: Path, files: BundleFiles, manifest: bytes, trusted: Sequence[Path]) -> Path:
    """The public key among the trusted ones that signed the bundle.

    manifest: manifest.json as it stands.  Raises BundleError when there is no signature, or none of
    these keys', and for a key that cannot be used; PackageMissing without `cryptography`.
    """
    keys = {path: _load(path, private=False) for path in trusted}
    if SIGNATURE not in files.names():
        raise BundleError(
            f"{where}: not signed, and only bundles signed by a trusted key are used:"
            " sign it with 'ids-train sign BUNDLE --key KEY'"
        )
    from cryptography.exceptions import InvalidSignature

    signature = files.read(SIGNATURE, _SIGNATURE_BYTES)
    for path, key in keys.items():
        try:
            key.verify(signature, manifest)
        except InvalidSignature:
            continue
        return path
    raise BundleError(
        f"{where}/{SIGNATURE}: not by a trusted key ({', '.join(map(str, trusted))}): do not use the bundle"
    )


def _load(path: Path, *, private: bool) -> Any:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise PackageMissing(
            f"signatures need cryptography ({error}): pip install 'ids-daemon[signing]'"
        ) from None
    what = "private" if private else "public"
    try:
        with path.open("rb") as file:
            data = file.read(_KEY_LIMIT)
        key = (
            serialization.load_pem_private_key(data, None)
            if private
            else serialization.load_pem_public_key(data)
        )
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}): name a {what} key in PEM") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: there is a pass phrase
        raise BundleError(f"{path}: no {what} key in PEM without a pass phrase: check the path") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey if private else ed25519.Ed25519PublicKey):
        raise BundleError(f"{path}: no Ed25519 key: make one with 'openssl genpkey -algorithm ed25519'")
    return key

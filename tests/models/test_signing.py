"""A signed bundle is known by its key, and where keys are trusted nothing else is used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.bundle import PRETRAINED, Bundle, load_bundle
from models.bundle_text import describe_bundle, verify_bundle
from models.errors import BundleError, PackageMissing
from models.signing import sign
from tests.models.test_bundle import edit_manifest, zipped

serialization = pytest.importorskip(
    "cryptography.hazmat.primitives.serialization",
    reason="needs cryptography: pip install 'ids-daemon[signing]'",
)

Save = Callable[..., Bundle]


def write_pair(folder: Path, name: str, kind: str = "ed25519") -> tuple[Path, Path]:
    """A private key and its public half, as openssl writes them."""
    from cryptography.hazmat.primitives.asymmetric import ed448, ed25519

    key = (ed25519.Ed25519PrivateKey if kind == "ed25519" else ed448.Ed448PrivateKey).generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    encoding = serialization.Encoding.PEM
    private.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path, "ours")


def refusal(path: Path, *keys: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(path, trusted_keys=keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_bundle_signed_by_a_trusted_key_is_used(
    save: Save, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    _, other = write_pair(tmp_path, "other")
    bundle = save()
    sign(bundle.path, keys[0])
    assert len((bundle.path / "manifest.sig").read_bytes()) == 64
    for path in (bundle.path, zipped(bundle, tmp_path / "bundle.zip", "native/")):
        assert load_bundle(path, trusted_keys=[other, keys[1]]).name == bundle.name
    assert load_bundle(bundle.path).name == bundle.name
    assert f"signature: by {keys[1]}" in describe_bundle(bundle.path, [keys[1]])
    assert "signature: there is one; give --key PUBLIC.pem to check it" in describe_bundle(bundle.path)
    assert verify_bundle(bundle.path, [keys[1]]) == []


def test_an_unsigned_bundle_is_refused_where_keys_are_trusted(save: Save, keys: tuple[Path, Path]) -> None:
    path = save().path
    assert refusal(path, keys[1]) == (
        f"{path}: not signed, and only bundles signed by a trusted key are used:"
        " sign it with 'ids-train sign BUNDLE --key KEY'"
    )
    assert verify_bundle(path, [keys[1]]) == [refusal(path, keys[1])]
    with pytest.raises(BundleError, match="native: not signed"):
        load_bundle(None, trusted_keys=[keys[1]])
    assert not (PRETRAINED / "native" / "manifest.sig").exists()


def test_another_signature_or_manifest_is_refused(
    save: Save, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    _, other = write_pair(tmp_path, "other")
    bundle = save()
    sign(bundle.path, keys[0])
    said = f"{bundle.path}/manifest.sig: not by a trusted key ({other}): do not use the bundle"
    assert refusal(bundle.path, other) == said
    assert verify_bundle(bundle.path, [other]) == [said]
    edit_manifest(bundle, lambda manifest: manifest["metrics"].update(named=0.99))
    assert load_bundle(bundle.path).manifest["metrics"] == {"named": 0.99}
    assert "not by a trusted key" in refusal(bundle.path, keys[1])
    (bundle.path / "manifest.sig").write_bytes(b"\0" * 65)
    assert "manifest.sig: longer than" in refusal(bundle.path, keys[1])
    (bundle.path / "manifest.sig").write_bytes(b"")
    assert "not by a trusted key" in refusal(bundle.path, keys[1])


def test_a_saved_bundle_has_no_older_ones_signature(save: Save, keys: tuple[Path, Path]) -> None:
    sign(save().path, keys[0])
    assert not (save(name="small-2").path / "manifest.sig").exists()


def test_keys_that_are_none_are_told_by_name(save: Save, keys: tuple[Path, Path], tmp_path: Path) -> None:
    path = save().path
    wrong = tmp_path / "wrong.pem"
    assert (
        refusal(path, wrong)
        == f"{wrong}: cannot be read (No such file or directory): name a public key in PEM"
    )
    wrong.write_text("no key")
    assert refusal(path, wrong) == f"{wrong}: no public key in PEM without a pass phrase: check the path"
    with pytest.raises(BundleError, match=r"no private key in PEM"):
        sign(path, keys[1])
    private, public = write_pair(tmp_path, "ed448", "ed448")
    assert refusal(path, public) == (
        f"{public}: no Ed25519 key: make one with 'openssl genpkey -algorithm ed25519'"
    )
    with pytest.raises(BundleError, match="no Ed25519 key"):
        sign(path, private)


def test_a_zip_is_not_signed_in_place(save: Save, keys: tuple[Path, Path], tmp_path: Path) -> None:
    archive = zipped(save(), tmp_path / "bundle.zip")
    with pytest.raises(BundleError, match="no folder of a bundle: unpack it first"):
        sign(archive, keys[0])


def test_missing_cryptography_is_told_with_the_line_that_installs_it(
    save: Save, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save().path
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    assert load_bundle(path).name == "small-1"
    with pytest.raises(PackageMissing, match=r"pip install 'ids-daemon\[signing\]'$"):
        load_bundle(path, trusted_keys=[keys[1]])
    with pytest.raises(PackageMissing):
        verify_bundle(path, [keys[1]])

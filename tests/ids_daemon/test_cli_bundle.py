"""`ids-daemon bundle` tells what a bundle is and whether it is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import models
from ids_daemon.cli import main


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shipped = Path(models.__file__).parent / "pretrained" / "native"
    return Path(shutil.copytree(shipped, tmp_path / "bundle"))


def test_show_tells_what_it_is(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "show", str(bundle)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[1] == f"at:        {bundle}"
    assert "kind:      windows: scores hosts over time, for the daemon" in lines


def test_verify_says_ok_or_what_is_wrong(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "verify", str(bundle)]) == 0
    assert capfd.readouterr() == ("ok\n", "")
    (bundle / "notes.txt").touch()
    assert main(["bundle", "verify", str(bundle)]) == 1
    said = f"ids-daemon: {bundle}/notes.txt: not in the manifest: nothing vouches for it, remove it\n"
    assert capfd.readouterr() == ("", said)
    (bundle / "notes.txt").unlink()
    (bundle / "scaling.json").write_text("{}")
    for action in ("show", "verify"):
        assert main(["bundle", action, str(bundle)]) == 1
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith(f"ids-daemon: {bundle}/scaling.json: its SHA-256 is not the manifest's")
        assert err.count("\n") == 1


def test_a_key_must_have_signed_it(bundle: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="needs cryptography: pip install 'ids-daemon[signing]'")
    assert main(["bundle", "verify", str(bundle), "--key", str(tmp_path / "none.pem")]) == 1
    said = f"ids-daemon: {tmp_path}/none.pem: cannot be read (No such file or directory): name a public key"
    assert capfd.readouterr().err == f"{said} in PEM\n"


def test_a_missing_package_is_a_matter_of_usage(
    bundle: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: object) -> list[str]:
        raise models.PackageMissing("signatures need cryptography: pip install 'ids-daemon[signing]'")

    monkeypatch.setitem(vars(models), "verify_bundle", missing)
    assert main(["bundle", "verify", str(bundle)]) == 2
    assert capfd.readouterr().err.endswith("pip install 'ids-daemon[signing]'\n")

"""People are told what a bundle is, and what is wrong with one."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from models.any_bundle import load_any
from models.bundle import PRETRAINED, Bundle
from models.bundle_text import describe_bundle, verify_bundle
from models.errors import BundleError
from models.flow_bundle import FlowBundle
from models.litert import builtin_only, operators
from tests.models.test_bundle import edit_manifest, flatbuffer_with_custom_operator, replace_file, zipped

Save = Callable[..., Bundle]

#: All that a network of ours needs; every one of them is in the smallest LiteRT runtime.
BUILT_IN = {
    "ADD", "CONCATENATION", "CONV_2D", "FULLY_CONNECTED", "LOGISTIC", "MAX_POOL_2D", "MUL", "RESHAPE",
    "SPLIT", "TANH", "TRANSPOSE", "UNPACK",
}  # fmt: skip


@pytest.mark.parametrize("meter", ["native", "cicflowmeter"])
def test_the_shipped_flatbuffers_have_these_operators_and_no_other(meter: str) -> None:
    tflite = (PRETRAINED / meter / "model.tflite").read_bytes()
    assert operators(tflite) == BUILT_IN
    builtin_only(tflite, meter)


@pytest.mark.parametrize("meter", ["native", "cicflowmeter"])
def test_the_shipped_bundles_are_whole(meter: str) -> None:
    assert verify_bundle(meter) == []
    text = describe_bundle(meter)
    assert f"meter:     {meter}" in text
    assert "parameters: 40,233" in text
    assert "  lstm: 18,624" in text
    assert "signature: none" in text
    assert f"operators: {', '.join(sorted(BUILT_IN))}" in text


def test_a_name_is_a_path_where_there_is_one(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("native")
    assert load_any("native").path == PRETRAINED / "native"
    monkeypatch.chdir(tmp_path)
    assert load_any("native").name == "small-1"
    with pytest.raises(BundleError, match="^nothing: no such bundle: check the path$"):
        load_any("nothing")


def test_windows_are_described_for_any_meter(save: Save) -> None:
    bundle = save(meter="cicflowmeter", report={"index.html": b"<p>"})
    text = describe_bundle(bundle.path)
    assert text[0] == "bundle:    small-1"
    assert "threshold: 1.0000 of the evidence" in text
    assert "  named: 0.5" in text
    assert any(line.startswith("  report/index.html: 3 bytes, ") for line in text)


def test_flows_are_described(save_flows: Callable[..., FlowBundle]) -> None:
    bundle = save_flows(calibration={"made_of": {"hours": 3}})
    text = describe_bundle(bundle.path)
    assert "kind:      flows: scores single flows, for the trainer's commands" in text
    assert "classes:   BENIGN, DoS" in text
    assert "threshold: 0.75 of the probability" in text
    assert text[text.index("threshold from:") + 1] == "  hours: 3" and "metrics:" in text
    calibrated = save_flows(calibration={"made_of": {"budget": "3/day"}})
    assert "metrics, by the threshold before it was calibrated:" in describe_bundle(calibrated.path)
    assert verify_bundle(bundle.path) == []


def test_a_file_that_the_manifest_does_not_have_is_refused_by_name(save: Save, tmp_path: Path) -> None:
    bundle = save()
    (bundle.path / "report").mkdir()
    (bundle.path / "report" / "evil.pkl").write_bytes(b"")
    archive = zipped(bundle, tmp_path / "bundle.zip", "native/")
    for path in (bundle.path, archive):
        said = f"{path}/report/evil.pkl: not in the manifest: nothing vouches for it, remove it"
        assert verify_bundle(path) == [said]
        for use in (load_any, describe_bundle):
            with pytest.raises(BundleError) as caught:
                use(path)
            assert str(caught.value) == said


def test_a_name_that_leads_out_of_a_zip_is_refused(save: Save, tmp_path: Path) -> None:
    archive = zipped(save(), tmp_path / "bundle.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../evil", b"")
    said = f"{archive}/../evil: not in the manifest: nothing vouches for it, remove it"
    assert verify_bundle(archive) == [said]
    with pytest.raises(BundleError, match="not in the manifest"):
        load_any(archive)


def test_what_would_steer_a_terminal_is_told_as_text(save: Save) -> None:
    bundle = save(created="2026-01-01\x1b[31m", training={"files": "\x1b]0;x\x07"})
    text = describe_bundle(bundle.path)
    assert all(line.isprintable() for line in text)
    assert "  files: \\x1b]0;x\\x07" in text


def test_hidden_files_are_told_and_no_hindrance(save: Save, tmp_path: Path) -> None:
    bundle = save()
    (bundle.path / ".DS_Store").write_bytes(b"")
    (bundle.path / "__MACOSX").mkdir()
    (bundle.path / "__MACOSX" / "._weights.npz").write_bytes(b"")
    for path in (bundle.path, zipped(bundle, tmp_path / "bundle.zip")):
        assert load_any(path).name == bundle.name
        assert verify_bundle(path) == [
            f"{path}/{name}: not in the manifest: nothing vouches for it, remove it"
            for name in (".DS_Store", "__MACOSX/._weights.npz")
        ]
        assert describe_bundle(path)[-2:] == [
            "  .DS_Store: not in the manifest, never read",
            "  __MACOSX/._weights.npz: not in the manifest, never read",
        ]


def test_damage_is_told_as_what_is_wrong(save: Save, tmp_path: Path) -> None:
    bundle = save()
    (bundle.path / "model.tflite").write_bytes(b"")
    (said,) = verify_bundle(bundle.path)
    assert said.startswith(f"{bundle.path}/model.tflite: its SHA-256 is not the manifest's: ")
    with pytest.raises(BundleError, match="its SHA-256 is not"):
        describe_bundle(bundle.path)
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert verify_bundle(tmp_path / "empty.zip") == [
        f"{tmp_path}/empty.zip: not a bundle, it has no manifest.json: check the path"
    ]


def test_a_network_that_cannot_be_run_is_told(save: Save) -> None:
    bundle = save()
    replace_file(bundle, "model.tflite", flatbuffer_with_custom_operator(bundle.tflite, "FlexErf"))
    assert verify_bundle(bundle.path) == [
        f"{bundle.path}/model.tflite: needs FlexErf, not built into LiteRT: convert with the LSTM unrolled"
    ]


def test_an_unknown_kind_is_refused(save: Save) -> None:
    bundle = save()
    edit_manifest(bundle, lambda manifest: manifest.update(kind="pixels"))
    with pytest.raises(BundleError, match=r"manifest\.json: unknown kind 'pixels': update ids-daemon"):
        load_any(bundle.path)

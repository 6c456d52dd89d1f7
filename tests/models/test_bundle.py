"""A saved model is whole, for this meter and these features, or refused in one line."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models.bundle
import models.bundle_files
from models.bundle import Bundle, load_bundle
from models.bundle_files import parse_arrays
from models.errors import BundleError
from models.litert import builtin_only, operators
from tests.models.conftest import SPEC, Parts, raw_windows

Save = Callable[..., Bundle]


def refusal(path: Path | str | None, meter: str = "native") -> str:
    """The one line with which a bundle is refused."""
    with pytest.raises(BundleError) as caught:
        load_bundle(path, meter=meter)
    line = str(caught.value)
    assert "\n" not in line
    return line


def edit_manifest(bundle: Bundle, edit: Callable[[dict[str, Any]], None]) -> None:
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def replace_file(bundle: Bundle, name: str, data: bytes) -> None:
    """Other content, with the manifest made to agree."""
    (bundle.path / name).write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    edit_manifest(bundle, lambda manifest: manifest["files"].update({name: entry}))


def zipped(bundle: Bundle, target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(bundle.path.rglob("*")):
            if path.is_file():
                archive.write(path, prefix + str(path.relative_to(bundle.path)))
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_bundle_comes_back_as_it_was_saved(save: Save, parts: Parts) -> None:
    bundle = load_bundle(save(report={"report.html": b"<p>"}).path)
    assert (bundle.name, bundle.meter, bundle.families) == ("small-1", "native", parts["families"])
    assert (bundle.spec, bundle.calibration, bundle.tflite) == (SPEC, parts["calibration"], parts["tflite"])
    assert bundle.manifest["training"] == parts["training"]
    assert bundle.manifest["metrics"] == parts["metrics"]
    assert bundle.manifest["created"] == "2026-01-02T03:04:05Z"
    assert (bundle.path / "report" / "report.html").read_bytes() == b"<p>"
    rows, counters = raw_windows(3, seed=1)
    assert np.array_equal(bundle.scaling.transform_rows(rows), parts["scaling"].transform_rows(rows))
    assert np.array_equal(
        bundle.scaling.transform_counters(counters), parts["scaling"].transform_counters(counters)
    )
    weights = bundle.weights()
    assert weights.keys() == parts["weights"].keys()
    assert all(np.array_equal(weights[name], parts["weights"][name]) for name in weights)


def test_the_same_input_gives_the_same_bytes(save: Save) -> None:
    one, two = save("one"), save("two")
    assert contents(one.path) == contents(two.path)


def test_weights_are_plain_arrays_for_numpy_too(save: Save, parts: Parts) -> None:
    with np.load(save().path / "weights.npz", allow_pickle=False) as arrays:
        assert all(np.array_equal(arrays[name], array) for name, array in parts["weights"].items())


def test_saving_replaces_an_older_bundle_whole(save: Save) -> None:
    save(report={"old.txt": b"old"})
    bundle = save(name="small-2")
    assert bundle.name == "small-2"
    assert not (bundle.path / "report").exists()
    assert [path.name for path in bundle.path.parent.iterdir()] == ["bundle"]


def test_saving_replaces_no_folder_of_something_else(save: Save, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(BundleError, match="is there and no bundle"):
        save("photos")
    assert contents(tmp_path) == {"photos/cat.jpg": b"cat"}


@pytest.mark.parametrize(
    "manifest",
    ['{"manifest_version": 3}', '{"schema_version": 1, "kind": "pixels", "files": {}}', "[]", "{"],
    ids=["extension", "other kind", "list", "broken"],
)
def test_saving_replaces_no_folder_with_a_manifest_of_something_else(
    save: Save, tmp_path: Path, manifest: str
) -> None:
    (tmp_path / "ext").mkdir()
    (tmp_path / "ext" / "manifest.json").write_text(manifest)
    with pytest.raises(BundleError, match=r"ext: is there and no bundle: name a new folder$"):
        save("ext")
    assert contents(tmp_path) == {"ext/manifest.json": manifest.encode()}


@pytest.mark.parametrize("name", ["thesis.txt", ".git/config", "report/notes.md"])
def test_saving_replaces_no_bundle_with_a_persons_file_in_it(save: Save, tmp_path: Path, name: str) -> None:
    path = save(report={"report.html": b"<p>"}).path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"years of work")
    before = contents(tmp_path)
    with pytest.raises(BundleError) as caught:
        save(name="small-2")
    assert str(caught.value) == (
        f"{tmp_path}/bundle: holds {name}, which is not of the bundle there: name a new folder"
    )
    assert contents(tmp_path) == before


def test_saving_replaces_no_bundle_with_a_link_to_a_folder_in_it(save: Save, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (save().path / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(BundleError, match="bundle: holds link, which is not of the bundle there"):
        save(name="small-2")


def test_a_failed_save_leaves_the_old_bundle(save: Save, parts: Parts, tmp_path: Path) -> None:
    old = contents(save().path)
    with pytest.raises(BundleError, match=r"network: has 8 families, 7 are named"):
        save(families=parts["families"][:-1])
    assert contents(tmp_path / "bundle") == old
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_what_json_cannot_hold_is_told_by_file(save: Save) -> None:
    with pytest.raises(BundleError, match=r"^calibration\.json: cannot be written as JSON"):
        save(calibration={"threshold": float("nan")})


def test_a_bundle_that_names_no_kind_is_of_windows(save: Save) -> None:
    bundle = save()
    assert bundle.manifest["kind"] == "windows"
    edit_manifest(bundle, lambda manifest: manifest.pop("kind"))
    assert load_bundle(bundle.path).name == bundle.name


@pytest.mark.parametrize("prefix", ["", "native/"])
def test_a_zip_of_a_bundle_is_one(save: Save, tmp_path: Path, prefix: str) -> None:
    bundle = save(report={"report.html": b"<p>"})
    found = load_bundle(zipped(bundle, tmp_path / "bundle.zip", prefix))
    assert (found.name, found.tflite, found.calibration) == (bundle.name, bundle.tflite, bundle.calibration)


def test_the_shipped_bundle_is_that_of_the_meter(
    save: Save, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(models.bundle, "PRETRAINED", tmp_path)
    save("native")
    assert load_bundle(None).path == tmp_path / "native"
    assert "no model ships for the meter 'cicflowmeter': train one" in refusal(None, "cicflowmeter")


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("not a zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a/b/manifest.json", "{}")
    assert refusal(tmp_path / "none") == f"{tmp_path}/none: no such bundle: check the path"
    assert refusal(tmp_path / "empty").endswith("not a bundle, it has no manifest.json: check the path")
    assert refusal(tmp_path / "text").endswith("not a bundle, neither a folder nor a zip: check the path")
    assert refusal(tmp_path / "other.zip").endswith("not a bundle, it has no manifest.json: check the path")


@pytest.mark.parametrize("name", ["model.tflite", "weights.npz", "scaling.json", "report/report.html"])
def test_a_changed_file_is_refused_by_name(save: Save, tmp_path: Path, name: str) -> None:
    bundle = save(report={"report.html": b"<p>"})
    data = (bundle.path / name).read_bytes()
    (bundle.path / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    changed = (
        f"{bundle.path}/{name}: its SHA-256 is not the manifest's: take the bundle from its source again"
    )
    assert refusal(bundle.path) == changed
    assert f"/{name}: its SHA-256 is not" in refusal(zipped(bundle, tmp_path / "bundle.zip"))


def test_a_missing_file_is_refused_by_name(save: Save) -> None:
    bundle = save()
    (bundle.path / "weights.npz").unlink()
    assert refusal(bundle.path).startswith(f"{bundle.path}/weights.npz: missing")


def test_another_meters_bundle_is_refused_by_both_names(save: Save) -> None:
    bundle = save(meter="cicflowmeter")
    assert load_bundle(bundle.path, meter="cicflowmeter").meter == "cicflowmeter"
    assert refusal(bundle.path) == (
        f"{bundle.path}: made for the meter 'cicflowmeter', not for 'native': "
        "choose --meter cicflowmeter or another bundle"
    )


@pytest.mark.parametrize("part", ["ROW_NAMES", "COUNTER_NAMES"])
def test_other_features_than_this_versions_are_refused(
    save: Save, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    bundle = save()
    names = getattr(models.bundle, part)
    monkeypatch.setattr(models.bundle, part, (*names[1:], names[0]))
    line = refusal(bundle.path)
    assert "made for other features" in line
    assert line.endswith("retrain with 'ids-train fit'")


def test_another_window_is_refused(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = save()
    monkeypatch.setattr(models.bundle, "WINDOW", 32)
    assert refusal(bundle.path).endswith("retrain with 'ids-train fit'")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            lambda m: m.update(schema_version=2),
            "schema 2 is newer than 1, the newest known: update ids-daemon",
        ),
        (lambda m: m.pop("schema_version"), "it has no schema_version"),
        (lambda m: m.update(schema_version=True), "it has no schema_version"),
        (lambda m: m.pop("families"), "families: Field required"),
        (lambda m: m.update(pickle="model.pkl"), "pickle: Extra inputs are not permitted"),
        (lambda m: m.update(name="../../etc"), "name: String should match pattern"),
        (lambda m: m["features"].update(hash="0" * 16), "its feature hash is not that of its features"),
        (lambda m: m["network"].update(lstm=0), "network: lstm is 0"),
        (lambda m: m["network"].update(layers="Lambda"), "network: unknown: layers"),
        (
            lambda m: m["network"].update(window=17),
            "network: reads windows of 17 rows, a host's window has 16",
        ),
        (lambda m: m["network"].update(counters=3), "network: reads rows and counters of "),
        (lambda m: m["families"].append("more"), "network: has 8 families, 9 are named"),
        (lambda m: m["files"].pop("model.tflite"), "no hash of model.tflite"),
        (lambda m: m["files"]["model.tflite"].update(size=1 << 40), "files.model.tflite.size"),
        (lambda m: m.update(kind=[]), "kind: Input should be 'windows'"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(
    save: Save, edit: Callable[[dict[str, Any]], None], said: str
) -> None:
    bundle = save()
    edit_manifest(bundle, edit)
    line = refusal(bundle.path)
    assert line.startswith(f"{bundle.path}/manifest.json: ")
    assert said in line


def test_no_more_is_read_than_a_bundle_can_have(save: Save, tmp_path: Path) -> None:
    """A zip of a few KiB can name gigabytes."""
    bundle = save()
    zeros = bytes(64 << 20)
    entry = {"sha256": hashlib.sha256(zeros).hexdigest(), "size": len(zeros)}
    edit_manifest(bundle, lambda m: m["files"].update({f"report/{i}": entry for i in range(5)}))
    said = "/manifest.json: its files have more than 320 MiB, no bundle has: take the bundle from its source"
    assert said in refusal(bundle.path)
    assert said in refusal(zipped(bundle, tmp_path / "bundle.zip"))


def test_what_is_not_needed_is_verified_and_let_go(save: Save, tmp_path: Path) -> None:
    report = {f"{i}.bin": bytes([i]) * (8 << 20) for i in range(8)}
    path = zipped(save(report=report), tmp_path / "bundle.zip")
    load_bundle(path)
    tracemalloc.start()
    try:
        load_bundle(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 48 << 20  # of 64 MiB


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside", "a//b", "c:b", "a\\b"])
def test_no_file_outside_the_bundle_is_read(save: Save, tmp_path: Path, name: str) -> None:
    bundle = save()
    (tmp_path / "outside").write_bytes(b"")
    entry = {"sha256": hashlib.sha256(b"").hexdigest(), "size": 0}
    edit_manifest(bundle, lambda m: m["files"].update({name: entry}))
    assert f"file name {name!r} leaves the bundle" in refusal(bundle.path)
    assert f"file name {name!r} leaves the bundle" in refusal(zipped(bundle, tmp_path / "bundle.zip"))


def test_a_pipe_in_a_bundle_is_not_waited_for(save: Save) -> None:
    bundle = save()
    (bundle.path / "model.tflite").unlink()
    os.mkfifo(bundle.path / "model.tflite")
    assert "model.tflite: not a plain file" in refusal(bundle.path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "no valid JSON"),
        (b"[1]", "no JSON object"),
        (b'{"threshold": NaN}', "NaN is no number in JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b"\xff", "no valid JSON"),
        (b'{"threshold": 1e999}', "1e999 is too large a number"),
        (b'{"threshold": -1e999}', "-1e999 is too large a number"),
        (b'{"threshold": 1' + b"0" * 400 + b"}", "10000000000000000000... is too large a number"),
    ],
)
def test_a_calibration_that_is_no_json_object_is_refused(save: Save, data: bytes, said: str) -> None:
    bundle = save()
    replace_file(bundle, "calibration.json", data)
    line = refusal(bundle.path)
    assert line.startswith(f"{bundle.path}/calibration.json: ")
    assert said in line


def test_a_scaling_of_other_columns_is_refused(save: Save, parts: Parts) -> None:
    bundle = save()
    scaling = parts["scaling"].to_json()
    scaling["counters"] = {name: values[1:] for name, values in scaling["counters"].items()}
    replace_file(bundle, "scaling.json", json.dumps(scaling).encode())
    assert refusal(bundle.path).startswith(f"{bundle.path}/scaling.json: ")


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npy_headed(header: str) -> bytes:
    """An npz with one array of one number under a header of one's own."""
    text = header.encode("latin-1")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(4))
    return file.getvalue()


def npy_of_shape(shape: str) -> bytes:
    return npy_headed(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}")


def damaged(compression: int) -> bytes:
    """A zip of manifest.json whose compressed bytes are others."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("manifest.json", bytes(range(256)) * 4)
    data = bytearray(file.getvalue())
    for at in range(30 + len("manifest.json") + 10, 30 + len("manifest.json") + 30):
        data[at] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_is_refused_however_it_is_packed(tmp_path: Path, compression: int) -> None:
    (tmp_path / "bundle.zip").write_bytes(damaged(compression))
    assert refusal(tmp_path / "bundle.zip").startswith(
        f"{tmp_path}/bundle.zip:manifest.json: cannot be read ("
    )
    with pytest.raises(BundleError, match=r"^weights\.npz: no plain arrays \("):
        parse_arrays(damaged(compression), "weights.npz")


@pytest.mark.parametrize(
    "header",
    ["(((", "1 +", "'", "{[]: 1}", "", "(" * 9000, "0" * 11_000, "{'descr': [('a',)]}"],
    ids=["tokens", "syntax", "quote", "type", "empty", "deep", "long", "keys"],
)
def test_a_header_that_is_none_is_refused_in_one_line(header: str) -> None:
    with pytest.raises(BundleError, match=r"^weights\.npz: .*a\.npy has a header that is none") as caught:
        parse_arrays(npy_headed(header), "weights.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK", "File is not a zip file"),
        (npz(a=np.array([object()])), "a.npy is not float32"),
        (npz(a=np.zeros(3)), "a.npy is not float32"),
        (npz(a=np.array([np.inf], np.float32)), "a number that is not finite"),
        (npy_of_shape(f"({1 << 40},)"), "a.npy is cut or longer than its shape"),
        (npy_of_shape("(True,)"), "a.npy has a shape that is none"),
        (npy_of_shape("(-1, -1)"), "a.npy has a shape that is none"),
    ],
    ids=["no zip", "objects", "float64", "infinite", "false header", "bool", "negative"],
)
def test_weights_are_plain_float32_of_a_size_that_fits(data: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=re.escape(said)):
        parse_arrays(data, "weights.npz")


def test_weights_are_not_unpacked_beyond_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.bundle_files, "WEIGHTS_LIMIT", 1 << 20)
    packed = npz(a=np.zeros(1 << 20, np.float32))
    assert len(packed) < 1 << 14
    with pytest.raises(BundleError, match="more than 1 MiB of weights"):
        parse_arrays(packed, "weights.npz")


def test_the_model_needs_operators_of_litert_alone(parts: Parts) -> None:
    found = operators(parts["tflite"])
    assert {"CONV_2D", "FULLY_CONNECTED", "LOGISTIC", "TANH"} <= found
    assert not [name for name in found if name.startswith("Flex") or name == "CUSTOM"]


def flatbuffer_with_custom_operator(tflite: bytes, name: str) -> bytes:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(tflite))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = name
    model.operatorCodes.append(code)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def test_a_custom_operator_is_refused_by_name(save: Save, parts: Parts) -> None:
    tflite = flatbuffer_with_custom_operator(parts["tflite"], "FlexTensorListReserve")
    assert operators(tflite) == operators(parts["tflite"]) | {"FlexTensorListReserve"}
    with pytest.raises(BundleError, match="model.tflite: needs FlexTensorListReserve, not built into LiteRT"):
        save(tflite=tflite)


def test_bytes_that_are_no_flatbuffer_are_refused() -> None:
    with pytest.raises(BundleError, match=r"model\.tflite: no LiteRT model"):
        builtin_only(b"TFL3" * 100, "model.tflite")

"""Checkpoints are kept beside a bundle, and what is not theirs stays."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import TrainingError
from models.training.checkpoints import Checkpoints


def kept(folder: Path) -> Checkpoints:
    """The folder after one fit that is over, and one that is not."""
    checkpoints = Checkpoints(folder, {"seed": 1})
    checkpoints.keep("fold-0", {"f1": 0.5})
    checkpoints.of("fold-1").save({"a": np.arange(3)})
    return checkpoints


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_the_same_command_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "out.partial"
    assert not kept(folder).resumed
    again = Checkpoints(folder, {"seed": 1})
    assert again.resumed and again.result("fold-0") == {"f1": 0.5}
    arrays = again.of("fold-1").load()
    assert arrays is not None and arrays["a"].tolist() == [0, 1, 2]
    again.remove()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("command", "before", "now"),
    [
        ({"seed": 2}, "seed 1", "seed 2"),
        ({"seed": 1, "cut_s": 60}, "cut_s none", "cut_s 60"),
        ({"settings": {"seed": 1}, "data": "0123456789abcdef"},
         "data none, seed 1, seed none", "data 0123456789ab, seed none, seed 1"),
    ],
)  # fmt: skip
def test_what_another_command_has_done_is_not_lost(
    tmp_path: Path, command: dict[str, Any], before: str, now: str
) -> None:
    folder = tmp_path / "out.partial"
    kept(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TrainingError) as caught:
        Checkpoints(folder, command)
    assert str(caught.value) == (
        f"{folder}: holds what a fit with {before} has done, not one with {now}: go on with that one, or"
        f" delete {folder} to begin anew"
    )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert Checkpoints(folder, {"seed": 1}).resumed


def test_another_command_begins_anew_where_nothing_was_done(tmp_path: Path) -> None:
    folder = tmp_path / "out.partial"
    Checkpoints(folder, {"seed": 1})
    (folder / "fold-0.new").write_bytes(b"half")
    other = Checkpoints(folder, {"seed": 2})
    assert not other.resumed and names(folder) == {"command.json"}
    assert not Checkpoints(folder, {"seed": 3}).resumed and Checkpoints(folder, {"seed": 3}).resumed


@pytest.mark.parametrize("text", ['{"seed": 1}', '{"scripts": {}}', "[]", "{", "\xff"])
def test_another_programs_folder_is_left_alone(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "out.partial"
    folder.mkdir()
    (folder / "command.json").write_text(text, encoding="latin-1")
    (folder / "data.json").write_text("1")
    with pytest.raises(TrainingError, match=r"out\.partial: is there and holds no checkpoints: move it away"):
        Checkpoints(folder, {"seed": 1})
    assert names(folder) == {"command.json", "data.json"}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["thesis.txt", "work/fold-0.json"])
def test_a_persons_file_among_checkpoints_is_named(tmp_path: Path, name: str, seed: int) -> None:
    folder = tmp_path / "out.partial"
    kept(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("years of work")
    before = names(folder)
    with pytest.raises(TrainingError) as caught:
        Checkpoints(folder, {"seed": seed})
    first = name.split("/")[0]
    assert str(caught.value) == f"{folder}: holds {first}, which is no checkpoint: move it away"
    assert names(folder) == before


def test_what_came_in_meanwhile_stays_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "out.partial"
    checkpoints = kept(folder)
    (folder / "thesis.txt").write_text("years of work")
    checkpoints.remove()
    assert names(folder) == {"thesis.txt"}


def test_a_disk_that_was_full_from_the_start_is_no_hindrance_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out.partial"

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(TrainingError, match="No space left on device"):
            Checkpoints(folder, {"seed": 1})
    assert len(names(folder)) == 1
    assert not Checkpoints(folder, {"seed": 1}).resumed


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    """numpy's zip, left unfinished on a full disk, would complain again when it is let go."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    checkpoint = Checkpoints(tmp_path / "out.partial", {"seed": 1}).of("network")
    (tmp_path / "out.partial" / "network.new").symlink_to("/dev/full")
    said: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.unraisablehook", said.append)
        with pytest.raises(TrainingError, match="No space left on device"):
            checkpoint.save({"a": np.arange(100_000)})
        gc.collect()
    assert said == []

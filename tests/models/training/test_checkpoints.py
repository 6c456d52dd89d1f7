"""Checkpoints are kept beside a bundle, and what is not theirs stays."""

from __future__ import annotations

from pathlib import Path

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


def test_the_same_command_goes_on_and_another_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "out.partial"
    assert not kept(folder).resumed
    again = Checkpoints(folder, {"seed": 1})
    assert again.resumed and again.result("fold-0") == {"f1": 0.5}
    arrays = again.of("fold-1").load()
    assert arrays is not None and arrays["a"].tolist() == [0, 1, 2]
    (folder / "fold-1.new").write_bytes(b"half")
    other = Checkpoints(folder, {"seed": 2})
    assert not other.resumed and other.result("fold-0") is None
    assert names(folder) == {"command.json"}
    other.remove()
    assert not folder.exists()


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

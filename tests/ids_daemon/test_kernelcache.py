"""Compiled kernels of other versions are kept in a small number."""

from __future__ import annotations

import os
from pathlib import Path

from ids_daemon.kernelcache import remove_older


def _caches(base: Path, kind: str, count: int) -> list[Path]:
    """Folders named as caches are, each a minute newer than the one before."""
    folders = []
    for i in range(count):
        folder = base / f"{kind}-{i:016x}"
        (folder / "meter").mkdir(parents=True)
        (folder / "meter" / "kernel.nbi").touch()
        os.utime(folder, (60 * i, 60 * i))
        folders.append(folder)
    return folders


def test_the_newest_other_caches_stay(tmp_path: Path) -> None:
    kernels, windows = _caches(tmp_path, "kernels", 6), _caches(tmp_path, "windows", 6)
    for name in ("kernels-notes", "other-0000000000000000"):
        (tmp_path / name).mkdir()
    remove_older(kernels[0])
    assert sorted(tmp_path.iterdir()) == sorted(
        [kernels[0], *kernels[3:], *windows, tmp_path / "kernels-notes", tmp_path / "other-0000000000000000"]
    )


def test_a_folder_of_the_users_choice_is_left_alone(tmp_path: Path) -> None:
    folders = _caches(tmp_path, "kernels", 6)
    chosen = tmp_path / "kernels-mine"
    chosen.mkdir()
    remove_older(chosen)
    remove_older(tmp_path / "missing" / "kernels-0123456789abcdef")
    assert sorted(tmp_path.iterdir()) == sorted([*folders, chosen])

"""Compiled kernels of versions that are no longer used."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

#: Of other versions, installations or processors.
_KEPT = 3
#: What the caches are named, and nothing else.
_NAME = re.compile(r"(kernels|windows)-[0-9a-f]{16}")


def remove_older(folder: Path) -> None:
    """Remove the caches beside `folder` of the same kind, but for the newest.

    Harmless where one is in use: what was loaded stays loaded, and what is missing is compiled.
    """
    ours = _NAME.fullmatch(folder.name)
    if ours is None:
        return
    try:
        others = [
            (one.stat().st_mtime, one)
            for one in folder.parent.iterdir()
            if one != folder and (match := _NAME.fullmatch(one.name)) and match[1] == ours[1]
        ]
    except OSError:
        return
    for _, one in sorted(others, reverse=True)[_KEPT:]:
        shutil.rmtree(one, ignore_errors=True)

"""The table of attack families: what an alert line says of each (signatures.yaml beside this file)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

TABLE = Path(__file__).with_name("signatures.yaml")

#: The family of an alert whose finding names none of the table.
UNNAMED = "other"


@dataclass(frozen=True, slots=True)
class Signature:
    """One family's entry; `severity` 1 is gravest."""

    family: str
    signature_id: int
    rev: int
    signature: str
    category: str
    severity: int


@cache
def signatures() -> dict[str, Signature]:
    """Every family of the table."""
    table = yaml.safe_load(TABLE.read_text("utf-8"))
    return {family: Signature(family, **entry) for family, entry in table.items()}


def signature_of(family: str) -> Signature:
    """The family's entry; the one of `other` for a family the table does not hold."""
    table = signatures()
    return table.get(family, table[UNNAMED])

"""What stands in the tables of a report, as text for the page and as plain values for report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from html import escape
from typing import Any, Literal

import numpy as np

from models.training.intervals import Share

#: A `Share` is shown with its interval; None and NaN as a dash.
Cell = str | int | float | Share | None

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    #: text; count: whole numbers; number: `digits` decimals; percent: a share, 1 shown as 100;
    #: rate: few significant digits, for what spans powers of ten
    kind: Literal["text", "count", "number", "percent", "rate"] = "text"
    digits: int = 2  #: decimals of `number` and `percent`, significant digits of `rate`

    @property
    def heading(self) -> str:
        return f"{self.name} (%)" if self.kind == "percent" else self.name


def shown(column: Column, value: str | int | float | None) -> str:
    """A value as text, without its interval.  ValueError for text in a column of numbers."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if column.kind == "text":
        return str(value)
    if isinstance(value, str):
        raise ValueError(f"{value!r} in the column {column.name!r} is no number")
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    match column.kind:
        case "count":
            text = f"{value:,.0f}"
        case "percent":
            text = f"{100 * value:,.{column.digits}f}"
        case "rate":
            text = f"{value:,.{column.digits}g}"
        case _:
            text = f"{value:,.{column.digits}f}"
    if text.startswith("-"):
        # -0.00 says no more than 0.00
        text = "−" + text[1:] if any(digit in text for digit in "123456789") else text[1:]
    return text


def interval(column: Column, cell: Cell) -> str:
    """The interval of a cell in brackets, or nothing where it has none."""
    if not isinstance(cell, Share):
        return ""
    return f"[{shown(column, cell.low)}, {shown(column, cell.high)}]"


def value_of(cell: Cell) -> str | int | float | None:
    return cell.value if isinstance(cell, Share) else cell


def table_markup(columns: list[Column], rows: list[list[Cell]]) -> str:
    """`<table>` with numbers to the right; a column with intervals takes two, so that both line up."""
    wide = [any(isinstance(row[i], Share) for row in rows) for i in range(len(columns))]
    head = "".join(
        f"<th scope=col{' class=n' if c.kind != 'text' else ''}{' colspan=2' if w else ''}>"
        f"{escape(c.heading)}</th>"
        for c, w in zip(columns, wide, strict=True)
    )
    body = "\n".join(f"<tr>{_row_markup(columns, wide, row)}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _row_markup(columns: list[Column], wide: list[bool], row: list[Cell]) -> str:
    cells = []
    for column, two, cell in zip(columns, wide, row, strict=True):
        kind = "" if column.kind == "text" else " class=n"
        cells.append(f"<td{kind}>{escape(shown(column, value_of(cell)))}</td>")
        if two:
            cells.append(f"<td class=i>{escape(interval(column, cell))}</td>")
    return "".join(cells)


def plain(value: Any) -> Any:
    """A value as JSON holds it: arrays as lists, dataclasses as objects, what is not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

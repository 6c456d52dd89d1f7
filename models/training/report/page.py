"""The report as it grows, and as it is written: index.html, the PNGs in it, report.json."""

from __future__ import annotations

import base64
import contextlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from models.bundle_files import json_bytes, write_folder
from models.errors import TrainingError
from models.training.report.cells import Cell, Column, plain, table_markup
from models.training.report.plots import DPI, png
from models.training.report.stylesheet import STYLESHEET

PAGE, DATA = "index.html", "report.json"
SCHEMA = 1

#: Columns from which on a table is set in smaller letters.
_MANY = 10
_WIDE = 600  # pixels; what is wider is scrolled on a small screen, or its letters would be too small

# No script, nothing from elsewhere: a browser holds the page to it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class _Text:
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class _Listing:
    lines: list[str]


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    note: str


@dataclass(frozen=True, slots=True)
class _Figure:
    name: str
    title: str
    caption: str
    image: bytes = field(repr=False)


class Report:
    """Text, tables and figures in the order they are added.

    The same content gives the same bytes: there is no clock in it, `date` is what the caller says.

    report.json: `schema_version`, `title`, `subtitle`, `date`, `command`; `sections` (heading, text);
    `tables` (name, title, note, columns with name and kind, rows: a value a cell, shares from 0 to 1,
    an object of value, low and high where there is an interval, null where there is no figure);
    `figures` (name, title, caption, file); `data`, whatever was handed to `data`.
    """

    def __init__(self, title: str, subtitle: str = "", *, date: str = "", command: str = "") -> None:
        self._about = {"title": title, "subtitle": subtitle, "date": date, "command": command}
        self._parts: list[_Text | _Listing | _Table | _Figure] = []
        self._data: dict[str, Any] = {}

    def text(self, heading: str, text: str) -> None:
        """A section begins, or with an empty heading goes on; blank lines part its paragraphs."""
        self._parts.append(_Text(heading, text))

    def listing(self, lines: Sequence[str]) -> None:
        """Lines as they are, in letters of one width."""
        self._parts.append(_Listing(list(lines)))

    def table(
        self, title: str, columns: Sequence[str | Column], rows: Sequence[Sequence[Cell]], note: str = ""
    ) -> None:
        """A table.  A column that is only a name holds text.  note: how to read it, one sentence.

        ValueError for a row that is not as long as the columns.
        """
        headed = [Column(one) if isinstance(one, str) else one for one in columns]
        cells = [list(row) for row in rows]
        for row in cells:
            if len(row) != len(headed):
                raise ValueError(f"{title}: a row of {len(row)} cells under {len(headed)} columns")
        self._parts.append(_Table(self._name("table", title), title, headed, cells, note))

    def figure(self, title: str, caption: str, figure: Any) -> None:
        """A matplotlib Figure, drawn now.  caption: how to read it, one sentence."""
        self._parts.append(_Figure(self._name("figure", title), title, caption, png(figure)))

    def data(self, key: str, value: Any) -> None:
        """More for machines: numbers, text, lists, mappings, arrays and dataclasses.

        ValueError for a key that is taken.
        """
        if key in self._data:
            raise ValueError(f"the report has {key!r} already")
        self._data[key] = plain(value)

    def files(self) -> dict[str, bytes]:
        """What `write` writes, by name."""
        files = {PAGE: self._page().encode(), DATA: json_bytes(self._machine_readable(), DATA)}
        files |= {f"{one.name}.png": one.image for one in self._parts if isinstance(one, _Figure)}
        return files

    def write(self, folder: Path) -> None:
        """Write into a folder, which is made where there is none; files of these names are replaced.

        TrainingError when it cannot be written: then what was there stays.
        """
        files = self.files()
        parts = {name: folder / f"{name}.part" for name in files}
        try:
            write_folder(folder, {part.name: files[name] for name, part in parts.items()})
            for name, part in parts.items():
                part.replace(folder / name)
        except OSError as error:
            for part in parts.values():
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
            raise TrainingError(
                f"{folder}: the report cannot be written ({error.strerror}): make room or name another"
            ) from None

    def _name(self, kind: str, title: str) -> str:
        """A name of its own for an anchor and a file, from the title's letters and digits."""
        base = f"{kind}-{re.sub(r'[^a-z0-9]+', '-', title.lower())[:60]}".strip("-")
        taken = {one.name for one in self._parts if isinstance(one, _Table | _Figure)}
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        return name

    def _machine_readable(self) -> dict[str, Any]:
        tables = [one for one in self._parts if isinstance(one, _Table)]
        figures = [one for one in self._parts if isinstance(one, _Figure)]
        return {
            "schema_version": SCHEMA,
            **self._about,
            "sections": [plain(one) for one in self._parts if isinstance(one, _Text)],
            "tables": [
                {
                    "name": one.name,
                    "title": one.title,
                    "note": one.note,
                    "columns": [{"name": c.name, "kind": c.kind} for c in one.columns],
                    "rows": plain(one.rows),
                }
                for one in tables
            ],
            "figures": [
                {"name": one.name, "title": one.title, "caption": one.caption, "file": f"{one.name}.png"}
                for one in figures
            ],
            "data": self._data,
        }

    def _page(self) -> str:
        title, subtitle = escape(self._about["title"]), escape(self._about["subtitle"])
        about = [f"<p class=subtitle>{subtitle}</p>"] if subtitle else []
        if self._about["date"]:
            about.append(f"<p class=date>{escape(self._about['date'])}</p>")
        if self._about["command"]:
            about.append(f"<pre>{escape(self._about['command'])}</pre>")
        return "\n".join(
            [
                "<!doctype html>",
                "<html lang=en>",
                "<head>",
                "<meta charset=utf-8>",
                f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
                '<meta name=viewport content="width=device-width, initial-scale=1">',
                '<meta name=color-scheme content="light dark">',
                f"<title>{title}</title>",
                f"<style>\n{STYLESHEET}</style>",
                "</head>",
                "<body>",
                "<header>",
                f"<h1>{title}</h1>",
                *about,
                "</header>",
                *self._contents(),
                "<main>",
                *self._body(),
                "</main>",
                "</body>",
                "</html>",
                "",
            ]
        )

    def _contents(self) -> list[str]:
        headings = [one.heading for one in self._parts if isinstance(one, _Text) and one.heading]
        if len(headings) < 2:
            return []
        links = [f'<li><a href="#section-{i}">{escape(text)}</a></li>' for i, text in enumerate(headings, 1)]
        return ["<nav><ol>", *links, "</ol></nav>"]

    def _body(self) -> list[str]:
        markup, sections, tables, figures = [], 0, 0, 0
        for part in self._parts:
            if isinstance(part, _Text):
                if part.heading:
                    sections += 1
                    markup.append(f"<h2 id=section-{sections}>{escape(part.heading)}</h2>")
                paragraphs = re.split(r"\n\s*\n", part.text.strip())
                markup += [f"<p>{escape(text)}</p>" for text in paragraphs if text]
            elif isinstance(part, _Listing):
                markup.append(f"<pre class=listing>{escape(chr(10).join(part.lines))}</pre>")
            elif isinstance(part, _Table):
                tables += 1
                markup.append(_table_part(part, tables))
            else:
                figures += 1
                markup.append(_figure_part(part, figures))
        return markup


def _table_part(table: _Table, number: int) -> str:
    note = f"<p class=note>{escape(table.note)}</p>\n" if table.note else ""
    kind = "table dense" if len(table.columns) > _MANY else "table"
    return (
        f'<section class="{kind}" id="{table.name}">\n'
        f"<h3><span>Table {number}</span> {escape(table.title)}</h3>\n"
        f"{note}<div class=scroll tabindex=0>\n{table_markup(table.columns, table.rows)}\n</div>\n</section>"
    )


def _figure_part(figure: _Figure, number: int) -> str:
    image = base64.b64encode(figure.image).decode()
    # The header of a PNG: its size in dots; 96 to an inch is what a browser takes a page for.
    width, height = (round(dots * 96 / DPI) for dots in struct.unpack(">II", figure.image[16:24]))
    wide = " class=wide" if width > _WIDE else ""
    return (
        f'<figure id="{figure.name}">\n<div class=scroll tabindex=0>'
        f'<img{wide} alt="{escape(figure.title)}" width={width} height={height}'
        f' src="data:image/png;base64,{image}"></div>\n'
        f"<figcaption><strong><span>Figure {number}</span> {escape(figure.title)}</strong>"
        f" {escape(figure.caption)}</figcaption>\n</figure>"
    )

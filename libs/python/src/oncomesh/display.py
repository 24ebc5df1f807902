# SPDX-License-Identifier: Apache-2.0
"""Tables for notebooks (HTML) and terminals (text)."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Generic, TypeVar, overload

from google.protobuf.timestamp_pb2 import Timestamp

T = TypeVar("T")
Column = tuple[str, Callable[[T], object]]

_LONGEST_CELL = 60  # characters in a text table; HTML wraps


def text_of(value: object) -> str:
    """A cell: nothing for None, numbers with groups, times in UTC to the minute."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(text_of(v) for v in value)
    return str(value)


def html_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table with every cell escaped: titles and reasons are other people's text."""
    head = "".join(f"<th>{html.escape(h)}</th>" for h in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:{"right" if _is_number(v) else "left"}">'
            f"{html.escape(text_of(v))}</td>"
            for v in row
        )
        + "</tr>"
        for row in rows
    )
    caption = f'<caption style="text-align:left">{html.escape(title)}</caption>' if title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def text_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The same in fixed-width characters."""
    cells = [[_cut(text_of(v)) for v in row] for row in rows]
    widths = [max(len(r[i]) for r in [list(heads), *cells]) for i in range(len(heads))]
    numeric = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return "\n".join([*([title] if title else []), line(list(heads)), *(line(r) for r in cells)])


class Listing(Sequence[T], Generic[T]):
    """A list of the mesh's things that shows as a table."""

    def __init__(self, title: str, items: Sequence[T], columns: Sequence[Column[T]]) -> None:
        self._title = title
        self._items = list(items)
        self._columns = list(columns)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Listing[T]: ...
    def __getitem__(self, index: int | slice) -> T | Listing[T]:
        if isinstance(index, slice):
            return Listing(self._title, self._items[index], self._columns)
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __repr__(self) -> str:
        return text_table(*self._cells()) + ("" if self._items else "\n(none)")

    def _repr_html_(self) -> str:
        return html_table(*self._cells()) + ("" if self._items else "(none)")

    def _cells(self) -> tuple[str, list[str], list[list[object]]]:
        heads = [name for name, _ in self._columns]
        return self._title, heads, [[get(item) for _, get in self._columns] for item in self._items]


class Shown:
    """A thing that shows as a table of its `_facts`: pairs of a name and a value."""

    def _title(self) -> str:
        return type(self).__name__

    def _facts(self) -> list[tuple[str, object]]:
        raise NotImplementedError

    def __repr__(self) -> str:
        facts = [(n, v) for n, v in self._facts() if v not in (None, "", [], ())]
        width = max((len(n) for n, _ in facts), default=0)
        return "\n".join([self._title(), *(f"  {n.ljust(width)}  {text_of(v)}" for n, v in facts)])

    def _repr_html_(self) -> str:
        facts = [(n, text_of(v)) for n, v in self._facts() if v not in (None, "", [], ())]
        return html_table(self._title(), ["", ""], facts)


def time_of(timestamp: Timestamp) -> datetime | None:
    """UTC; None for an unset one."""
    if timestamp.seconds == 0 and timestamp.nanos == 0:
        return None
    return datetime.fromtimestamp(timestamp.seconds + timestamp.nanos / 1e9, tz=timezone.utc)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"

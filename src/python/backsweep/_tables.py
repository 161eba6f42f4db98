"""Tables and matrices as text for a terminal and as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from backsweep._checks import Array

# No background and no colour of text: the notebook's theme, light or dark, keeps its own.
_TABLE = "border-collapse:collapse;margin:0.5em 0;font-size:13px"
_CELL = "padding:2px 9px;border-bottom:1px solid rgba(128,128,128,0.35);white-space:nowrap;text-align:{}"
_MATRIX = "border-collapse:collapse;border-left:2px solid;border-right:2px solid;margin:2px 0"
_ENTRY = "padding:0 6px;text-align:right;font-family:monospace;border:none"


def number(x: float) -> str:
    """Four significant digits; -0 is 0."""
    return f"{x + 0.0:.4g}"


def shape(sizes: Sequence[object]) -> str:
    """A shape as Python writes it, of numbers or of letters."""
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def text(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Columns two spaces apart; those numbered in `right` end flush."""
    lines, flush = [list(header), *map(list, rows)], set(right)
    widths = [max(len(line[j]) for line in lines) for j in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if j in flush else cell.ljust(width)
            for j, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """The same as an HTML table; every cell is escaped."""
    from html import escape  # with its table of all entities, which only a notebook needs

    flush = set(right)

    def line(tag: str, cells: Sequence[str]) -> str:
        styled = (
            f'<{tag} style="{_CELL.format("right" if j in flush else "left")}">{escape(cell)}</{tag}>'
            for j, cell in enumerate(cells)
        )
        return f"<tr>{''.join(styled)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<table style="{_TABLE}"><thead>{line("th", header)}</thead><tbody>{body}</tbody></table>'


def matrix_text(M: Array, indent: str = "    ") -> str:
    """A small matrix, or a vector as one row, between brackets."""
    cells = [[number(x) for x in row] for row in np.atleast_2d(M)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        f"{indent}[ " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " ]"
        for row in cells
    )


def matrix_html(M: Array) -> str:
    """The same between two rules."""
    rows = "".join(
        "<tr>" + "".join(f'<td style="{_ENTRY}">{number(x)}</td>' for x in row) + "</tr>" for row in np.atleast_2d(M)
    )
    return f'<table style="{_MATRIX}"><tbody>{rows}</tbody></table>'

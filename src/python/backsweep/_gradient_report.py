"""What `check_gradients` returns: a row for each array, as text and as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from backsweep import _tables

HEADER = ("array", "shape", "checked", "rel. error", "allowed", "worst entry", "given", "numerical", "verdict")
NUMBERS = (2, 3, 4, 6, 7)


@dataclass(frozen=True)
class GradientRow:
    """What was found of one array's gradient.

    Attributes
    ----------
    name : str
        "W[0]", "b[0]", ... of a network; the parameter's name, with its path inside a structure, of a function.
    shape, given_shape : tuple of int
        What the gradient must have, and what it has.
    checked, skipped : int
        Entries compared, and entries left out because they lie on a kink.
    error, allowed : float
        The relative error of the worst entry (see `check_gradients`), and what it may be there.
    worst : tuple of int, or None
        Where that entry is; None where shapes do not fit or nothing was checked.
    analytic, numerical : float
        The gradient under judgement and the one by differences, there.
    verdict : str
        "right", "wrong", or "not judged": on kinks everywhere, or too small for differences to show.
    fault : str, or None
        What is probably wrong, as one of `backsweep.diagnosis.FAULTS`; None where it is right or unknown.
    diagnosis : str
        The same as a sentence.
    """

    name: str
    shape: tuple[int, ...]
    given_shape: tuple[int, ...]
    checked: int
    skipped: int
    error: float
    allowed: float
    worst: tuple[int, ...] | None
    analytic: float
    numerical: float
    verdict: str
    fault: str | None = None
    diagnosis: str = ""

    def cells(self) -> tuple[str, ...]:
        there = self.worst is not None
        return (
            self.name,
            _tables.shape(self.given_shape),
            f"{self.checked}/{int(np.prod(self.shape))}",
            f"{self.error:.1e}",
            f"{self.allowed:.0e}" if there else "-",
            str(list(self.worst)) if self.worst is not None else "-",
            f"{self.analytic:.6g}" if there else "-",
            f"{self.numerical:.6g}" if there else "-",
            self.verdict,
        )


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found: a row for each array, and remarks on the whole."""

    title: str
    rows: tuple[GradientRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether at least one array was judged, and none is wrong."""
        verdicts = {row.verdict for row in self.rows}
        return "right" in verdicts and "wrong" not in verdicts

    @property
    def summary(self) -> str:
        """The verdict in a line."""
        wrong = sum(row.verdict == "wrong" for row in self.rows)
        open_ = sum(row.verdict == "not judged" for row in self.rows)
        parts = [f"{wrong} wrong" if wrong else "none wrong", *([f"{open_} not judged"] if open_ else [])]
        arrays = f"{len(self.rows)} array{'s' if len(self.rows) != 1 else ''}"
        return f"{self.title}: {', '.join(parts)} of {arrays}"

    def remarks(self) -> list[str]:
        """A line for each diagnosis, with the arrays that share it, then notes on the whole."""
        shared: dict[str, list[str]] = {}
        for row in self.rows:
            if row.diagnosis:
                shared.setdefault(row.diagnosis, []).append(row.name)
        return [f"{', '.join(names)}: {diagnosis}" for diagnosis, names in shared.items()] + list(self.notes)

    def __str__(self) -> str:
        table = _tables.text(HEADER, [row.cells() for row in self.rows], NUMBERS)
        return "\n".join([self.summary, table, *self.remarks()])

    def _repr_html_(self) -> str:
        table = _tables.html(HEADER, [row.cells() for row in self.rows], NUMBERS)
        remarks = "".join(f"<li>{escape(remark)}</li>" for remark in self.remarks())
        return f"<div><p><b>{escape(self.summary)}</b></p>{table}{f'<ul>{remarks}</ul>' if remarks else ''}</div>"

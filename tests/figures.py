"""Figures that tests measure while they check them; the terminal shows them at the end of a run.

A check says that an error is small enough, its figure how small it is.
"""

from collections import defaultdict

MEASURED = defaultdict(dict)  # title -> name -> the largest value


def measured(title, name, value):
    """Keep a value, if it is the largest of its name."""
    known = MEASURED[title]
    known[name] = max(float(value), known.get(name, 0.0))


def lines():
    """A line for each title: how many names, and the largest value of all with its name."""
    for title, values in MEASURED.items():
        name = max(values, key=values.get)
        yield f"{title}: {len(values)} measured, largest {values[name]:.2g} ({name})"

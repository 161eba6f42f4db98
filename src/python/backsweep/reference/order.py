"""The orders in which an epoch takes its rows."""

import numpy as np

from backsweep._checks import Array


def shuffle(order: Array, left: int, draws: Array) -> None:
    """Shuffle (Fisher and Yates, Durstenfeld's form) in place: of the `left` first entries as many as there are draws.

    Parameters
    ----------
    order : (m,) array of int64
        Its last entry that is left changes places with any of those left, then the one before it.
    left : int
        Entries that have not found their place; below 2**32.
    draws : (n,) array of uint64
        At most `left`. ⌊draw · left / 2**64⌋ is the place of the other entry.
    """
    entries = order.tolist()
    for draw in draws.tolist():
        left -= 1
        other = draw * (left + 1) >> 64
        entries[left], entries[other] = entries[other], entries[left]
    order[:] = entries


def rectangle_order(order: Array, begin: int, m: int, row_shifts: Array, column_shifts: Array) -> None:
    """Fill in entries `begin`, `begin` + 1, ... of an order of m rows that is nowhere kept.

    Feistel's network on a rectangle whose cells, counted row by row, are the m places and fewer than a row beyond them
    (Black and Rogaway, 2002, *Ciphers with arbitrary finite domains*). A round shifts each row along itself, then each
    column. A cell that comes to rest beyond the m-th goes through the rounds again.

    Parameters
    ----------
    order : (n,) array of int64
        Filled in; `begin` + n is m at most.
    begin : int
        The place of its first entry.
    m : int
    row_shifts : (rounds, height) array of int64
        How far each row goes along itself in each round, from 0 to width - 1.
    column_shifts : (rounds, width) array of int64
        How far each column goes, from 0 to height - 1.
    """
    height, width = row_shifts.shape[1], column_shifts.shape[1]
    cells = np.arange(begin, begin + len(order))
    moving = np.ones(len(order), dtype=bool)
    while moving.any():
        row, column = np.divmod(cells[moving], width)
        for along, across in zip(row_shifts, column_shifts, strict=True):
            column = (column + along[row]) % width
            row = (row + across[column]) % height
        cells[moving] = row * width + column
        moving = cells >= m
    order[:] = cells

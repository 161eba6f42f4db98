"""The order in which an epoch takes its rows."""

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

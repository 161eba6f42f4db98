"""What a training came to, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")


class History(Mapping[str, list[float]]):
    """One list for each figure, with an entry for each epoch: ``history["loss"]`` or ``history.loss``.

    Attributes
    ----------
    loss : list of float
        The mean loss of the epoch's mini-batches, each taken before its update.
    accuracy : list of float
        The share of training rows classified rightly, likewise; empty for a loss that does not classify.
    val_loss, val_accuracy : list of float
        The same of the validation data after the epoch; empty where there is none.
    seconds : list of float
        The time that the epoch took, validation included.
    """

    loss: list[float]
    accuracy: list[float]
    val_loss: list[float]
    val_accuracy: list[float]
    seconds: list[float]

    def __init__(self) -> None:
        for column in COLUMNS:
            setattr(self, column, [])

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.loss)

    def append(self, **figures: float) -> None:
        """Add an epoch: a number for each figure that it has."""
        for column, value in figures.items():
            getattr(self, column).append(float(value))

    def _columns(self) -> list[str]:
        return [column for column in COLUMNS if getattr(self, column)]

    def __getitem__(self, column: str) -> list[float]:
        if column not in self._columns():
            raise KeyError(column)
        values: list[float] = getattr(self, column)
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns())

    def __len__(self) -> int:
        return len(self._columns())

    def header(self) -> str:
        """The titles of `row`."""
        return " ".join(["epoch", *(f"{column:>12}" for column in self._columns())])

    def row(self, epoch: int) -> str:
        """One epoch, counted from 0, as a line of a table."""
        return " ".join([f"{epoch + 1:>5}", *(f"{self[column][epoch]:>12.4f}" for column in self._columns())])

    def __repr__(self) -> str:
        if not self.epochs:
            return "History(0 epochs)"
        return "\n".join([self.header(), *map(self.row, range(self.epochs))])

"""Learning rates and phases over the epochs of a training, as several methods have them."""

from __future__ import annotations

from typing import Protocol

from vhbench.training import Moment

DECAY, DECAY_EPOCHS = 0.9, 20  # the learning rate's factor, and the epochs between two (released with BTH and ConMH)
LEAST_LR = 1e-4  # where it stops falling (released with BTH)


class WarmsUp(Protocol):
    """A method whose training begins with a phase of its own.

    Attributes:
        epochs: of the whole training.
        warmup_epochs: of these, those of the first phase.
    """

    epochs: int
    warmup_epochs: int


def decayed(lr: float, epoch: int, least: float = LEAST_LR) -> float:
    """Return the factor of a learning rate in an epoch: .9 every 20 epochs, as long as the rate is above the least."""
    return max(DECAY ** (epoch // DECAY_EPOCHS), min(1.0, least / lr))


def is_warm(method: WarmsUp, moment: Moment) -> bool:
    """Say whether the first phase is over; a smaller budget shortens it in the same ratio as the whole."""
    return moment.epoch >= round(method.warmup_epochs * moment.epochs / method.epochs)

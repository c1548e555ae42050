"""Times and progress in words, for people."""

from __future__ import annotations

from vhbench.method import Epoch


def duration(seconds: float) -> str:
    """Return a time for people: 3.2 s, 4 min 10 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def describe_epoch(epoch: Epoch) -> str:
    """Return in a few words how far training is; an epoch's total is 0 where it is not known."""
    if not epoch.total:
        return f"{epoch.number}, loss {epoch.loss:.4g}"
    left = epoch.seconds * (epoch.total - epoch.number)
    return f"{epoch.number}/{epoch.total}, loss {epoch.loss:.4g}, about {duration(left)} left"

"""How a run's hyper-parameters were chosen by a study of `vhbench tune`: the entry `tuned` of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vhbench.runs.form import FormError, check_tuned
from vhbench.runs.spec import text_of
from vhbench.system.text import plain

ENTRY = "tuned"
JUDGED = {
    "loss": "by their loss, without labels",
    "retrieval": "by retrieval among training videos, with their labels",
}


class Tuned:
    """A setting of a method that a study has chosen.

    Args:
        entry: the record's entry: `method`; `study`, its name; `judge`, "loss" or "retrieval"; `trials`, how many it
            was chosen among; `held_out`, the videos judged on; `space`, sha256 of what was searched; `params`, the
            values chosen; perhaps `protocol`, `bits` and `value`, on which and with what it was judged.

    Raises:
        FormError: it is none.
    """

    def __init__(self, entry: Any):
        check_tuned(entry, ENTRY)
        self.entry: dict[str, Any] = dict(entry)
        self.method = str(entry["method"])
        self.params: Mapping[str, Any] = entry["params"]

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        """The values as a grid takes them."""
        return {name: (text_of(value),) for name, value in self.params.items()}

    def is_of(self, params: Mapping[str, Any]) -> bool:
        """Say whether a run's hyper-parameters are the values chosen."""
        return all(name in params and (text_of(params[name]),) == texts for name, texts in self.texts.items())


def words(record: Mapping[str, Any]) -> str:
    """Return how the hyper-parameters of a record were chosen, in a few words; empty where no study chose them."""
    entry: Any = record.get(ENTRY)
    try:
        check_tuned(entry, ENTRY)
    except FormError:
        return ""
    trials = f"best of {entry['trials']} trials" if entry["trials"] > 1 else "1 trial"
    return plain(f"{JUDGED[entry['judge']]}, {trials} of study {entry['study']}")

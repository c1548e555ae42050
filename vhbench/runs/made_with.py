"""What a run was made with, as its record keeps it: hints for people, which vhbench never opens or executes itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vhbench.system.text import shell

ENTRY = "made_with"


@dataclass(frozen=True)
class MadeWith:
    """The entry `made_with` of a record: paths as they were given, from the working folder of that time.

    Attributes:
        protocol: the protocol as it was named; empty where that is its own name.
        data: the folder of the feature files; empty where none was named.
        plugins: files with further methods.
    """

    protocol: str = ""
    data: str = ""
    plugins: tuple[str, ...] = ()

    @classmethod
    def given(cls, asked: str, name: str, data: Path | None, plugins: Sequence[Path | str]) -> MadeWith:
        """Return it for a run that begins.

        Args:
            asked: the protocol as the user named it.
            name: the protocol's name.
            data: the data folder, if one was named.
            plugins: files with further methods.
        """
        return cls("" if asked == name else asked, str(data) if data else "", tuple(map(str, plugins)))

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> MadeWith:
        """Return what a record says; whatever is not of its form, or steers a terminal, counts as not said."""
        entry = record.get(ENTRY)
        entry = entry if isinstance(entry, dict) else {}
        plugins = entry.get("plugins")
        origin = record["method"].get("origin") if isinstance(record.get("method"), dict) else None
        if not isinstance(plugins, list):  # a record older than this entry knows the method's own file
            plugins = [origin] if isinstance(origin, str) and origin.endswith(".py") else []
        return cls(_text(entry.get("protocol")), _text(entry.get("data")), tuple(filter(None, map(_text, plugins))))

    def to_json(self) -> dict[str, Any]:
        """Return the record's entry `made_with`, if there is anything to say."""
        values = {"protocol": self.protocol, "data": self.data, "plugins": list(self.plugins)}
        said = {name: value for name, value in values.items() if value}
        return {ENTRY: said} if said else {}

    def words(self, *, protocol: bool = True, data: bool = True, plugins: bool = True) -> str:
        """Return the options, quoted for a shell, that name all this again; empty where there is nothing to say."""
        pairs = [("--protocol", self.protocol)] * protocol + [("--data", self.data)] * data
        pairs += [("--plugin", plugin) for plugin in self.plugins] * plugins
        return " ".join(f"{option} {shell(value)}" for option, value in pairs if value)


NOTHING = MadeWith()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    in_a_name = (c.isprintable() or "\udc80" <= c <= "\udcff" for c in value)  # octets of a name that is not UTF-8
    return value if all(in_a_name) else ""

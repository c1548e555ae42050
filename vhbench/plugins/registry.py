"""The one registry: which methods, protocols and launchers there are, loaded only when used."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from vhbench.errors import UsageError, unknown
from vhbench.plugins.entries import (
    BUILT_IN,
    MethodEntry,
    builtin_methods,
    cause,
    checked_name,
    installed_methods,
    origin_of,
    plugin_methods,
)
from vhbench.plugins.launcher import LauncherEntry
from vhbench.system.files import user_path

if TYPE_CHECKING:
    from vhbench.protocol import Protocol

LAUNCHERS = "vhbench.launchers"  # group of entry points
BUILT_IN_LAUNCHERS = ("inline", "local", "slurm")
E = TypeVar("E", "MethodEntry", "ProtocolEntry")
MANIFEST = ".toml"  # ends the path of a manifest
COMPOSED = "-to-"  # stands in the name of a protocol that is made of two others


@dataclass(frozen=True)
class ProtocolEntry:
    """A protocol that can be named on the command line; see `MethodEntry` for the attributes."""

    name: str
    origin: str
    title: str = ""
    broken: str = ""
    protocol: Protocol | None = None
    module: str = ""  # of a built-in


class Registry:
    """Finds methods, protocols and launchers.

    Methods and protocols come from the folders `methods/` and `protocols/`, from installed packages (entry-point
    groups `vhbench.methods`, `vhbench.protocols`, `vhbench.launchers`) and, methods only, from plugin files. One that
    cannot be loaded is an entry with its reason; it never stops another.

    Args:
        plugins: Python files with further methods.
    """

    def __init__(self, plugins: Iterable[Path | str] = ()):
        paths = map(user_path, plugins)
        self.plugins = tuple({os.path.realpath(path): path for path in paths}.values())

    def methods(self) -> list[MethodEntry]:
        """Return every method, built-ins first, by name."""
        return list(self._methods)

    def method(self, name: str) -> MethodEntry:
        """Return a usable method by name, or by `origin:name` where two share it.

        Raises:
            UsageError: unknown (with the nearest names), offered twice, or broken (with the cause).
        """
        found = [e for e in self._methods if name in (e.name, f"{_short(e.origin)}:{e.name}")]
        hints = [f"{e.origin} is broken ({e.broken})." for e in self._methods if e.broken and e.origin != BUILT_IN]
        hints.append("`vhbench list methods` lists them.")
        entry = _one("method", name, found, (e.name for e in self._methods), " ".join(hints))
        if entry.broken:
            entry.load()
        return entry

    def protocols(self) -> list[ProtocolEntry]:
        """Return every protocol by name; manifests given by path are not among them."""
        return list(self._protocols)

    def protocol(self, name: str) -> Protocol:
        """Return a protocol by name, or read the manifest at that path (a `.toml` file).

        Raises:
            UsageError: unknown, offered twice, or broken.
            DataError: the manifest is faulty.
        """
        if name.endswith(MANIFEST) and (COMPOSED not in name or user_path(name).exists()):
            from vhbench.datasets.folds import read_protocol

            return read_protocol(user_path(name))
        found = [e for e in self._protocols if name in (e.name, f"{_short(e.origin)}:{e.name}")]
        if not found and (composed := self.composed(name)):
            return composed
        hint = (
            "`vhbench list protocols` lists them; A-to-B trains on one of them and searches another, X-unseen holds "
            f"classes out; {manifest_hint(name)}"
        )
        entry = _one("protocol", name, found, (e.name for e in self._protocols), hint)
        if entry.protocol is None:
            raise UsageError(f"Protocol {entry.name!r} ({entry.origin}) cannot be used: {entry.broken}.")
        return entry.protocol

    def to_run(self, name: str) -> list[tuple[str, Protocol]]:
        """Return what is run where a protocol is named: itself, or its several splits, with the name of each.

        Errors as for `protocol`.
        """
        protocol = self.protocol(name)
        if not protocol.folds:
            return [(name, protocol)]
        return [(f"{name}-fold{number}", fold) for number, fold in enumerate(protocol.folds, 1)]

    def protocol_names(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return by which names records know the protocols that a user names; errors as for `protocol`.

        A manifest's path becomes the manifest's name. A name stays as it is, also one that is not known here: the
        manifest behind a record may be anywhere.
        """
        return tuple(self.protocol(t).name if MANIFEST in t or ":" in t else t for t in texts)  # a path, origin:name

    def launchers(self) -> list[LauncherEntry]:
        """Return every launcher, built-ins first."""
        return list(self._launchers)

    def launcher(self, name: str) -> LauncherEntry:
        """Return a usable launcher by name.

        Raises:
            UsageError: unknown or broken.
        """
        entries = {entry.name: entry for entry in self._launchers}
        if name not in entries:
            raise unknown("launcher", name, entries)
        entries[name].load()
        return entries[name]

    def composed(self, name: str) -> Protocol | None:
        """Return a protocol that a built-in module makes of others by name, as A-to-B is made of A and B; or None.

        Raises:
            UsageError: the name has such a form, but the protocols in it do not exist or do not fit.
        """
        self.protocols()  # imports them; a module may make protocols of others and offer none by name
        for path in _module_files("protocols"):
            resolve = getattr(sys.modules.get(f"vhbench.protocols.{path.stem}"), "resolve", None)
            if resolve and (protocol := resolve(name, self.protocol)):
                return cast("Protocol", protocol)
        return None

    @cached_property
    def _methods(self) -> list[MethodEntry]:
        entries = []
        for path in _module_files("methods"):
            entries += builtin_methods(path)
        for point in entry_points(group="vhbench.methods"):
            entries += installed_methods(point)
        for path in self.plugins:
            entries += plugin_methods(path)
        return sorted(entries, key=lambda e: (e.origin != BUILT_IN, e.name))

    @cached_property
    def _protocols(self) -> list[ProtocolEntry]:
        entries = []
        for path in _module_files("protocols"):
            module = f"vhbench.protocols.{path.stem}"
            try:
                for protocol in importlib.import_module(module).protocols():
                    entries.append(
                        ProtocolEntry(protocol.name, BUILT_IN, protocol.title, protocol=protocol, module=module)
                    )
            except (Exception, SystemExit) as error:
                entries.append(ProtocolEntry(path.stem, BUILT_IN, broken=cause(error)))
        for point in entry_points(group="vhbench.protocols"):
            entries.append(_installed_protocol(point))
        return sorted(entries, key=lambda e: (e.origin != BUILT_IN, e.name))

    @cached_property
    def _launchers(self) -> list[LauncherEntry]:
        points = [EntryPoint(name, f"vhbench.launch.{name}:launch", LAUNCHERS) for name in BUILT_IN_LAUNCHERS]
        return [_launcher(point) for point in (*points, *entry_points(group=LAUNCHERS))]


def manifest_hint(name: str) -> str:
    """Say how a manifest of one's own is named, where `name` is no protocol."""
    example = f"which ends in {MANIFEST}"
    with contextlib.suppress(OSError):  # a name too long for a file
        if Path(f"{name}{MANIFEST}").is_file():
            example = f"as in {name}{MANIFEST}, which is here"
    return f"a manifest of your own is given by its path, {example}."


def _launcher(point: EntryPoint) -> LauncherEntry:
    origin = origin_of(point) if point.dist else BUILT_IN
    try:
        return LauncherEntry.of(point.name, origin, point.load())
    except (Exception, SystemExit) as error:  # a broken plugin is the user's to mend
        return LauncherEntry(point.name, origin, broken=cause(error))


def _one(kind: str, name: str, found: list[E], names: Iterable[str], hint: str = "") -> E:
    if not found:
        raise unknown(kind, name, set(names), hint)
    if len(found) > 1:
        choices = " or ".join(f"{_short(e.origin)}:{e.name}" for e in found)
        raise UsageError(f"The {kind} {name!r} is offered more than once: write {choices}.")
    return found[0]


def _short(origin: str) -> str:
    """Return an origin without its version."""
    return origin if origin.endswith(".py") else origin.split(" ")[0]


def _module_files(folder: str) -> list[Path]:
    package = importlib.import_module(f"vhbench.{folder}")
    return [
        Path(module.module_finder.path) / f"{module.name}.py"  # type: ignore[union-attr]
        for module in pkgutil.iter_modules(package.__path__)
        if not module.ispkg and not module.name.startswith("_")
    ]


def _installed_protocol(point: EntryPoint) -> ProtocolEntry:
    from vhbench.protocol import Protocol

    origin = origin_of(point)
    try:
        loaded = point.load()
        protocol = loaded() if isinstance(loaded, type) else loaded
        if not isinstance(protocol, Protocol):
            raise TypeError(f"{point.value} is not a vhbench.protocol.Protocol")
        checked_name(protocol.name)
    except (Exception, SystemExit) as error:
        return ProtocolEntry(point.name, origin, broken=cause(error))
    return ProtocolEntry(point.name, origin, protocol.title, protocol=protocol)

"""The one registry: which methods, protocols and launchers there are, loaded only when used."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from vhbench.errors import UsageError, unknown
from vhbench.plugins import source
from vhbench.plugins.launcher import LauncherEntry
from vhbench.plugins.source import Parameter, annotation_of
from vhbench.system.files import check_regular, user_path
from vhbench.system.text import plain

if TYPE_CHECKING:
    from vhbench.method import Method
    from vhbench.protocol import Protocol

BUILT_IN = "built-in"
LAUNCHERS = "vhbench.launchers"  # group of entry points
BUILT_IN_LAUNCHERS = ("inline", "local", "slurm")
E = TypeVar("E", "MethodEntry", "ProtocolEntry")
MANIFEST = ".toml"  # ends the path of a manifest
COMPOSED = "-to-"  # stands in the name of a protocol that is made of two others
NAME = re.compile(r"(?!.*\.toml)[A-Za-z0-9][A-Za-z0-9._-]*")  # methods and protocols name folders, never files


@dataclass(frozen=True)
class MethodEntry:
    """A method that can be named on the command line.

    Attributes:
        name: what `--method` takes.
        summary: first line of the docstring.
        origin: "built-in", a distribution and its version, or a plugin file.
        doc: the whole docstring.
        reference: the paper.
        params: hyper-parameters by name, with this entry's defaults.
        source: the file that the method is written in.
        broken: why it cannot be used; empty if it can.
    """

    name: str
    origin: str
    summary: str = ""
    doc: str = ""
    reference: str = ""
    params: dict[str, Parameter] = field(default_factory=dict)
    source: Path | None = None
    broken: str = ""
    target: str | type[Method] = ""  # "module:class" to import, or the class

    def load(self) -> type[Method]:
        """Import the method's class.

        Raises:
            UsageError: the method is broken.
        """
        if self.broken:
            raise UsageError(f"Method {self.name!r} ({self.origin}) cannot be used: {self.broken}.")
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        return cast("type[Method]", getattr(importlib.import_module(module), attribute))

    def make(self, bits: int, **params: Any) -> Method:
        """Build an unfitted method: this entry's defaults, overridden by `params`."""
        defaults = {name: parameter.default for name, parameter in self.params.items()}
        return self.load()(bits, **{**defaults, **params})

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the method's source, empty where there is no file."""
        return source.fingerprint(self.source) if self.source is not None else ""


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
            from vhbench.datasets.manifest_protocol import load_manifest

            return load_manifest(user_path(name))
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
        for entry in {entry.module: entry for entry in self._protocols if entry.module}.values():
            resolve = getattr(sys.modules[entry.module], "resolve", None)
            if resolve and (protocol := resolve(name, self.protocol)):
                return cast("Protocol", protocol)
        return None

    @cached_property
    def _methods(self) -> list[MethodEntry]:
        entries = []
        for path in _module_files("methods"):
            entries += _builtin_methods(path)
        for point in entry_points(group="vhbench.methods"):
            entries += _installed_methods(point)
        for path in self.plugins:
            entries += _plugin_methods(path)
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
                entries.append(ProtocolEntry(path.stem, BUILT_IN, broken=_cause(error)))
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
    origin = _origin(point) if point.dist else BUILT_IN
    try:
        return LauncherEntry.of(point.name, origin, point.load())
    except (Exception, SystemExit) as error:  # a broken plugin is the user's to mend
        return LauncherEntry(point.name, origin, broken=_cause(error))


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


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


def _builtin_methods(path: Path) -> list[MethodEntry]:
    entries = []
    try:
        for item in source.read_methods(path):
            target = f"vhbench.methods.{path.stem}:{item.class_name}"
            entries += _with_variants(item.name, BUILT_IN, item, path, target)
    except (SyntaxError, ValueError, TypeError) as error:
        return [MethodEntry(path.stem, BUILT_IN, source=path, broken=_cause(error))]
    return entries


def _with_variants(
    name: str, origin: str, item: source.MethodSource, path: Path | None, target: str | type[Method]
) -> list[MethodEntry]:
    """Return a method's entry and those of its variants."""
    summary = item.doc.partition("\n")[0]
    entries = [MethodEntry(name, origin, summary, item.doc, item.reference, item.params, path, target=target)]
    for variant, (text, changed) in item.variants.items():
        _checked_name(variant)
        params = {
            key: Parameter(key, changed.get(key, parameter.default), parameter.annotation)
            for key, parameter in item.params.items()
        }
        entries.append(MethodEntry(variant, origin, text, item.doc, item.reference, params, path, target=target))
    return entries


def _installed_methods(point: EntryPoint) -> list[MethodEntry]:
    origin = _origin(point)
    try:
        return _class_entries(point.load(), origin, point.name)
    except (Exception, SystemExit) as error:
        return [MethodEntry(point.name, origin, broken=_cause(error))]


def _installed_protocol(point: EntryPoint) -> ProtocolEntry:
    from vhbench.protocol import Protocol

    origin = _origin(point)
    try:
        loaded = point.load()
        protocol = loaded() if isinstance(loaded, type) else loaded
        if not isinstance(protocol, Protocol):
            raise TypeError(f"{point.value} is not a vhbench.protocol.Protocol")
        _checked_name(protocol.name)
    except (Exception, SystemExit) as error:
        return ProtocolEntry(point.name, origin, broken=_cause(error))
    return ProtocolEntry(point.name, origin, protocol.title, protocol=protocol)


def _plugin_methods(path: Path) -> list[MethodEntry]:
    """Return the methods of a plugin file.

    Raises:
        UsageError: there is no such file.
    """
    from vhbench.method import Method

    try:
        check_regular(path)
    except OSError as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        what = f"There is no plugin file {path}" if absent else f"Cannot read the plugin file {path} ({error.strerror})"
        raise UsageError(f"{what}: --plugin takes a Python file with a vhbench.Method in it.") from error
    name = f"vhbench_plugin_{path.stem}_{abs(hash(path.resolve()))}"
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError("its name does not end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, Method)
            and value.__module__ == name
            and not inspect.isabstract(value)
        ]
        if not classes:
            raise UsageError("it defines no class that derives from vhbench.Method and has fit and encode")
        return [entry for cls in classes for entry in _class_entries(cls, str(path))]
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        return [MethodEntry(path.stem, str(path), source=path, broken=_cause(error))]


def _class_entries(cls: Any, origin: str, name: str | None = None) -> list[MethodEntry]:
    """Return the entries of a loaded class.

    Raises:
        TypeError: it is not a method, or its constructor is not of the agreed form.
    """
    from vhbench.method import Method

    if not (inspect.isclass(cls) and issubclass(cls, Method)):
        raise TypeError(f"{cls!r} is not a subclass of vhbench.Method")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise TypeError(f"{cls.__name__} does not define {missing}")
    params = {}
    for key, parameter in cls.hyper_parameters().items():
        if parameter.default is parameter.empty:
            raise TypeError(f"the hyper-parameter {key!r} of {cls.__name__} has no default")
        try:
            json.dumps(parameter.default, allow_nan=False)
        except (TypeError, ValueError):
            raise TypeError(
                f"the default of the hyper-parameter {key!r} of {cls.__name__} is {parameter.default!r}: a record "
                "keeps numbers, texts, booleans, None and lists of these"
            ) from None
        params[key] = Parameter(key, parameter.default, annotation_of(parameter))
    name = _checked_name(name or getattr(cls, "name", cls.__name__.lower()))
    doc = inspect.getdoc(cls) if cls.__doc__ else ""
    variants = getattr(cls, "variants", {})
    item = source.MethodSource(cls.__name__, name, doc or "", cls.reference, params, variants)
    file = inspect.getsourcefile(cls)
    return _with_variants(name, origin, item, Path(file) if file else None, cls)


def _checked_name(name: Any) -> str:
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise TypeError(f"its name is {name!r}: it names a folder, so use only letters, digits, '.', '_' and '-'")
    return name


def _cause(error: BaseException) -> str:
    """Return an error as one line, without a full stop."""
    text = plain(" ".join(str(error).split())).rstrip(".")
    kind = type(error).__name__
    return text if isinstance(error, UsageError) else f"{kind}: {text}" if text else kind

"""Methods as the registry knows them: entries made of source files, installed classes and plugin files."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vhbench.errors import UsageError
from vhbench.plugins import source
from vhbench.plugins.source import Parameter, annotation_of
from vhbench.system.files import check_regular
from vhbench.system.text import plain

if TYPE_CHECKING:
    from vhbench.method import Method

BUILT_IN = "built-in"
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
        presets: published settings where they differ by data set: data set -> hyper-parameters.
        source: the file that the method is written in.
        broken: why it cannot be used; empty if it can.
    """

    name: str
    origin: str
    summary: str = ""
    doc: str = ""
    reference: str = ""
    params: dict[str, Parameter] = field(default_factory=dict)
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)
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


def builtin_methods(path: Path) -> list[MethodEntry]:
    """Return the methods of a file of `methods/`, read without importing it."""
    entries = []
    try:
        for item in source.read_methods(path):
            target = f"vhbench.methods.{path.stem}:{item.class_name}"
            entries += _with_variants(item.name, BUILT_IN, item, path, target)
    except (SyntaxError, ValueError, TypeError) as error:
        return [MethodEntry(path.stem, BUILT_IN, source=path, broken=cause(error))]
    return entries


def _with_variants(
    name: str, origin: str, item: source.MethodSource, path: Path | None, target: str | type[Method]
) -> list[MethodEntry]:
    """Return a method's entry and those of its variants."""
    summary = item.doc.partition("\n")[0]
    _check_presets(item)
    same: dict[str, Any] = {
        "origin": origin,
        "doc": item.doc,
        "reference": item.reference,
        "source": path,
        "target": target,
    }
    entries = [MethodEntry(name, summary=summary, params=item.params, presets=item.presets, **same)]
    for variant, (text, changed) in item.variants.items():
        checked_name(variant)
        params = {
            key: Parameter(key, changed.get(key, parameter.default), parameter.annotation)
            for key, parameter in item.params.items()
        }
        # what makes the variant stays as it is on every data set
        presets = {
            dataset: {key: value for key, value in values.items() if key not in changed}
            for dataset, values in item.presets.items()
        }
        entries.append(MethodEntry(variant, summary=text, params=params, presets=presets, **same))
    return entries


def _check_presets(item: source.MethodSource) -> None:
    """Raise TypeError where a preset sets what is no hyper-parameter."""
    for dataset, values in item.presets.items():
        if unknown_names := values.keys() - item.params.keys():
            raise TypeError(f"its preset {dataset!r} sets {sorted(unknown_names)[0]!r}, which is no hyper-parameter")


def installed_methods(point: EntryPoint) -> list[MethodEntry]:
    """Return the methods behind an entry point of an installed package."""
    origin = origin_of(point)
    try:
        return _class_entries(point.load(), origin, point.name)
    except (Exception, SystemExit) as error:
        return [MethodEntry(point.name, origin, broken=cause(error))]


def plugin_methods(path: Path) -> list[MethodEntry]:
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
        return [MethodEntry(path.stem, str(path), source=path, broken=cause(error))]


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
    name = checked_name(name or getattr(cls, "name", cls.__name__.lower()))
    doc = inspect.getdoc(cls) if cls.__doc__ else ""
    named = {key: vars(cls).get(key, {}) for key in ("variants", source.PRESETS)}  # not those of a base class
    item = source.MethodSource(cls.__name__, name, doc or "", cls.reference, params, **named)
    file = inspect.getsourcefile(cls)
    return _with_variants(name, origin, item, Path(file) if file else None, cls)


def checked_name(name: Any) -> str:
    """Return a name of a method or protocol; raise TypeError where it is none."""
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise TypeError(f"its name is {name!r}: it names a folder, so use only letters, digits, '.', '_' and '-'")
    return name


def cause(error: BaseException) -> str:
    """Return an error as one line, without a full stop."""
    text = plain(" ".join(str(error).split())).rstrip(".")
    kind = type(error).__name__
    return text if isinstance(error, UsageError) else f"{kind}: {text}" if text else kind


def origin_of(point: EntryPoint) -> str:
    """Return the distribution and its version behind an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value

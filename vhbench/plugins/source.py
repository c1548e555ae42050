"""Reading method files without importing them, so that listing and planning need no torch."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

METHODS, TRAINING = "vhbench.methods", "vhbench.training"
PRESETS = "presets"  # attribute of a class
SHARED = (f"{METHODS}.", TRAINING)  # imports whose source can change a method's numbers


@dataclass(frozen=True)
class Parameter:
    """A hyper-parameter: a constructor's keyword with its default and its annotation as written."""

    name: str
    default: Any
    annotation: str = ""


@dataclass(frozen=True)
class MethodSource:
    """What a method's source file says of one class.

    Attributes:
        class_name: the class.
        name: its registered name.
        doc: its docstring, dedented.
        reference: the paper.
        params: hyper-parameters by name.
        variants: other names for the class with other defaults: name -> (summary, hyper-parameters).
        presets: published settings where they differ by data set: data set -> hyper-parameters.
    """

    class_name: str
    name: str
    doc: str
    reference: str
    params: dict[str, Parameter]
    variants: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_methods(path: Path) -> list[MethodSource]:
    """Return the classes of a file that carry a literal `name`.

    Raises:
        SyntaxError: the file is not Python.
        ValueError: an attribute or a default that must be a literal is not one.
    """
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
        if isinstance(node, ast.ClassDef):
            values = _class_values(node)
            if "name" in values:
                found.append(
                    MethodSource(
                        class_name=node.name,
                        name=values["name"],
                        doc=ast.get_docstring(node) or "",
                        reference=values.get("reference", ""),
                        params=_parameters(node),
                        variants=values.get("variants", {}),
                        presets=values.get("presets", {}),
                    )
                )
    return found


def fingerprint(path: Path) -> str:
    """Return a sha256 over the code of a method file and of the shared method code that it imports.

    What changes no number does not count: docstrings, comments, blank lines, import statements and the names of the
    files, so that a module may be moved or renamed; nor do presets, because a record holds what they gave. For a file
    inside a package other than vhbench, every `.py` file of that package counts.
    """
    if _is_ours(path):
        files = _closure(path)
    elif (path.parent / "__init__.py").is_file():
        package = path.parent
        while (package.parent / "__init__.py").is_file():
            package = package.parent
        files = set(package.rglob("*.py"))
    else:
        files = {path}
    digests = sorted(hashlib.sha256(_code(file.read_bytes())).hexdigest() for file in files)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


@functools.lru_cache(maxsize=4096)  # methods share most of their files
def _code(source: bytes) -> bytes:
    """Return what a Python file computes: without docstrings, comments, imports, presets and blank lines.

    What is not Python is returned as it is. Text is cut rather than parsed and written anew, so that every Python
    version returns the same.
    """
    lines = source.splitlines()
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][: len(token.line[:column].encode())]
        silent = [node for node in ast.walk(ast.parse(source)) if _computes_nothing(node)]
        silent += [node for node in map(_docstring, ast.walk(ast.parse(source))) if node is not None]
    except (SyntaxError, tokenize.TokenError, ValueError):
        return source
    # from the end, so that what is cut moves nothing that is still to be cut
    for node in sorted(silent, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        lines[first : last + 1] = [before, *[b""] * (last - first - 1), after] if last > first else [before + after]
    return b"\n".join(line.rstrip() for line in lines if line.strip())


def _computes_nothing(node: ast.AST) -> TypeGuard[ast.stmt]:
    """Say whether a statement is an import, imports for the type checker alone, or says what presets there are."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse
    target = node.target if isinstance(node, ast.AnnAssign) else None
    return isinstance(node, ast.Import | ast.ImportFrom) or (isinstance(target, ast.Name) and target.id == PRESETS)


def _docstring(node: ast.AST) -> ast.Expr | None:
    """Return the docstring of a module, class or function."""
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first
    return None


def _class_values(node: ast.ClassDef) -> dict[str, Any]:
    """Evaluate the literal class attributes that the registry reads."""
    values = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if isinstance(target, ast.Name) and target.id in ("name", "reference", "variants", PRESETS):
            values[target.id] = ast.literal_eval(value)
    return values


def _parameters(node: ast.ClassDef) -> dict[str, Parameter]:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            pairs = zip(statement.args.kwonlyargs, statement.args.kw_defaults, strict=True)
            return {
                arg.arg: Parameter(
                    arg.arg,
                    None if default is None else ast.literal_eval(default),
                    ast.unparse(arg.annotation) if arg.annotation else "",
                )
                for arg, default in pairs
            }
    return {}


def _is_ours(path: Path) -> bool:
    """Say whether a file belongs to vhbench: a built-in method, or one that the contract kit is tested with."""
    import vhbench.methods

    folders = [Path(__file__).parents[1], *map(Path, vhbench.methods.__path__)]
    return any(path.is_relative_to(folder) for folder in folders)


def _closure(path: Path) -> set[Path]:
    """Return the file and, transitively, the shared vhbench modules it imports."""
    files: set[Path] = set()
    queue = [path]
    while queue:
        file = queue.pop()
        if file in files:
            continue
        files.add(file)
        for name in _shared_imports(file.read_text(encoding="utf-8")):
            if (spec := importlib.util.find_spec(name)) and spec.origin:
                queue.append(Path(spec.origin))
    return files


@functools.lru_cache(maxsize=256)
def _shared_imports(source: str) -> tuple[str, ...]:
    names = (name for node in ast.walk(ast.parse(source)) for name in _imported(node))
    return tuple(dict.fromkeys(name for name in names if name.startswith(SHARED)))


def _imported(node: ast.AST) -> list[str]:
    """Return the modules that a statement imports or may import, in any of the ways of writing it."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    package = ("", METHODS, "vhbench")[min(node.level, 2)]
    module = ".".join(filter(None, (package, node.module)))
    if module not in ("vhbench", METHODS):
        return [module]
    names = [f"{module}.{alias.name}" for alias in node.names]
    return [TRAINING if name == "vhbench.NeuralMethod" else name for name in names]


def split_args(doc: str) -> tuple[str, dict[str, str]]:
    """Take the `Args:` section out of a docstring.

    Args:
        doc: Google style, dedented.

    Returns:
        The docstring without that section, and each argument's text on one line. Without a section that reads
        `name: text`, the docstring stays whole.
    """
    found = re.search(r"^Args:\n((?:[ \t]+\S.*\n?|[ \t]*\n)+)", doc, re.MULTILINE)
    entries = dict(_entries(textwrap.dedent(found[1]))) if found else {}
    if found is None or not entries:
        return doc.strip(), {}
    rest = (doc[: found.start()].strip(), doc[found.end() :].strip())
    return "\n\n".join(filter(None, rest)), entries


def _entries(section: str) -> Iterator[tuple[str, str]]:
    for block in re.split(r"\n(?=\S)", section.strip()):
        name, colon, text = block.partition(":")
        if colon:
            yield name.partition("(")[0].strip(), " ".join(text.split())


def annotation_of(parameter: inspect.Parameter) -> str:
    """Return a parameter's annotation as it is written; "" where it has none."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return ""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)

"""The skeleton of a method of one's own: a small package that installs, passes its checks and is to be edited."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from string import Template

from vhbench.errors import UsageError
from vhbench.system.files import write_error

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*")
TEMPLATES = {  # file of the package -> its template beside this file
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "README.md.tmpl",
    "src/$module/__init__.py": "init.py.tmpl",
    "src/$module/method.py": "method.py.tmpl",
    "tests/test_contract.py": "test_contract.py.tmpl",
}


def write_method_package(name: str, into: Path, taken: Collection[str] = ()) -> Path:
    """Write the package of a new method.

    The importable module is called `vhbench_<name>`, so that no name of a method can hide another Python module.

    Args:
        name: of the method: letters, digits and single hyphens, a letter first.
        into: the folder in which the package's folder, named like the method, is made.
        taken: names of methods that exist already.

    Returns:
        The package's folder.

    Raises:
        UsageError: the name cannot be used, or the folder exists already.
        VhbenchError: the files cannot be written.
    """
    class_name = "".join(part[0].upper() + part[1:] for part in name.split("-") if part)
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a method's name: use letters, digits and single hyphens, and a letter first, "
            "as in my-hash."
        )
    if keyword.iskeyword(name) or keyword.iskeyword(class_name):
        raise UsageError(f"{name!r} cannot be a method's name: it is a word of the Python language.")
    if name in taken:
        raise UsageError(f"There is a method {name!r} already: choose another name (`vhbench list methods`).")
    folder = into / name
    if folder.exists():
        raise UsageError(f"{folder} exists already: choose another name, or another place with --into FOLDER.")
    words = {"name": name, "module": f"vhbench_{name.replace('-', '_').lower()}", "class_name": class_name}
    for file, template in TEMPLATES.items():
        _write(folder / Template(file).substitute(words), _text(template).substitute(words))
    return folder


def _text(template: str) -> Template:
    return Template((files(__name__) / template).read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise write_error(path, error) from error

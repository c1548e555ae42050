"""vhbench runs from a wheel, from an editable install and from a bare checkout, and is the same in all three.

Everything is built from a copy of the checkout, so that neither it nor the environment of the tests is touched.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SITE = sysconfig.get_path("purelib")
# not the interpreter of the virtual environment, which may have this checkout installed
PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
HOMES = {"vhbench": "vhbench", **{name: f"vhbench/{name}" for name in ("methods", "protocols", "benchmarks")}}
RUBBISH = ("__pycache__", "*.pyc", ".*", "*.egg-info", "build", "dist", "results", "tests")


def run(*words, cwd, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*words, cwd):
    options = ("--disable-pip-version-check", "--no-index", "--no-deps", "--quiet")
    return run(sys.executable, "-m", "pip", *words, *options, cwd=cwd)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout") / "vhbench"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*RUBBISH))
    return folder


@pytest.fixture(scope="module")
def listing(checkout):
    """What `vhbench list methods` prints in the bare checkout, which nobody has installed."""
    return run(PYTHON, "-m", "vhbench", "list", "methods", cwd=checkout, PYTHONPATH=SITE)


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(checkout, folder / "source")  # building leaves its own files in the source
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the wheel's content, and a function that runs vhbench from it in an empty folder."""
    target, empty = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("empty")
    pip("install", "--target", target, wheel, cwd=empty)

    def vhbench(*words, module=("-m", "vhbench")):
        return run(PYTHON, *module, *words, cwd=empty, PYTHONPATH=f"{target}{os.pathsep}{SITE}")

    return target, vhbench


def home(vhbench):
    return Path(vhbench(module=("-c", "import vhbench; print(vhbench.__file__)")).strip())


def test_a_bare_checkout_lists_the_built_ins(listing):
    names = {line.split()[0] for line in listing.splitlines()[1:]}
    assert names >= {"lsh", "pcah", "itq", "uvvh", "uvh", "uvvh-1", "uvvh-nopro", "uvvh-q"}
    assert "broken" not in listing


def test_a_wheel_in_an_empty_folder_lists_the_same(installed, listing):
    target, vhbench = installed
    assert home(vhbench) == target / "vhbench" / "__init__.py", "and not the checkout"
    assert vhbench("list", "methods") == listing


def test_a_wheel_describes_and_makes_what_needs_its_data_files(installed):
    _, vhbench = installed
    assert "1D-CNN" in vhbench("describe", "uvvh")
    assert "broken" not in vhbench("list", "protocols")
    assert "\n    scoring " in vhbench("bench", "--help")
    assert vhbench("new", "method", "my-hash").strip() == "my-hash"


def test_an_editable_install_lists_the_same(checkout, listing, tmp_path):
    source = shutil.copytree(checkout, tmp_path / "source")
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    own_site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (own_site / "others.pth").write_text(SITE)  # the dependencies; a path line runs no .pth files of that folder
    words = ["--python", python, "install", "--no-build-isolation", "--ignore-installed", "--editable", source]
    pip(*words, cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(environment / "bin" / "vhbench", "list", "methods", cwd=empty) == listing
    found = run(python, "-c", "import vhbench.methods.itq as m; print(m.__file__)", cwd=empty)
    assert Path(found.strip()) == source / "methods" / "itq.py"


def test_a_wheel_has_every_file_of_the_packages_and_nothing_else(checkout, wheel):
    expected = {
        f"{home}/{path.relative_to(checkout / folder)}"
        for folder, home in HOMES.items()
        for path in (checkout / folder).rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected


def test_a_wheel_says_what_it_needs_and_offers_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        texts = {Path(name).name: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name}
    assert "vhbench = vhbench.cli:main" in texts["entry_points.txt"]
    needed = [line for line in texts["METADATA"].splitlines() if line.startswith("Requires-Dist: ")]
    for name in ("torch", "numpy", "scipy", "scikit-learn", "pandas", "h5py", "numba", "click", "rich", "tabulate"):
        assert any(line.startswith(f"Requires-Dist: {name}") and "extra" not in line for line in needed), name


def test_every_import_is_declared_in_pyproject():
    """A module that only the developer's environment has is a failure for everybody else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {line_name(line) for line in lines}
    # numba brings llvmlite, and so on: what a declared package says that it needs is there too
    declared |= {line_name(line) for name in declared for line in requires(name) or () if "extra ==" not in line}
    own = {path.stem for path in (ROOT / "tests").rglob("*")} | {*HOMES}
    providers = packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)} imports {name}"
        for home in (*HOMES, "tests")
        for path in (ROOT / home).rglob("*.py")
        for name in imports(path) - own - sys.stdlib_module_names
        if not declared & {line_name(provider) for provider in providers.get(name, ())}
    }
    assert not undeclared


def line_name(requirement):
    return re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")


def imports(path):
    """The names of the top packages that a file imports, at its head or in a function."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]
    return {module.split(".")[0] for module in modules}

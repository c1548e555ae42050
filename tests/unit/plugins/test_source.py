"""Fingerprints: they change with a method's source and the shared code it uses, and with nothing else."""

import subprocess
import sys

import pytest

from vhbench.plugins import source
from vhbench.plugins.source import fingerprint, read_methods


@pytest.fixture
def built_ins(tmp_path, monkeypatch):
    """A folder that stands for `vhbench.methods`, with a method, shared layers and a stranger; returns it."""
    import vhbench.methods

    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "mine.py").write_text("from vhbench.methods.mylayers import f\n")
    (folder / "mylayers.py").write_text("import vhbench.methods.mybase\n")
    (folder / "mybase.py").write_text("import torch\nimport numpy as np\n")
    (folder / "stranger.py").write_text("")
    monkeypatch.setattr(vhbench.methods, "__path__", [str(folder)])
    return folder


def changes(folder, file, method="mine.py"):
    """Say whether the method's fingerprint changes with a file."""
    before = fingerprint(folder / method)
    with (folder / file).open("a") as text:
        text.write("\nCHANGED = True\n")
    return fingerprint(folder / method) != before


@pytest.mark.parametrize("file", ["mine.py", "mylayers.py", "mybase.py"])
def test_it_changes_with_the_file_and_the_shared_modules_it_imports(built_ins, file):
    assert changes(built_ins, file)


MINE = '''"""What it is.

Over two lines."""
import numpy as np  # comment
from vhbench.methods.layers import (
    LSTM,
    Conv,
)
if TYPE_CHECKING:
    from a import (b,
                   c)

class Mine:
    """A café, one line."""; size = 3

    def fit(self, train, ctx):
        """Fit.

        Args:
            train: videos.
        """
        # why
        return "# not a comment"
'''
TERSE = '''class Mine:
    ; size = 3
    def fit(self, train, ctx):
        return "# not a comment"'''


def test_docstrings_comments_imports_and_blank_lines_are_not_code():
    assert source._code(MINE.encode()).decode() == TERSE


@pytest.mark.parametrize("text", ["def f(:\n  # odd\n", "x = '''open", "x = 1\0"])
def test_what_is_not_python_counts_as_it_is(text):
    assert source._code(text.encode()) == text.encode()


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [("# why", "# because", False), ("Fit.", "Learn.", False), ("size = 3", "size = 4", True), ("# not", "# no", True)],
)
def test_it_changes_with_the_code_and_not_with_what_is_said_about_it(tmp_path, old, new, changed):
    (tmp_path / "mine.py").write_text(MINE)
    before = fingerprint(tmp_path / "mine.py")
    (tmp_path / "mine.py").write_text(MINE.replace(old, new))
    assert (fingerprint(tmp_path / "mine.py") != before) is changed


def test_it_stays_when_a_shared_module_is_moved_and_renamed(built_ins):
    before = fingerprint(built_ins / "mine.py")
    (built_ins / "mylayers.py").rename(built_ins / "aaa.py")
    (built_ins / "mine.py").write_text("from vhbench.methods.aaa import (\n    f,\n)\n")
    assert fingerprint(built_ins / "mine.py") == before


def test_it_changes_with_a_branch_that_only_looks_like_type_checking(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("if TYPE_CHECKING:\n    import a\nelse:\n    SIZE = 3\n")
    before = fingerprint(path)
    path.write_text(path.read_text().replace("3", "4"))
    assert fingerprint(path) != before


def test_it_does_not_change_with_other_files(built_ins):
    assert not changes(built_ins, "stranger.py")


@pytest.mark.parametrize(
    "statement",
    [
        "from vhbench.methods import mylayers",
        "from . import mylayers",
        "from .mylayers import f",
        "import vhbench.methods.mylayers as layers",
        "def g():\n    from vhbench.methods.mylayers import f",
    ],
)
def test_it_follows_every_way_of_importing(built_ins, statement):
    (built_ins / "mine.py").write_text(statement + "\n")
    assert changes(built_ins, "mylayers.py")


@pytest.mark.parametrize("statement", ["from vhbench import NeuralMethod", "from vhbench.training import NeuralMethod"])
def test_a_neural_method_counts_the_training_loop(built_ins, statement):
    (built_ins / "mine.py").write_text(statement + "\n")
    assert source._closure(built_ins / "mine.py") > {built_ins / "mine.py"}
    assert any(path.name == "training.py" for path in source._closure(built_ins / "mine.py"))


def test_a_plugin_file_counts_alone(tmp_path):
    for name in ("mine.py", "beside.py"):
        (tmp_path / name).write_text("")
    assert changes(tmp_path, "mine.py")
    assert not changes(tmp_path, "beside.py")


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "mine"
    for name in ("__init__.py", "models/__init__.py", "models/net.py", "layers/__init__.py", "layers/conv.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")
    (tmp_path / "setup.py").write_text("")
    return folder


@pytest.mark.parametrize("file", ["__init__.py", "models/net.py", "layers/conv.py"])
def test_a_file_of_a_package_counts_with_the_whole_package(package, file):
    assert changes(package, file, "models/net.py")


def test_a_package_counts_without_what_lies_beside_it(package):
    assert not changes(package, "../setup.py", "models/net.py")


def test_it_is_the_same_in_every_process(package):
    """Files of one name, such as `__init__.py`, must not come in the order of a set."""
    code = "import sys, pathlib, vhbench.plugins.source as s; print(s.fingerprint(pathlib.Path(sys.argv[1])))"
    words = [sys.executable, "-c", code, str(package / "models" / "net.py")]
    found = set()
    for seed in range(3):
        env = {"PYTHONHASHSEED": str(seed), "PYTHONPATH": ":".join(sys.path)}
        found.add(subprocess.run(words, env=env, capture_output=True, check=True, text=True).stdout.strip())
    assert found == {fingerprint(package / "models" / "net.py")}


def test_reading_needs_literals_and_takes_annotated_and_plain_ones(tmp_path):
    path = tmp_path / "m.py"
    path.write_text(
        '''
class Helper:
    x = 1

class Mine(Base):
    """First line.

    More.
    """

    name: str = "mine"
    reference = "Someone 2020"
    variants: dict = {"mine-b": ("B", {"a": 2})}

    def __init__(self, bits, *, a: int = 1, b: "int | None" = None, c=0.5):
        pass
'''
    )
    (found,) = read_methods(path)
    assert (found.class_name, found.name, found.reference) == ("Mine", "mine", "Someone 2020")
    assert found.doc == "First line.\n\nMore."
    assert {(p.name, p.default) for p in found.params.values()} == {("a", 1), ("b", None), ("c", 0.5)}
    assert found.variants == {"mine-b": ("B", {"a": 2})}
    path.write_text(path.read_text().replace("a: int = 1", "a: int = DEFAULT"))
    with pytest.raises(ValueError):
        read_methods(path)

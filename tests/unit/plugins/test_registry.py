"""The registry: built-ins, installed packages and plugin files; one that is broken stops no other."""

import sys

import pytest

from vhbench.errors import UsageError
from vhbench.method import Method
from vhbench.plugins.entries import BUILT_IN
from vhbench.plugins.registry import Registry
from vhbench.testing.fakes import FakeMethod

# the modules of an installed package: methods, a protocol and a launcher that work, and some that do not
MODULES = {
    "mine.py": """
from vhbench.testing.fakes import FakeMethod

class Mine(FakeMethod):
    \"\"\"A method of a package.\"\"\"
    variants = {"mine-wide": ("Mine with a wide spread", {"spread": 9.0})}

class Itq(FakeMethod):
    \"\"\"Another method of that name.\"\"\"
""",
    "broken.py": "raise RuntimeError('does not go together with this torch')",
    "exits.py": "import sys; sys.exit('no licence')",
    "extras.py": """
from vhbench.protocol import Protocol

class Extra(Protocol):
    name = "extra"
    title = "A protocol of a package"
    def load(self, data):
        return []

def launch(cells, work):
    print("launched", len(cells))
""",
}
ENTRY_POINTS = """
[vhbench.methods]
mine = mine:Mine
itq = mine:Itq
broken = broken:Broken
exits = exits:Exits
function = extras:launch

[vhbench.protocols]
extra = extras:Extra
extra-broken = broken:Extra
extra-function = extras:launch

[vhbench.launchers]
mine = extras:launch
gone = extras:gone
"""


@pytest.fixture
def package(tmp_path):
    """A folder that looks as if the distribution `other` were installed there."""
    folder = tmp_path / "site"
    info = folder / "other-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    for name, text in MODULES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def installed(package, monkeypatch):
    monkeypatch.syspath_prepend(package)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    return Registry()


# built-ins


def test_built_ins_agree_with_their_classes():
    """The registry reads the files without importing them; what it read must be what the classes say."""
    for entry in Registry().methods():
        if entry.origin != BUILT_IN:
            continue
        assert entry.broken == ""
        cls = entry.load()
        assert issubclass(cls, Method) and (entry.name == cls.name or entry.name in cls.variants)
        assert (entry.doc.split(), entry.reference) == (cls.__doc__.split(), cls.reference)
        changed = {} if entry.name == cls.name else cls.variants[entry.name][1]
        signature = cls.hyper_parameters()
        assert list(entry.params) == list(signature)
        assert changed.keys() <= signature.keys(), "a variant changes hyper-parameters that there are"
        for name, parameter in entry.params.items():
            assert parameter.default == changed.get(name, signature[name].default)
            assert parameter.annotation == str(signature[name].annotation)
        method = entry.make(16)
        assert method.bits == 16 and method.get_params() == {p.name: p.default for p in entry.params.values()}


def test_every_built_in_has_a_summary_and_a_reference():
    for entry in Registry().methods():
        if entry.origin == BUILT_IN:
            assert len(entry.summary) > 20 and any(year in entry.reference for year in ("19", "20"))


def test_a_built_in_file_that_is_no_python_is_one_broken_row(monkeypatch, tmp_path):
    from vhbench.plugins import registry

    files = registry._module_files("methods")
    (tmp_path / "worse.py").write_text("def f(:")
    (tmp_path / "computed.py").write_text("class A:\n    name = 'a' + 'b'\n")
    broken = [tmp_path / "worse.py", tmp_path / "computed.py"]
    monkeypatch.setattr(registry, "_module_files", lambda folder: [*files, *broken])
    entries = {entry.name: entry.broken for entry in Registry().methods()}
    assert entries["itq"] == "" and "SyntaxError" in entries["worse"] and "ValueError" in entries["computed"]


# installed packages


def test_methods_of_a_package_stand_beside_the_built_ins(installed):
    entries = {(entry.name, entry.origin): entry for entry in installed.methods()}
    mine = entries["mine", "other 1.2"]
    assert (mine.summary, mine.broken, mine.load().__name__) == ("A method of a package.", "", "Mine")
    assert mine.params["spread"].default == 1.0
    wide = entries["mine-wide", "other 1.2"]
    assert (wide.summary, wide.make(8).spread) == ("Mine with a wide spread", 9.0)
    assert ("uvvh", BUILT_IN) in entries


def test_a_package_that_cannot_be_loaded_is_a_row_with_its_cause(installed):
    entries = {entry.name: entry.broken for entry in installed.methods()}
    assert entries["broken"] == "RuntimeError: does not go together with this torch"
    assert entries["exits"] == "SystemExit: no licence"
    assert "is not a subclass of vhbench.Method" in entries["function"]
    with pytest.raises(UsageError, match=r"Method 'broken' \(other 1.2\) cannot be used: RuntimeError"):
        installed.method("broken")
    assert installed.method("lsh").name == "lsh"


def test_a_name_offered_twice_must_be_written_with_its_origin(installed):
    with pytest.raises(UsageError, match="'itq' is offered more than once: write built-in:itq or other:itq"):
        installed.method("itq")
    assert installed.method("built-in:itq").origin == BUILT_IN
    assert installed.method("other:itq").load().__name__ == "Itq"


def test_protocols_of_a_package(installed):
    entries = {entry.name: entry for entry in installed.protocols()}
    assert (entries["extra"].title, entries["extra"].origin) == ("A protocol of a package", "other 1.2")
    assert installed.protocol("extra").load(None) == []
    assert "RuntimeError" in entries["extra-broken"].broken
    with pytest.raises(UsageError, match=r"'extra-function' .* cannot be used: .*not a vhbench.protocol.Protocol"):
        installed.protocol("extra-function")


def test_launchers_of_a_package(installed, capsys):
    installed.launcher("mine").load()([1, 2], print)
    assert capsys.readouterr().out == "launched 2\n"
    with pytest.raises(UsageError, match="Launcher 'gone' cannot be used: AttributeError"):
        installed.launcher("gone")
    with pytest.raises(UsageError, match="did you mean 'mine'"):
        installed.launcher("min")


def test_the_command_line_sees_an_installed_package(vhbench_process, child_environment, package, tiny, out):
    path = f"{child_environment['PYTHONPATH']}:{package}"
    listed = vhbench_process("list", "methods", PYTHONPATH=path)
    rows = {tuple(line.split()[:2]): line for line in listed.out.splitlines()}
    assert listed.code == 0 and ("itq", "built-in") in rows and ("itq", "other") in rows
    assert "broken: RuntimeError" in rows["broken", "other"]
    words = ["run", "--protocol", tiny, "--bits", "8", "--out", out, "--dry-run"]
    clash = vhbench_process(*words, "--method", "itq", PYTHONPATH=path)
    assert clash.code == 2 and "write built-in:itq or other:itq" in clash.error
    assert "1 of 1 runs to do" in vhbench_process(*words, "--method", "other:itq", PYTHONPATH=path).out


# plugin files


def test_every_method_of_a_plugin_file_is_offered_but_what_it_imports_is_not(tmp_path):
    path = tmp_path / "two.py"
    path.write_text(
        "from vhbench.testing.fakes import FakeMethod\n"
        "class A(FakeMethod):\n    name = 'a'\n"
        "class NoName(FakeMethod):\n    '''Named like its class.'''\n    name = 'b'\n"
    )
    entries = [entry for entry in Registry([path]).methods() if entry.origin == str(path)]
    assert [entry.name for entry in entries] == ["a", "b"]
    assert entries[1].summary == "Named like its class." and entries[0].source == path


def test_annotations_are_read_from_a_class_in_any_form(tmp_path):
    path = tmp_path / "p.py"
    path.write_text(
        "from typing import Optional\nfrom vhbench.testing.fakes import FakeMethod\n"
        "class A(FakeMethod):\n    name = 'a'\n"
        "    def __init__(self, bits, *, a: int = 1, b: int | None = None, c: 'float' = 1.0, d=2, "
        "e: Optional[int] = None): pass\n"
    )
    params = Registry([path]).method("a").params
    assert {p.name: p.annotation for p in params.values()} == {
        "a": "int", "b": "int | None", "c": "float", "d": "", "e": "typing.Optional[int]",
    }  # fmt: skip


def test_a_loaded_class_makes_methods_with_its_parameters(fake_methods):
    entry = Registry([fake_methods]).method("fake")
    assert isinstance(entry.make(8), Method) and type(entry.make(8)).__name__ == FakeMethod.__name__
    assert entry.make(8, spread=3.0).get_params() == {"epochs": 2, "spread": 3.0}

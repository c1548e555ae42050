"""Grid files: TOML with the options' own names, kept grids, records."""

import json

import pytest

from vhbench.errors import UsageError
from vhbench.grid.files import read_grid_file

KEYS = {"method", "protocol", "bits", "epochs", "per-gpu", "deterministic", "budget", "seeds", "precision"}


@pytest.fixture
def read(tmp_path):
    """Read a grid file of this content."""

    def read(text, name="grid.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_grid_file(path, KEYS)

    return read


def test_values_become_what_would_stand_on_the_command_line(read):
    file = read('method = ["uvvh", "itq"]\nbits = [16, 32]\nepochs = 3\nper_gpu = 2\ndeterministic = true')
    assert file.values == {
        "method": ["uvvh", "itq"], "bits": ["16", "32"], "epochs": "3", "per-gpu": "2", "deterministic": True,
    }  # fmt: skip


def test_hyper_parameters_stand_in_a_table_a_method(read):
    file = read('[set.uvvh]\nlr = 1e-4\nname = "x"\nflag = true\n[set."a.b"]\nn = 3')
    assert file.sets == {"uvvh": {"lr": "0.0001", "name": "x", "flag": "true"}, "a.b": {"n": "3"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods = 1", "Unknown option 'methods': did you mean 'method'"),
        ("sett = 1", "did you mean 'set'"),
        ("bits = [16", "is not TOML"),
        (b"method = '\xff'", "is not text in UTF-8"),
        ("[" * 3000, "is not TOML"),
        ("bits = 2024-01-01", "bits takes a text, a number"),
        ("bits = {a = 1}", "bits takes a text, a number"),
        ("bits = [[1]]", "bits takes a text, a number"),
        ('method = "a\\u0000b"', "method takes a text"),
        ('method = ""', "method takes a text"),
        ("bits = 0x1" + "0" * 5000, "is not TOML: it holds a whole number of more than 300 digits"),
        ("set = 3", r"`set` takes a table a method, as in \[set.uvvh\]"),
        ("[set]\nlr = 3", "`set` takes a table a method"),
        ("[set.uvvh]\nlr = [[3]]", "set.uvvh.lr takes a text, a number or true or false"),
    ],
)
def test_a_faulty_file_is_refused_with_what_and_where(read, text, message):
    with pytest.raises(UsageError, match=message) as error:
        read(text)
    assert "grid.toml" in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"Cannot read the grid file .*none\.toml: No such file"):
        read_grid_file(tmp_path / "none.toml", KEYS)


def test_a_record_becomes_the_options_of_its_run(write_run):
    spec = {"budget": {"epochs": 12, "videos": None}, "params": {"lr": 1e-4, "warm": None, "sizes": [1, 2]}}
    folder = write_run("uvvh", 32, 3, **spec)
    file = read_grid_file(folder / "run.json", {*KEYS, "allow-counts", "preset"})
    assert file.run == json.loads((folder / "run.json").read_text())["id"]
    assert file.sets == {"uvvh": {"lr": "0.0001", "warm": "none"}}
    assert file.values == {
        "method": "uvvh", "protocol": "toy", "bits": "32", "seeds": "3", "budget": "paper", "epochs": "12",
        "precision": "float32", "allow-counts": False, "preset": "none",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"schema": "vhbench.run/1", "spec": 3}', '{"schema": "vhbench.grid/1"}']
)
def test_json_that_is_neither_record_nor_grid_is_refused(read, text):
    with pytest.raises(UsageError, match="neither the record of a run nor a kept grid"):
        read(text, "run.json")


def test_json_of_another_schema_is_refused(read):
    with pytest.raises(UsageError, match=r"has schema 'vhbench\.run/9'"):
        read('{"schema": "vhbench.run/9"}', "run.json")

"""What a study searches, and what is refused."""

import pytest

from vhbench.errors import UsageError
from vhbench.plugins.entries import MethodEntry
from vhbench.plugins.source import Parameter
from vhbench.study.space import Range, Values, digest, read_space

PARAMS = [
    Parameter("lr", 1e-3, "float"), Parameter("width", 64, "int"), Parameter("form", "mirror", "str"),
    Parameter("flag", True, "bool"), Parameter("limit", None, "int | None"),
]  # fmt: skip
ENTRY = MethodEntry("toy", "built-in", params={parameter.name: parameter for parameter in PARAMS})


def test_ranges_and_values_are_read_as_the_method_takes_them(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        "lr = { low = 1e-4, high = 1, log = true }\nwidth = { low = 8, high = 64 }\n"
        'form = ["mirror", "literal"]\nflag = { values = [true, false] }\nlimit = [3, "none", 3]\n'
    )
    space = read_space(path, ENTRY)
    assert space == {
        "lr": Range(1e-4, 1.0, log=True), "width": Range(8, 64, whole=True), "form": Values(("mirror", "literal")),
        "flag": Values((True, False)), "limit": Values((3, None)),
    }  # fmt: skip
    assert digest(space) == digest(read_space(path, ENTRY)) != digest({"lr": space["lr"]})


def test_drawn_numbers_have_three_digits_and_stay_in_range():
    assert Range(0.0, 1.0).rounded(0.123456) == 0.123
    assert Range(0.12346, 1.0).rounded(0.12347) == 0.12346
    assert Range(1, 100_000, whole=True).rounded(12_345) == 12_345


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "names no hyper-parameter"),
        ({"lrr": [1]}, "Unknown hyper-parameter of toy 'lrr': did you mean 'lr'"),
        ({"lr": 3}, "toy.lr takes { low = 1e-5"),
        ({"lr": {"lo": 1, "high": 2}}, "Unknown entry of toy.lr 'lo': did you mean 'low'"),
        ({"lr": {"low": 1}}, "toy.lr takes low and high, which are numbers"),
        ({"lr": {"low": 2, "high": 1}}, "toy.lr goes from 2 to 1: low is below high"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, "and above 0 with log"),
        ({"lr": {"low": 0, "high": float("inf")}}, "which are numbers"),
        ({"lr": {"low": 0, "high": 1, "values": [1]}}, "toy.lr takes a list of values, and nothing beside it"),
        ({"lr": []}, "takes a list of values"),
        ({"lr": ["fast"]}, "toy.lr takes a number, not 'fast'"),
        ({"lr": [[1]]}, "takes texts, numbers"),
        ({"width": {"low": 8, "high": 9.5}}, "toy.width takes a whole number, not '9.5'"),
        ({"form": {"low": 1, "high": 2}}, "toy.form takes no numbers"),
    ],
)
def test_a_faulty_space_is_refused_in_one_sentence(space, message):
    with pytest.raises(UsageError, match=message):
        read_space(space, ENTRY)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "Cannot read the space"), (b"lr = [", "is not TOML"), (b"\xff", "not text in UTF-8")],
)
def test_a_file_that_is_none_is_named(tmp_path, content, message):
    path = tmp_path / "space.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_space(path, ENTRY)

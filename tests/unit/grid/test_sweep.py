"""How several values of a hyper-parameter are written, and what one value with commas is."""

import itertools

import pytest

from vhbench.errors import UsageError
from vhbench.grid.plan import Grid, plan
from vhbench.grid.sweep import combinations, split
from vhbench.plugins.registry import Registry
from vhbench.plugins.source import Parameter
from vhbench.runs.store import Store

RATE, FLAG = Parameter("rate", 0.1, "float"), Parameter("flag", True, "bool")
LIMIT = Parameter("limit", None, "int | None")
FORM, SIZES = Parameter("form", "mirror", "str"), Parameter("sizes", "250,500", "str")
UNTYPED = Parameter("form", "mirror", "")


@pytest.mark.parametrize(
    ("parameter", "given", "values"),
    [
        (RATE, "1e-4", ["1e-4"]),
        (RATE, "1e-4,3e-4", ["1e-4", "3e-4"]),
        (RATE, "1, 2 ,1", ["1", "2"]),
        (RATE, "[1|2]", ["1", "2"]),
        (RATE, ["1", "2", "1"], ["1", "2"]),
        (FLAG, "true,false", ["true", "false"]),
        (LIMIT, "3,none", ["3", "none"]),
        (FORM, "mirror", ["mirror"]),
        (FORM, "[mirror|literal]", ["mirror", "literal"]),
        (FORM, "[a,b]", ["a,b"]),
        (FORM, ["a,b", "[c|d]"], ["a,b", "[c|d]"]),
        (UNTYPED, "[a|b]", ["a", "b"]),
        (SIZES, "100,200,300", ["100,200,300"]),
        (SIZES, "[100,200|300]", ["100,200", "300"]),
        (FORM, '"quoted"', ['"quoted"']),
        (FORM, "a|b", ["a|b"]),
    ],
)
def test_values_are_divided_where_nothing_else_can_be_meant(parameter, given, values):
    assert list(split("m.x", parameter, given)) == values


@pytest.mark.parametrize(
    ("parameter", "given", "message"),
    [
        (FORM, "a,b", r"m.x takes a text, and 'a,b' may be one text or several: write '\[a,b\]' for one, '\[a\|b\]' "),
        (UNTYPED, "a,b", "may be one text or several"),
        (RATE, "1e-4,", "m.x has an empty value in '1e-4,'"),
        (RATE, "[]", r"m.x has an empty value in '\[\]'"),
        (FORM, "[a|]", "empty value"),
        (RATE, [], "m.x has an empty list of values"),
    ],
)
def test_what_is_not_clear_is_refused_in_one_sentence(parameter, given, message):
    with pytest.raises(UsageError, match=message):
        split("m.x", parameter, given)


def test_every_combination_is_a_setting_and_the_last_changes_first():
    found = combinations({"a": ["1", "2"], "b": ["3", "4"], "c": ["5"]})
    assert [(x["a"], x["b"], x["c"]) for x in found] == [(a, b, "5") for a in "12" for b in "34"]
    assert combinations({}) == [{}]


@pytest.fixture
def planned(tiny, out, fake_methods):
    def make(values, **options):
        grid = Grid(["fake"], [str(tiny)], [8, 16], params={"fake": values}, **options)
        return plan(grid, Registry([fake_methods]), Store(out), None)

    return make


def test_a_sweep_is_a_run_for_every_setting_length_and_seed(planned):
    cells = planned({"spread": "1,2", "epochs": ["3", "4"]}, seeds=[0, 1])
    found = [(c.spec.params["spread"], c.spec.params["epochs"], c.spec.bits, c.spec.seed) for c in cells]
    assert found == list(itertools.product((1.0, 2.0), (3, 4), (8, 16), (0, 1)))
    assert [c.spec.budget["epochs"] for c in cells[::4]] == [3, 4, 3, 4], "each setting has its own budget"
    assert cells[0].label == "fake [spread=1.0, epochs=3] on tiny, 8 bits, seed 0"


def test_one_value_in_two_spellings_is_one_run(planned):
    assert [cell.spec.params["spread"] for cell in planned({"spread": "0.001,1e-3"})] == [0.001, 0.001]


def test_a_single_value_is_no_sweep(planned):
    assert planned({"spread": "2"})[0].label == "fake on tiny, 8 bits, seed 0"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"spread": "1,wide"}, "fake.spread takes a number, not 'wide'"),
        ({"spred": "1,2"}, "Unknown hyper-parameter of fake 'spred': did you mean 'spread'"),
        ({"epochs": ["1", "2.5"]}, "fake.epochs takes a whole number, not '2.5'"),
    ],
)
def test_each_value_is_checked_before_anything_runs(planned, values, message):
    with pytest.raises(UsageError, match=message):
        planned(values)

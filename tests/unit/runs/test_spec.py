"""What a run is called: an identity that changes with everything that can change a number, and with nothing else."""

import dataclasses
import json

import pytest

from vhbench.errors import UsageError
from vhbench.grid.settings import Settings
from vhbench.method import Budget
from vhbench.plugins.entries import MethodEntry
from vhbench.plugins.source import Parameter
from vhbench.runs.spec import BUDGETS, RunSpec, budget_name, resolve_budget, resolve_params, resolve_preset

DIGESTS = {"train": "a" * 64, "query": "b" * 64, "database": "c" * 64, "relevance": "d" * 64}
SPEC = RunSpec(
    method="uvvh",
    params={"epochs": 80, "lr": 1e-3, "lengths": "mirror"},
    bits=64,
    seed=0,
    budget={"epochs": 80, "videos": None},
    precision="float32",
    protocol="toy",
    version=1,
    splits={"toy": DIGESTS},
)


def test_the_id_is_pinned():
    """If this fails, every result anybody has recorded is orphaned: raise the schema instead of changing the number."""
    assert SPEC.id == "f552fe23ed9ec53d1bc728cd5a0c127206f5c71a17073f03b3935b3af736e573"
    assert SPEC.folder == "toy/uvvh/64b-s0-f552fe23"


def test_the_id_does_not_depend_on_the_order_of_entries():
    turned = dataclasses.replace(
        SPEC,
        params=dict(reversed(SPEC.params.items())),
        budget=dict(reversed(SPEC.budget.items())),
        splits={"toy": dict(reversed(DIGESTS.items()))},
    )
    assert turned.id == SPEC.id


OTHER = {
    "method": ["uvvh-q"],
    "params": [{**SPEC.params, "lr": 1e-4}, {**SPEC.params, "width": 1}, {"epochs": 80}],
    "bits": [32],
    "seed": [1],
    "budget": [{"epochs": 20, "videos": None}, {"epochs": 80, "videos": 256}],
    "precision": ["bf16"],
    "protocol": ["other"],
    "version": [2],
    "normalize": ["l2", "whiten", "whiten=0.5"],
    "splits": [{"other": DIGESTS}, *({"toy": {**DIGESTS, role: "e" * 64}} for role in DIGESTS)],
}


def test_the_id_changes_with_every_field():
    assert set(OTHER) == {field.name for field in dataclasses.fields(RunSpec)}
    others = [dataclasses.replace(SPEC, **{name: value}).id for name, values in OTHER.items() for value in values]
    assert len({SPEC.id, *others}) == 1 + len(others)


def test_device_paths_and_workers_are_no_part_of_it():
    text = json.dumps(SPEC.to_json())
    assert not any(field.name in text for field in dataclasses.fields(Settings))


def test_a_specification_reads_back_from_its_json():
    assert RunSpec(**json.loads(json.dumps(SPEC.to_json()))).id == SPEC.id


def test_an_infinite_or_nan_hyper_parameter_has_no_id():
    with pytest.raises(ValueError):
        _ = dataclasses.replace(SPEC, params={"lr": float("nan")}).id


# budgets


@pytest.mark.parametrize(
    ("name", "epochs", "published", "budget"),
    [
        ("paper", None, 80, Budget(80, None)),
        ("quick", None, 80, Budget(20, None)),
        ("quick", None, 1, Budget(1, None)),
        ("smoke", None, 80, Budget(1, 256)),
        ("paper", 7, 80, Budget(7, None)),
        ("smoke", 7, 80, Budget(7, 256)),
        ("paper", None, None, Budget(None, None)),
        ("quick", 7, None, Budget(None, None)),
        ("smoke", None, None, Budget(None, 256)),
    ],
)
def test_budgets_are_resolved_against_the_published_epochs(name, epochs, published, budget):
    assert resolve_budget(name, epochs, published) == budget


@pytest.mark.parametrize(
    ("epochs", "videos", "published", "name"),
    [
        (80, None, 80, "paper"),
        (None, None, None, "paper"),
        (20, None, 80, "quick"),
        (1, 256, 80, "smoke"),
        (None, 256, None, "smoke"),
        (12, None, 80, "12 epochs"),
        (1, None, 80, "1 epoch"),
        (12, 256, 80, "12 epochs, 256 videos"),
        (80, 100, 80, "100 videos"),
    ],
)
def test_a_resolved_budget_has_a_short_true_name(epochs, videos, published, name):
    assert budget_name(epochs, videos, published) == name


def test_budgets_and_their_names_agree():
    for name in BUDGETS:
        budget = resolve_budget(name, None, 80)
        assert budget_name(budget.epochs, budget.videos, 80) == name


def test_wrong_budgets_are_refused():
    with pytest.raises(UsageError, match="did you mean 'quick'"):
        resolve_budget("quik", None, 80)
    with pytest.raises(UsageError, match="at least 1, not 0"):
        resolve_budget("paper", 0, 80)


# hyper-parameters


def entry(**parameters):
    """A method with parameters name=(default, annotation)."""
    return MethodEntry("m", "built-in", params={name: Parameter(name, *p) for name, p in parameters.items()})


@pytest.mark.parametrize(
    ("default", "annotation", "text", "value"),
    [
        (1, "int", "3", 3),
        (1, "int", " -3 ", -3),
        (1.0, "float", "1e-4", 1e-4),
        (1.0, "float", "2", 2.0),
        (True, "bool", "False", False),
        ("a", "str", "none", "none"),
        (None, "int | None", "None", None),
        (None, "int | None", "4", 4),
        (None, "Optional[int]", "4", 4),
        (None, "typing.Optional[float]", "none", None),
        (1, "int | float", "2.5", 2.5),
        (1, "int | float", "2", 2),
        ("a", "int | str", "b", "b"),
        (2, "", "3", 3),
        (0.5, "", "3", 3.0),
        ("a", "Literal['a', 'b']", "b", "b"),
        (2, "PositiveInt", "3", 3),
    ],
)
def test_texts_are_parsed_by_annotation_or_else_by_the_default(default, annotation, text, value):
    found = resolve_params(entry(x=(default, annotation), y=(0, "int")), {"x": text})
    assert found == {"x": value, "y": 0} and type(found["x"]) is type(value)


@pytest.mark.parametrize(
    ("default", "annotation", "text", "wanted"),
    [
        (1, "int", "1.5", "a whole number"),
        (1, "int", "", "a whole number"),
        (1.0, "float", "fast", "a number"),
        (1.0, "float", "nan", "a number"),
        (1.0, "float", "-inf", "a number"),
        (True, "bool", "1", "true or false"),
        (None, "int | None", "x", "a whole number or none"),
    ],
)
def test_texts_that_do_not_fit_are_refused(default, annotation, text, wanted):
    with pytest.raises(UsageError) as error:
        resolve_params(entry(x=(default, annotation)), {"x": text})
    assert str(error.value) == f"m.x takes {wanted}, not {text!r}."


def test_a_default_written_as_a_whole_number_is_the_same_run_as_its_text():
    whole = entry(dropout=(0, "float"), depth=(0, "int"), bias=(True, "bool"))
    (default, given) = (resolve_params(whole, changed) for changed in ({}, {"dropout": "0"}))
    assert json.dumps(default) == json.dumps(given) == '{"dropout": 0.0, "depth": 0, "bias": true}'


def test_an_unknown_hyper_parameter_names_the_nearest():
    with pytest.raises(UsageError, match=r"hyper-parameter of m 'spred': did you mean 'spread'\? `vhbench describe m`"):
        resolve_params(entry(spread=(1.0, "float")), {"spred": "2"})


PUBLISHED = MethodEntry(
    "m",
    "built-in",
    params={"lr": Parameter("lr", 1e-3, "float"), "epochs": Parameter("epochs", 800, "int")},
    presets={"fcvid": {}, "yfcc": {"epochs": 40, "lr": 1}},
)


def test_a_preset_stands_between_the_defaults_and_what_is_set():
    preset = resolve_preset(PUBLISHED, "yfcc", "anything")
    assert resolve_params(PUBLISHED, {}, preset) == {"lr": 1.0, "epochs": 40}
    assert type(resolve_params(PUBLISHED, {}, preset)["lr"]) is float
    assert resolve_params(PUBLISHED, {"epochs": "7"}, preset) == {"lr": 1.0, "epochs": 7}


@pytest.mark.parametrize(
    ("preset", "dataset", "epochs"),
    [
        ("auto", "yfcc", 40),
        ("auto", "ucf101", None),
        ("none", "yfcc", None),
        ("yfcc", "fcvid", 40),
        ("auto", "fcvid", None),
    ],
)
def test_auto_is_the_data_set_of_the_protocol_and_none_the_defaults(preset, dataset, epochs):
    assert resolve_preset(PUBLISHED, preset, dataset).get("epochs") == epochs


def test_a_method_with_one_setting_for_all_data_sets_takes_any_preset_and_one_with_several_only_its_own():
    plain = dataclasses.replace(PUBLISHED, presets={})
    assert resolve_preset(plain, "yfcc", "") == {}
    with pytest.raises(UsageError, match=r"preset of m.*'yfc'.*yfcc"):
        resolve_preset(PUBLISHED, "yfc", "")

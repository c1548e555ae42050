"""`--preset`: published settings by data set become a run's hyper-parameters."""

import json
import re
from pathlib import Path

import pytest

PLUGIN = Path(__file__).with_name("plugins") / "published_by_set.py"


@pytest.fixture
def params(vhbench, out):
    """Run methods on the demo and return each one's hyper-parameters and what its record calls changed."""

    def run(*words, methods="by-set,by-set-wide"):
        given = ("run", "--method", methods, "--bits", "8", "--protocol", "demo", "--plugin", PLUGIN, "--out", out)
        result = vhbench(*given, *words)
        assert result.code == 0, result.err
        records = [json.loads(path.read_text()) for path in out.glob("demo/*/*/run.json")]
        return [(r["spec"]["params"], r["changed"]) for r in sorted(records, key=lambda r: r["spec"]["method"])]

    return run


def test_the_protocols_own_preset_is_taken_unless_another_is_asked_for(params):
    (plain, wide) = params()
    assert plain == ({"spread": 2.0, "shift": 1}, {})
    assert wide == ({"spread": 9.0, "shift": 1}, {})  # what makes the variant stays


def test_settings_that_are_not_those_of_the_data_set_are_said_to_be_changed(params):
    (plain,) = params("--preset", "none", methods="by-set")
    assert plain == ({"spread": 1.0, "shift": 0}, {"spread": 1.0, "shift": 0})


def test_a_set_hyper_parameter_goes_before_the_preset(params):
    (plain,) = params("--preset", "demo", "--set", "by-set.spread=3", methods="by-set")
    assert plain == ({"spread": 3.0, "shift": 1}, {"spread": 3.0})


def test_a_record_is_repeated_with_the_settings_that_it_holds(vhbench, params, out, tmp_path):
    params("--preset", "none", methods="by-set")
    (record,) = out.glob("demo/*/*/run.json")
    again = vhbench("run", "--config", record, "--plugin", PLUGIN, "--out", tmp_path / "again", "--dry-run")
    assert again.code == 0 and not again.err, again.err
    (grid,) = out.glob("grids/*.json")
    kept = vhbench("run", "--config", grid, "--plugin", PLUGIN, "--out", out, "--dry-run")
    assert re.search(r"demo +by-set .* done +keep", kept.out), kept.out + kept.err


def test_an_unknown_preset_is_one_sentence_with_the_nearest(vhbench, out):
    words = ("run", "--method", "by-set", "--bits", "8", "--protocol", "demo", "--plugin", PLUGIN, "--out", out)
    result = vhbench(*words, "--preset", "fcvd")
    assert result.code == 2 and "preset 'fcvd'" in result.err and "'fcvid'" in result.err


def test_describe_shows_them_side_by_side(vhbench):
    text = vhbench("describe", "by-set", "--plugin", PLUGIN, "--frames", "4", "--dim", "8").out
    table = text[text.index("published settings, --preset") :].partition("\n\n")[0].splitlines()
    assert re.split(" {2,}", table[0].strip()) == ["published settings, --preset", "none", "fcvid", "demo"]
    assert [re.split(" {2,}", line.strip()) for line in table[2:]] == [
        ["by-set.spread", "1.0", "1.0", "2.0"],
        ["by-set.shift", "0", "0", "1"],
    ]

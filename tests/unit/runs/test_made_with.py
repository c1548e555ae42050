"""What a record says that its run was made with: options to add, never anything that is opened."""

import shlex
from pathlib import Path

import pytest

from vhbench.runs.made_with import MadeWith


def test_a_record_gives_back_what_was_given_quoted_for_a_shell():
    given = MadeWith.given("my sets/tiny.toml", "tiny", Path("my data"), [Path("a.py"), "b$(touch x).py"])
    entry = {"method": {"origin": "a.py"}, **given.to_json()}
    assert MadeWith.read(entry) == given
    words = ["--protocol", "my sets/tiny.toml", "--data", "my data", "--plugin", "a.py", "--plugin", "b$(touch x).py"]
    assert shlex.split(given.words()) == words
    assert given.words(protocol=False, plugins=False) == "--data 'my data'"


def test_a_run_on_a_built_in_protocol_without_data_says_nothing():
    assert MadeWith.given("demo", "demo", None, ()).to_json() == {}


def test_an_old_record_knows_the_file_of_its_method():
    assert MadeWith.read({"method": {"origin": "my/hash.py"}}) == MadeWith(plugins=("my/hash.py",))
    assert MadeWith.read({"method": {"origin": "built-in"}}) == MadeWith()


@pytest.mark.parametrize(
    "entry", [None, 3, [], {"protocol": 3, "data": ["x"], "plugins": "a.py"}, {"plugins": [3, None, "a\x1b[2J"]},
              {"protocol": "a\nb.toml", "data": "\x1b]0;x\x07"}],
)  # fmt: skip
def test_what_is_not_of_its_form_or_steers_a_terminal_counts_as_not_said(entry):
    assert MadeWith.read({"method": {"origin": "built-in"}, "made_with": entry}).words() == ""

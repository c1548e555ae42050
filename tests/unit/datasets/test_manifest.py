"""Mistakes in a manifest: each is named with its place."""

import pytest
from manifest_files import fault, split

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.errors import DataError, UsageError, VhbenchError


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": {"feature": ["a.h5"]}}, ["'feature'", "did you mean 'features'", "in table [train] of", "p.toml"]),
        ({"query": {"label": ["a.mat"]}}, ["'label'", "did you mean", "'labels'", "in table [query] of"]),
        ({"queries_in_databse": True}, ["'queries_in_databse'", "'queries_in_database'", "at the top level of"]),
        ({"zzz": 1}, ["'zzz'", "choose from", "budget"]),
    ],
)
def test_misspelt_keys_name_the_nearest_one(folder, changes, words):
    with pytest.raises(UsageError):
        split(folder, **changes)
    message = fault(folder, **changes)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": None}, "lacks `name` at the top level"),
        ({"query": None}, "lacks table [query] at the top level"),
        ({"query": {"labels": None}}, "lacks `labels` in table [query]"),
        ({"database": {"labels": None}}, "lacks `labels` in table [database]"),
        ({"train": {"features": None}}, "lacks `features` in table [train]"),
        ({"name": "a/b"}, "`name` in"),
        ({"name": ""}, "use only letters, digits"),
        ({"name": 5}, "is 5: it must be a text in quotes"),
        ({"version": 0}, "is 0: it must be a positive whole number"),
        ({"version": True}, "is True: it must be a positive whole number"),
        ({"synthetic": "yes"}, "is 'yes': it must be true or false"),
        ({"queries_in_database": 1}, "is 1: it must be true or false"),
        ({"budget": 3}, "is 3: it must be a text in quotes"),
        ({"train": "base.h5"}, "`train` at the top level"),
        ({"train": {"features": "base.h5"}}, "`features` in table [train]"),
        ({"train": {"features": []}}, "must list file names"),
        ({"query": {"labels": [1]}}, "`labels` in table [query]"),
        ({"query": {"count": "2"}}, "`count` in table [query]"),
        ({"ks": 5}, "is 5: it must be a list"),
        ({"ks": []}, "must list positive whole numbers"),
        ({"ks": [5, 0]}, "[5, 0]: it must list positive whole numbers"),
        ({"ks": [5.5]}, "must list positive whole numbers"),
        ({"ks": [True]}, "must list positive whole numbers"),
    ],
)
def test_wrong_or_missing_entries_name_their_place(folder, changes, words):
    message = fault(folder, **changes)
    assert words in message and str(folder / "p.toml") in message


def test_text_that_is_no_toml_names_the_line(tmp_path):
    (tmp_path / "p.toml").write_text("name = 'a'\nks = [1,\n\nx")
    with pytest.raises(DataError, match=r"p\.toml is not valid TOML: .*line 4"):
        load_manifest(tmp_path / "p.toml")
    (tmp_path / "p.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(DataError, match=r"p\.toml is not UTF-8 text .* save it as UTF-8"):
        load_manifest(tmp_path / "p.toml")


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no manifest .*nope\.toml"):
        load_manifest(tmp_path / "nope.toml")
    with pytest.raises(DataError, match=r"is a folder, not a file"):
        load_manifest(tmp_path)


HUGE = "9" * 5000
WHOLE = """name = "mine"
[train]
features = ["base.h5"]
[query]
features = ["query.h5"]
labels = ["query.mat"]
[database]
features = ["base.h5"]
labels = ["base.mat"]
"""


@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_read(folder, mark):
    (folder / "p.toml").write_bytes(WHOLE.encode(mark))
    assert load_manifest(folder / "p.toml").name == "mine"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"version = {HUGE}", "is not valid TOML"),
        (f"version = 0x{HUGE}", "`version` at the top level of"),
        (f"classes = {'9' * 4000}", "must be a positive whole number"),
        (f"dim = {2**31}", "must be a positive whole number"),
        (f"ks = [5, 0x{HUGE}]", "must list positive whole numbers"),
        (f"ks = [5, {2**40}]", "must list positive whole numbers"),
        ("frames = nan", "must be a positive whole number"),
        ("frames = 1e400", "must be a positive whole number"),
        (f"title = {'[' * 5000}{']' * 5000}", "is not valid TOML"),
        (f"published = {'[' * 300}{']' * 300}", "`published` in"),
        (f'folder = "{"f" * 300}"', "`folder` in"),
        ("variants.v.classes = nan", "must be a positive whole number"),
        (f"variants.v.classes = 0x{HUGE}", "must be a positive whole number"),
        ("synthetic = 1979-05-27", "must be true or false"),
        (f"{'k' * 5000} = 1", "Unknown manifest key"),
    ],
)
def test_absurd_values_are_one_short_sentence(folder, line, words):
    (folder / "p.toml").write_text(f"{line}\n{WHOLE}")
    with pytest.raises(VhbenchError) as caught:
        load_manifest(folder / "p.toml")
    message = str(caught.value)
    assert words in message and str(folder / "p.toml") in message and "\n" not in message
    assert len(message) < 400 + len(str(folder))

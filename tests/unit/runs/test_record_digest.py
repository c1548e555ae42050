"""A record that has changed, in a score or in a blank, is refused, and so is whatever stands beside it."""

import json
import re

import numpy as np
import pytest
from made_runs import Made, make_run

from vhbench.errors import StoreError
from vhbench.runs.record import DamagedError, read_record, write_record
from vhbench.runs.spec import digest_of
from vhbench.runs.train_log import read_log
from vhbench.system.files import sha256_of, write_json

FILES = ("run.json", "codes.npz", "per_query.npz", "curves.json", "train.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("digest"), Made(), epochs=(3.0, 2.0, 1.5))


@pytest.fixture
def restored(folder):
    """The folder, whose files are put back after the test."""
    before = {name: (folder / name).read_bytes() for name in FILES}
    yield folder
    for name, content in before.items():
        (folder / name).write_bytes(content)


def noticed(folder):
    """Say whether what reads a run refuses something in its folder."""
    try:
        record = read_record(folder / "run.json")
        read_log(folder, record.digests["train.jsonl"])
    except (StoreError, ValueError):
        return True
    return bool(record.damage(read=True))


@pytest.mark.parametrize(("name", "count"), [*zip(FILES, (600, 60, 60, 60, 60), strict=True)])
def test_no_flipped_bit_goes_unnoticed(restored, name, count):
    path = restored / name
    content = path.read_bytes()
    assert not noticed(restored)
    places = np.random.default_rng(0).choice(8 * len(content), count, replace=False)
    for place in places:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert noticed(restored), f"bit {place % 8} of byte {place // 8} of {name}"


@pytest.mark.parametrize("pattern", [rb'"schema": "vhbench.run/3"', rb'"digest": "[0-9a-f]{64}"\n}\n$', rb'"map@20\['])
def test_nor_does_one_in_the_schema_the_digest_or_the_name_of_a_score(restored, pattern):
    """Of the schema a flip makes another one that is read, run/1 or run/2."""
    path = restored / "run.json"
    content = path.read_bytes()
    found = re.search(pattern, content)
    for place in range(8 * found.start(), 8 * found.end()):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert noticed(restored), bytes(flipped[found.start() : found.end()])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"map@5[', '"map@6[', 1),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace('"seed": 0', '"seed":  0'),
        lambda text: text + "\n",
        lambda text: text.removesuffix("\n"),
        lambda text: json.dumps(json.loads(text)),
        lambda text: re.sub(r',\n "digest": .*\n}\n', "\n}\n", text),
        lambda text: text.replace('"synthetic": false', '"synthetic": true'),
        lambda text: re.sub(r'("digest": ")(.*)"', lambda found: f'{found[1]}{found[2].upper()}"', text),
    ],
    ids=["metric", "line ends", "blank", "longer", "shorter", "layout", "no digest", "flag", "capitals"],
)
def test_a_record_that_was_edited_is_refused_with_a_sentence(restored, change):
    path = restored / "run.json"
    text = path.read_bytes().decode()
    path.write_bytes(change(text).encode())
    assert path.read_bytes() != text.encode()
    with pytest.raises(DamagedError) as error:
        read_record(path)
    assert str(error.value) == (
        f"{path} is damaged (it was changed after it was written: its digest is not that of its content): "
        "`vhbench run` sets it aside and does the run again."
    )


def test_the_digest_is_the_sha256_of_all_before_its_digits(folder, tmp_path):
    """As results/README.md has it: `head -c -68 run.json | sha256sum`."""
    content = (folder / "run.json").read_bytes()
    (tmp_path / "head").write_bytes(content[:-68])
    assert (
        json.loads(content)["digest"] == sha256_of(tmp_path / "head") == read_record(folder / "run.json").data["digest"]
    )


def test_a_record_read_changed_and_written_has_a_new_digest(restored):
    record = read_record(restored / "run.json")
    written = write_record(restored, {**record.data, "budget": "quick", "reason": None})
    again = read_record(restored / "run.json")
    assert again == written and again.data["budget"] == "quick" and again.data["digest"] != record.data["digest"]
    assert list(again.data)[-1] == "digest"


def test_surrogates_and_letters_of_all_kinds_have_a_digest(tmp_path, folder):
    data = read_record(folder / "run.json").data
    write_record(tmp_path, {**data, "made_with": {"data": "gr\u00f6\u00dfe \udcff \U0001f600"}})
    assert read_record(tmp_path / "run.json").data["made_with"] == {"data": "gr\u00f6\u00dfe \udcff \U0001f600"}


@pytest.mark.parametrize("schema", ["vhbench.run/1", "vhbench.run/2"])
def test_old_records_need_none_but_one_that_they_have_is_compared(restored, schema):
    path = restored / "run.json"
    data = json.loads(path.read_text())
    assert data.pop("digest") and digest_of(data["spec"]) == data["id"]
    write_json(path, {**data, "schema": schema})
    assert not read_record(path).has_digest
    write_json(path, {**data, "schema": schema, "digest": "0" * 64})
    with pytest.raises(DamagedError, match="its digest is not that of its content"):
        read_record(path)


def test_a_log_that_goes_on_is_no_damage_but_no_curve_of_the_record(restored):
    """The run was begun again, and killed before its end: its record is still the old one."""
    (restored / "train.jsonl").write_text('{"epoch": 1, "loss": 9.0, "seconds": 1.0}\n')
    record = read_record(restored / "run.json")
    assert record.damage(read=True) == []
    with pytest.raises(ValueError, match="or the run was begun again"):
        read_log(restored, record.digests["train.jsonl"])
    assert [line["loss"] for line in read_log(restored)] == [9.0]

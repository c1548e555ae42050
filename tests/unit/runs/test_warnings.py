"""What to mistrust in a run: collapsed codes, scores near chance, hardly any training."""

import numpy as np
import pytest

from vhbench.codes import audit, faults
from vhbench.runs.record import Record
from vhbench.runs.warnings import all_warnings, steps_of, warnings_of
from vhbench.scoring import evaluate
from vhbench.scoring.splits import against_chance

DIGESTS = {"train": "a", "query": "b", "database": "a", "relevance": "c"}


def record(codes=None, **entries):
    spec = {"params": {}, "budget": {"epochs": None, "videos": None}, "splits": {"s": DIGESTS}}
    audits = {} if codes is None else {"audit": {"s": audit(codes)}}
    return Record(None, {"spec": {**spec, **entries.pop("spec", {})}, **audits, **entries, "digest": "0" * 64})


@pytest.fixture
def codes():
    return np.random.default_rng(0).integers(0, 2, (400, 16)).astype(bool)


def test_sound_codes_have_no_warning(codes):
    assert warnings_of(record(codes), "s") == {}


def test_constant_and_repeated_bits_few_codes_and_one_large_bucket(codes):
    codes[:, 3], codes[:, 5], codes[:, 7] = True, codes[:, 1], ~codes[:, 2]
    assert set(warnings_of(record(codes), "s").values()) == set(faults(audit(codes)))
    assert len(faults(audit(codes))) == 2
    few = codes[np.arange(400) % 3]
    assert set(warnings_of(record(few), "s").values()) == set(faults(audit(few)))
    assert len(faults(audit(few))) >= 3


def test_short_codes_in_balance_and_tiny_sets_are_no_collapse(codes):
    assert warnings_of(record(codes[:, :3]), "s") == {}
    assert warnings_of(record(np.zeros((31, 4), bool)), "s") == {}


def chance_of(codes, labels, ks=(20,), own=None):
    first = 100 if own is None else 0
    scores = evaluate(codes[:100], codes[first:], labels[:100], labels[first:], ks=ks, self_index=own)
    return {"chance": {"s": against_chance(scores)}}


def test_scores_within_noise_of_chance(codes):
    labels = np.random.default_rng(1).integers(0, 4, 400)
    assert "map@20" in warnings_of(record(**chance_of(codes, labels)), "s")["chance"]
    codes[:, 0], codes[:, 1] = labels % 2, labels // 2
    assert warnings_of(record(**chance_of(codes, labels)), "s") == {}


def test_a_query_that_finds_itself_first_is_not_above_chance_for_it(codes):
    labels = np.random.default_rng(1).integers(0, 4, 400)
    entry = chance_of(codes, labels, own=np.arange(100))
    assert "self=drop" in entry["chance"]["s"]["metric"]
    assert "without the query itself" in warnings_of(record(**entry), "s")["chance"]


@pytest.mark.parametrize(
    ("videos", "batch", "epochs", "limit", "steps"),
    [(1341, 256, 20, None, 120), (65, 32, 3, None, 6), (66, 32, 3, None, 9), (1341, 256, 20, 300, 40)],
)
def test_steps_are_counted_as_the_training_loop_does(videos, batch, epochs, limit, steps):
    spec = {"params": {"batch_size": batch}, "budget": {"epochs": epochs, "videos": limit}}
    assert steps_of(spec, videos) == steps


def test_few_steps_recorded_or_derived(codes):
    few = {"params": {"batch_size": 100}, "budget": {"epochs": 10, "videos": None}}
    assert warnings_of(record(codes, spec=few), "s") == {"steps": "trained for 40 steps only"}
    assert warnings_of(record(codes, spec=few, steps=300), "s") == {}
    elsewhere = {**few, "splits": {"s": {**DIGESTS, "database": "d"}}}
    assert warnings_of(record(codes, spec=elsewhere), "s") == {}, "how many videos it trained on is not known"


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {"s": None},
        {"s": {"n": "many"}},
        {"s": {"n": 1e308}},
        {"s": dict.fromkeys(audit(np.eye(40) > 0), 1e308)},
    ],
)
def test_entries_of_another_form_give_no_warning(entry):
    assert all_warnings(record(audit=entry, chance=entry, steps="few")) == []


def test_a_record_without_a_digest_is_marked_once(codes):
    with_digest = record(codes, spec={"splits": {"s": DIGESTS, "t": DIGESTS}})
    without = Record(None, {name: value for name, value in with_digest.data.items() if name != "digest"})
    assert all_warnings(with_digest) == [] and list(warnings_of(without, "t")) == ["digest"]
    assert [text.partition(",")[0] for text in all_warnings(without)] == ["the record has no digest"]

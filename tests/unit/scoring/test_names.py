import pytest

from vhbench.errors import UsageError
from vhbench.scoring import CONVENTIONS, Metric, record_metrics, recorded_metrics


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("map@20", "map@20[den=k,ties=expected,self=keep]"),
        (" mAP@20 ", "map@20[den=k,ties=expected,self=keep]"),
        ("map@20[]", "map@20[den=k,ties=expected,self=keep]"),
        ("map@5[ties=best]", "map@5[den=k,ties=best,self=keep]"),
        ("map@5[self=drop, den=min]", "map@5[den=min,ties=expected,self=drop]"),
        ("map@5[den=hits,ties=index]", "map@5[den=hits,ties=index,self=keep]"),
        ("precision@100", "precision@100[ties=expected,self=keep]"),
        ("recall@1[ties=worst]", "recall@1[ties=worst,self=keep]"),
        ("nDCG@20", "ndcg@20[ties=expected,self=keep]"),
        ("MRR", "mrr[ties=expected,self=keep]"),
        ("mrr[self=drop,ties=best]", "mrr[ties=best,self=drop]"),
        ("precision@r2", "precision@r2[self=keep]"),
        (" Precision@R0[ self = drop ]", "precision@r0[self=drop]"),
    ],
)
def test_literature_fills_in_what_is_not_said(text, full):
    assert str(Metric.parse(text)) == full
    assert Metric.parse(full) == Metric.parse(full, "strict") == Metric.parse(text)


def test_strict_drops_the_self_match_only_where_there_is_one():
    assert str(Metric.parse("map@5", "strict")) == "map@5[den=min,ties=expected,self=drop]"
    assert str(Metric.parse("map@5", "strict", in_database=False)) == "map@5[den=min,ties=expected,self=keep]"
    assert str(Metric.parse("recall@5", "strict")) == "recall@5[ties=expected,self=drop]"
    assert str(Metric.parse("mrr", "strict")) == "mrr[ties=expected,self=drop]"
    assert str(Metric.parse("precision@r2", "strict")) == "precision@r2[self=drop]"
    assert str(Metric.parse("precision@r2", "strict", in_database=False)) == "precision@r2[self=keep]"


@pytest.mark.parametrize(
    ("name", "kind", "k", "radius"),
    [("map@20", "map", 20, None), ("precision@5", "precision", 5, None), ("precision@r2", "precision", None, 2),
     ("mrr", "mrr", None, None), ("ndcg@100", "ndcg", 100, None)],
)  # fmt: skip
def test_the_parts_of_a_name(name, kind, k, radius):
    for options in ("", "[self=drop]"):
        metric = Metric.parse(f"{name}{options}")
        assert (metric.name, metric.kind, metric.k, metric.radius) == (name, kind, k, radius)


def test_the_metrics_of_a_record_are_those_of_its_main_split_that_this_version_knows():
    names = ["map@5[den=k,ties=best,self=keep]", "other/map@5[den=k,ties=best,self=keep]", "gini[self=keep]", "mrr"]
    assert [str(metric) for metric in recorded_metrics(names)] == [names[0], "mrr[ties=expected,self=keep]"]


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("in_database", [True, False])
def test_every_recorded_name_reads_back_as_itself(in_database, empty):
    metrics = record_metrics((5, 20), in_database, empty)
    assert len(set(metrics)) == len(metrics)
    for metric in metrics:
        for convention in CONVENTIONS:
            assert Metric.parse(str(metric), convention) == metric


def test_the_record_holds_both_presets_the_bounds_of_map_and_one_number_for_what_has_no_k():
    names = [str(metric) for metric in record_metrics([20], in_database=True)]
    assert names == [
        "map@20[den=k,ties=expected,self=keep]",
        "map@20[den=min,ties=expected,self=drop]",
        "map@20[den=k,ties=best,self=keep]",
        "map@20[den=k,ties=worst,self=keep]",
        "map@20[den=k,ties=expected,self=drop]",
        "precision@20[ties=expected,self=keep]",
        "precision@20[ties=expected,self=drop]",
        "recall@20[ties=expected,self=keep]",
        "recall@20[ties=expected,self=drop]",
        "ndcg@20[ties=expected,self=keep]",
        "ndcg@20[ties=expected,self=drop]",
        "mrr[ties=expected,self=keep]",
        "mrr[ties=expected,self=drop]",
        "precision@r2[self=keep]",
        "precision@r2[self=drop]",
    ]
    outside = [str(metric) for metric in record_metrics([5, 20], in_database=False)]
    assert not any("drop" in name for name in outside)
    assert [name for name in outside if "@5[" not in name and "@20[" not in name] == [
        "mrr[ties=expected,self=keep]", "precision@r2[self=keep]",
    ]  # fmt: skip


def test_what_becomes_of_queries_without_a_relevant_item_is_named_only_where_it_is_not_the_default():
    assert str(Metric.parse("map@20[empty=skip]")) == "map@20[den=k,ties=expected,self=keep]"
    zero = "map@20[den=k,ties=expected,self=keep,empty=zero]"
    assert str(Metric.parse("map@20[empty=zero]")) == zero
    assert zero in map(str, record_metrics([20], False, empty=True))
    assert str(Metric.parse("precision@r2[empty=zero]")) == "precision@r2[self=keep,empty=zero]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("map@20[empty=0]", "Unknown treatment of queries without a relevant item '0'"),
        ("mapp@20", "Unknown metric 'mapp': did you mean 'map'"),
        ("map", "write it like map@20"),
        ("map@-1", "write it like map@20"),
        ("map@0", "at least 1"),
        ("map@5[den=kk]", "Unknown denominator 'kk': did you mean 'k'"),
        ("map@5[ties=expect]", "Unknown order of ties 'expect': did you mean 'expected'"),
        ("map@5[self=dropp]", "Unknown self match 'dropp': did you mean 'drop'"),
        ("map@5[tie=best]", "Unknown metric option 'tie': did you mean 'ties'"),
        ("map@5[ties]", "has no value"),
        ("precision@5[den=k]", "Unknown metric option 'den'"),
        ("precision@r2[ties=best]", "Unknown metric option 'ties'"),
        ("mrr[den=k]", "Unknown metric option 'den'"),
        ("mrr@10", "There is no metric 'mrr@10': write it like mrr, in full mrr[ties=expected,self=keep]"),
        ("recall@r2", "There is no metric 'recall@r2': write it like recall@20,"),
        ("precision", "There is no metric 'precision': write it like precision@20 or precision@r2, in full"),
        ("precision@r", "write it like map@20"),
        ("map@" + "9" * 5000, "write it like map@20"),
        ("map@5[den=hits]", "den=hits is defined for ties=index only, not for ties=expected"),
    ],
)
def test_a_wrong_name_is_explained(text, message):
    with pytest.raises(UsageError) as error:
        Metric.parse(text)
    assert message in str(error.value)


def test_a_wrong_convention_is_explained():
    with pytest.raises(UsageError, match="did you mean 'strict'"):
        Metric.parse("map@5", "stricct")


def test_precision_has_no_denominator():
    with pytest.raises(UsageError, match="no option 'den'"):
        Metric("precision", 5, "k")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("map",), "There is no metric 'map'"),
        (("mrr", 5), "There is no metric 'mrr@5'"),
        (("precision", 5, None, "expected", "keep", 2), "There is no metric 'precision@5@r2'"),
        (("precision", None, None, "expected", "keep", -1), "radius must be at least 0"),
        (("precision", None, None, "best", "keep", 2), "precision@r2 has no option 'ties'"),
        (("ndcg", 5, "min"), "ndcg@5 has no option 'den'"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(UsageError) as error:
        Metric(*values)
    assert message in str(error.value)

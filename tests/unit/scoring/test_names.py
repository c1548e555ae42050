import pytest

from vhbench.errors import UsageError
from vhbench.scoring import CONVENTIONS, Metric, record_metrics


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
    ],
)
def test_literature_fills_in_what_is_not_said(text, full):
    assert str(Metric.parse(text)) == full
    assert Metric.parse(full) == Metric.parse(full, "strict") == Metric.parse(text)


def test_strict_drops_the_self_match_only_where_there_is_one():
    assert str(Metric.parse("map@5", "strict")) == "map@5[den=min,ties=expected,self=drop]"
    assert str(Metric.parse("map@5", "strict", in_database=False)) == "map@5[den=min,ties=expected,self=keep]"
    assert str(Metric.parse("recall@5", "strict")) == "recall@5[ties=expected,self=drop]"


@pytest.mark.parametrize("in_database", [True, False])
def test_every_recorded_name_reads_back_as_itself(in_database):
    metrics = record_metrics((5, 20), in_database)
    assert len(set(metrics)) == len(metrics)
    for metric in metrics:
        for convention in CONVENTIONS:
            assert Metric.parse(str(metric), convention) == metric


def test_the_record_holds_both_presets_the_bounds_and_precision_and_recall():
    names = [str(metric) for metric in record_metrics([20], in_database=True)]
    assert names == [
        "map@20[den=k,ties=expected,self=keep]",
        "map@20[den=min,ties=expected,self=drop]",
        "map@20[den=k,ties=best,self=keep]",
        "map@20[den=k,ties=worst,self=keep]",
        "precision@20[ties=expected,self=keep]",
        "precision@20[ties=expected,self=drop]",
        "recall@20[ties=expected,self=keep]",
        "recall@20[ties=expected,self=drop]",
    ]
    assert not any("drop" in str(metric) for metric in record_metrics([20], in_database=False))


@pytest.mark.parametrize(
    ("text", "message"),
    [
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

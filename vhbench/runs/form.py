"""What records and kept models must look like, so that whoever reads one can rely on it. More entries are no fault."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from vhbench.plugins.entries import NAME

STATUSES = ("done", "failed", "skipped")
PARTS = ("train", "query", "database", "relevance")
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # a plain name, which leads nowhere else
METRIC = re.compile(r"(.+/)?[a-z]+(@r?[0-9]{1,9})?(\[.*\])?")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST = 1 << 40  # of whatever is counted
ROUNDING = 1e-6  # by which a score may pass 1

Check = Callable[[Any, str], None]


class FormError(ValueError):
    """An entry of a record is missing or not of its form; the message says which and what it should be."""


def check_record(data: Any) -> None:
    """Raise FormError unless this value has the form of a record."""
    environment = {**dict.fromkeys(("cpu", "gpu", "features"), _or_none(_text)), "threads": _or_none(_count)}
    _entries(
        {"id": _sha256, "status": _one_of(STATUSES), "reason": _or_none(_text), "spec": _spec, "method": _method},
        {"digest": _sha256, "files": _names(_sha256), "sizes": _names(_count), "data": _mapping(_mapping(_anything))},
    )(data, "")
    if data["status"] != "done":
        _require(bool(data["reason"]), "reason", "a text")
        return
    _entries(
        {
            "scores": _scores, "queries": _mapping(_queries), "budget": _text, "changed": _mapping(_anything),
            "synthetic": _flag, "timing": _mapping(_positive),
            "environment": _entries({"finished": _text}, environment),
        },
        {
            "audit": _mapping(_mapping(_or_none(_number))), "chance": _mapping(_mapping(_anything)),
            "memory": _or_none(_mapping(_or_none(_positive))),
            "learnt_numbers": _or_none(_count), "selection": _or_none(_text), "vhbench": _or_none(_text),
            "in_domain": _entries({"protocol": _text, "id": _text, "gain": _or_none(_mapping(_or_none(_number)))}, {}),
            "cut_from": _entries({"id": _text, "bits": _count}, {}), "rescored": _mapping(_anything),
            "at_epochs": _mapping(_scores),
        },
    )(data, "")  # fmt: skip
    splits = data["spec"]["splits"]
    _require(bool(splits), "spec.splits", "a split at least")
    for split in splits:
        _require(split in data["queries"], f"queries.{split}", "there")


def check_model(data: Any) -> None:
    """Raise FormError unless this value has the form of a kept model's `model.json`."""
    method = {"name": _name, "class": _text, "bits": _whole(1), "params": _mapping(_anything), "fingerprint": _text}
    inputs = {"frames": _whole(1), "dim": _whole(1), "frames_kept": _list(_count)}
    array = _entries({"dtype": _text, "shape": _list(_count), "order": _one_of(("C", "F"))}, {})
    _entries(
        {
            "run": _or_none(_sha256), "method": _entries(method, {}), "bits": _whole(1), "normalize": _text,
            "inputs": _entries(inputs, {}), "stamp": _or_none(_mapping(_anything)), "values": _mapping(_scalar),
            "arrays": _mapping(array), "files": _names(_sha256),
        },
        {},
    )(data, "")  # fmt: skip
    _require(data["bits"] <= data["method"]["bits"], "bits", "at most those that its method was trained for")


def _spec(value: Any, where: str) -> None:
    _entries(
        {
            "method": _name, "params": _mapping(_anything), "bits": _whole(1), "seed": _whole(0, math.inf),
            "budget": _entries({}, {"epochs": _or_none(_whole(1)), "videos": _or_none(_whole(1))}),
            "precision": _name, "protocol": _name, "version": _count, "splits": _splits,
        },
        {},
    )(value, where)  # fmt: skip


def _method(value: Any, where: str) -> None:
    _entries({"fingerprint": _text}, {"origin": _or_none(_text)})(value, where)


def _splits(value: Any, where: str) -> None:
    _mapping(_parts)(value, where)
    for name in value:
        _printable(name, f"{where}.{name}")


def _parts(value: Any, where: str) -> None:
    _mapping(_printable)(value, where)
    _require(value.keys() <= {*PARTS}, where, f"parts of a split: {', '.join(PARTS)}")


def _queries(value: Any, where: str) -> None:
    counts, more = ("total", "scored"), ("scored_without_self", "not_in_database")
    _entries(dict.fromkeys(counts, _count), dict.fromkeys(more, _count))(value, where)
    for name in (*counts, *more):
        _require(value.get(name, 0) <= value["total"], f"{where}.{name}", "at most their total")


def _scores(value: Any, where: str) -> None:
    _mapping(_or_none(_share))(value, where)
    for name in value:
        _require(METRIC.fullmatch(name) is not None, f"{where}.{name}", "a metric, as map@20[...]")


def _names(check: Check) -> Check:
    def names(value: Any, where: str) -> None:
        _mapping(check)(value, where)
        for name in value:
            _require(FILE.fullmatch(name) is not None, f"{where}.{name}", "the name of a file in the run's folder")

    return names


def _name(value: Any, where: str) -> None:
    """Check a name by which something is looked up: a path is none, nor is that of a manifest."""
    sound = isinstance(value, str) and NAME.fullmatch(value) and ".toml" not in value
    _require(bool(sound), where, "a name of letters, digits, '.', '_' and '-', and no file's")


def _sha256(value: Any, where: str) -> None:
    _require(isinstance(value, str) and SHA256.fullmatch(value) is not None, where, "a sha256")


def _text(value: Any, where: str) -> None:
    _require(isinstance(value, str), where, "a text")


def _printable(value: Any, where: str) -> None:
    _text(value, where)
    _require(bool(value) and value.isprintable(), where, "text that can be printed")


def _flag(value: Any, where: str) -> None:
    _require(isinstance(value, bool), where, "true or false")


def is_number(value: Any) -> bool:
    """Say whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any, where: str) -> None:
    _require(is_number(value), where, "a number")


def _positive(value: Any, where: str) -> None:
    _number(value, where)
    _require(value >= 0, where, "a number from 0 up")


def _share(value: Any, where: str) -> None:
    _number(value, where)
    _require(0 <= value <= 1 + ROUNDING, where, "a number from 0 to 1")


def _whole(least: int, most: float = MOST) -> Check:
    def whole(value: Any, where: str) -> None:
        sound = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        _require(sound, where, f"a whole number from {least} up")

    return whole


_count = _whole(0)


def _anything(value: Any, where: str) -> None:
    """Accept a value of any form."""


def _scalar(value: Any, where: str) -> None:
    _require(value is None or isinstance(value, bool | int | float | str), where, "no list and no object")


def _one_of(names: tuple[str, ...]) -> Check:
    return lambda value, where: _require(value in names, where, f"one of {', '.join(names)}")


def _or_none(check: Check) -> Check:
    return lambda value, where: None if value is None else check(value, where)


def _list(check: Check) -> Check:
    def items(value: Any, where: str) -> None:
        _require(isinstance(value, list), where, "a list")
        for item in value:
            check(item, where)

    return items


def _mapping(check: Check) -> Check:
    def mapping(value: Any, where: str) -> None:
        _require(isinstance(value, dict), where, "an object")
        for name, inner in value.items():
            check(inner, f"{where}.{name}")

    return mapping


def _entries(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    def entries(value: Any, where: str) -> None:
        _require(isinstance(value, dict), where, "an object")
        for name, check in required.items():
            _require(name in value, f"{where}.{name}", "there")
            check(value[name], f"{where}.{name}")
        for name, check in optional.items():
            if name in value:
                check(value[name], f"{where}.{name}")

    return entries


def _require(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise FormError(f"its {where.lstrip('.')} should be {what}" if where else f"it should be {what}")

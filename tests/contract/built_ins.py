"""The built-in methods as the contract's tests make them."""

from __future__ import annotations

from dataclasses import replace

from vhbench.plugins.entries import BUILT_IN, MethodEntry
from vhbench.plugins.registry import Registry

# no rule depends on how deep or wide a network is; `vhbench check` takes the published sizes
SMALLER = {
    "conmh": {"blocks": 2},
    "autossvh": {"blocks": 2},
    "s5vh": {"blocks": 2, "width": 64, "decoder_width": 48},
    "mcmsh": {"width": 64},
    "wsch": {"width": 256, "decoder_width": 256},
}


def built_ins() -> list[MethodEntry]:
    """Return every built-in method and variant."""
    return [_smaller(entry) for entry in Registry().methods() if entry.origin == BUILT_IN]


def _smaller(entry: MethodEntry) -> MethodEntry:
    sizes = SMALLER.get(entry.name, {})
    params = {name: replace(p, default=sizes.get(name, p.default)) for name, p in entry.params.items()}
    assert sizes.keys() <= params.keys()
    return replace(entry, params=params)

"""Writing the page: one file with its style, its script and its data inside, and nothing asked of a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from vhbench.errors import UsageError
from vhbench.plugins.registry import Registry
from vhbench.report.page.gather import gather
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store
from vhbench.system.files import atomic_write

SCRIPTS = (
    "dom.js", "state.js", "looks.js", "scales.js", "charts.js", "follow.js", "side.js", "tables.js", "results.js",
    "curves.js", "queries.js", "pairs.js", "codes.js", "training.js", "runs.js", "reading.js", "page.js",
)  # fmt: skip
STYLES = ("base.css", "layout.css", "tables.css", "charts.css", "print.css")
PLACE = re.compile(r"\{\{(\w+)\}\}")


def write_page(
    path: Path,
    store: Store,
    choice: Choice,
    *,
    protocols: Sequence[str] = (),
    data: Path | None = None,
    registry: Registry | None = None,
) -> list[str]:
    """Write the report of a results folder.

    Args:
        path: the HTML file; an existing one is replaced.
        store: the results folder.
        choice: which methods and code lengths, the metric that the page opens with and whose AP it has query by query
            (a map), and the convention it opens with; its protocols play no part.
        protocols: which protocols, by name or by the path of a manifest; empty: all. A path also says where the labels
            are of a protocol that vhbench does not know by name.
        data: the data folder, for labels.
        registry: finds protocols, and the methods whose source may have changed since.

    Returns:
        What the page lacks and why, a sentence each; it says so itself too.

    Raises:
        UsageError: an unknown name, a metric that no run has recorded or that is no map, or no run at all.
        DataError: a manifest is missing or faulty.
        StoreError: the file cannot be written.
    """
    registry = registry or Registry()
    chosen = registry.protocol_names(protocols)
    paths = [text for name, text in zip(chosen, protocols, strict=True) if name != text]
    named = {protocol.name: protocol for text in paths for _, protocol in registry.to_run(text)}
    content = gather(
        store,
        Choice(chosen, choice.methods, choice.bits, choice.metrics, choice.convention),
        registry,
        named,
        data,
        path.resolve().parent,
    )
    if not any(content[name] for name in ("runs", "unfinished", "damaged")):
        raise UsageError(f"There are no recorded runs in {store.root}: `vhbench run` makes some.")
    with atomic_write(path) as file:
        file.write(render_page(content).encode(errors="backslashreplace"))  # half a character: JSON's own escape
    return list(content["lacking"])


def render_page(content: Mapping[str, Any]) -> str:
    """Put the page together.

    Args:
        content: what `gather` returns.
    """
    templates = files("vhbench.report.page") / "templates"
    style, script = (
        "\n".join((templates / name).read_text(encoding="utf-8") for name in names) for names in (STYLES, SCRIPTS)
    )
    parts = {
        "title": html.escape(content["title"]),
        "policy": _policy(script, style),
        "style": style,
        "script": script,
        "data": _embedded(content),
    }
    page = (templates / "page.html").read_text(encoding="utf-8")
    return PLACE.sub(lambda place: parts[place[1]], page)


def _policy(script: str, style: str) -> str:
    """Return a content security policy: this script, this style and embedded pictures only; no connection anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _embedded(content: Mapping[str, Any]) -> str:
    """Return JSON that no text in it can end, whatever it holds: `<` is written as an escape."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

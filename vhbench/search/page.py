"""Neighbours on one HTML page with pictures: no script, and nothing asked of a network."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from vhbench.search.answers import Neighbour
from vhbench.search.gallery import Gallery
from vhbench.search.queries import Queries
from vhbench.search.thumbnails import Thumbnails
from vhbench.system.files import atomic_write
from vhbench.system.text import plain

PLACE = re.compile(r"\{\{(\w+)\}\}")
POLICY = "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'"
MOST = 100  # queries on a page


def write_page(
    path: Path,
    gallery: Gallery,
    queries: Queries,
    answers: Sequence[Sequence[Neighbour]],
    thumbnails: Thumbnails,
) -> None:
    """Write neighbours as a page; an existing file is replaced.

    Args:
        path: the page.
        gallery: where they are from.
        queries: what was searched for.
        answers: what `find` returned.
        thumbnails: finds pictures of videos.

    Raises:
        StoreError: the file cannot be written.
    """
    page = render(gallery, queries, answers, thumbnails)
    with atomic_write(path) as file:
        file.write(page.encode(errors="backslashreplace"))


def render(gallery: Gallery, queries: Queries, answers: Sequence[Sequence[Neighbour]], thumbnails: Thumbnails) -> str:
    """Return the page; arguments as for `write_page`."""
    shown = [*zip(queries.names, answers, strict=True)][:MOST]
    sections = "\n".join(
        _section(number, name, near, gallery, queries, thumbnails) for number, (name, near) in enumerate(shown)
    )
    notes = ["The distance is the number of bits in which two codes differ; ties stand in the order of rows."]
    if queries.row is not None:
        notes.append(f"The query is row {queries.row} of the gallery and left out of its own neighbours.")
    if len(answers) > MOST:
        notes.append(f"These are the first {MOST} of {len(answers)} queries.")
    if words := thumbnails.words():
        notes.append(f"{words[0].upper()}{words[1:]}.")
    by = f" by {gallery.about['method']}" if isinstance(gallery.about.get("method"), str) else ""
    listed = "".join(f'<li><a href="#query-{i}">{_text(name)}</a></li>' for i, (name, _) in enumerate(shown))
    templates = files("vhbench.search") / "templates"
    style = (templates / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    parts = {
        "title": _text(f"vhbench search: {gallery.folder.resolve().name}"),
        "policy": POLICY.format(digest),
        "style": style,
        "summary": _text(f"{len(answers[0])} nearest of {len(gallery):,} codes of {gallery.bits} bits{by}."),
        "notes": "\n  ".join(f'<p class="note">{_text(note)}</p>' for note in notes),
        "contents": f'<nav aria-label="Queries"><ol>{listed}</ol></nav>' if len(shown) > 1 else "",
        "sections": sections,
    }
    page = (templates / "page.html").read_text(encoding="utf-8")
    return PLACE.sub(lambda place: parts[place[1]], page)


def _section(
    number: int,
    name: str,
    near: Sequence[Neighbour],
    gallery: Gallery,
    queries: Queries,
    thumbnails: Thumbnails,
) -> str:
    """Return the part of the page on one query."""
    address = thumbnails.of_file(queries.video) if queries.video else thumbnails.of_name(name)
    picture = f'<span class="picture query"><img src="{address}" alt=""></span>\n' if address else ""
    items = "\n".join(_item(neighbour, gallery.bits, thumbnails) for neighbour in near)
    return (
        f'<section aria-labelledby="query-{number}"><h2 id="query-{number}">{_text(name)}</h2>\n{picture}'
        f'<ol class="neighbours">\n{items}\n</ol></section>'
    )


def _item(neighbour: Neighbour, bits: int, thumbnails: Thumbnails) -> str:
    address = thumbnails.of_name(neighbour.name)
    picture = f'<img src="{address}" alt="">' if address else "no picture"
    called = _text(neighbour.name) if neighbour.name is not None else f"row {neighbour.row}"
    return (
        f'<li><span class="picture">{picture}</span><span class="rank">{neighbour.rank}</span>'
        f'{called}<span class="distance">{neighbour.distance} of {bits} bits, id {neighbour.id}</span>'
        f'<svg class="bar" width="100%" aria-hidden="true"><rect width="{100 * neighbour.distance / bits:.4g}%" '
        'height="100%"/></svg></li>'
    )


def _text(text: object) -> str:
    return html.escape(plain(text))

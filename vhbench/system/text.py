r"""Text from others, made harmless: one function an output form.

Results, manifests and published numbers come from other people, and so do the names and reasons in them. Wherever such
a text is written, it goes through the function of that form; what is only data (JSON, the page's) needs none.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Any

MARKDOWN = re.compile(r"[\\`*_<>|&~$]|\](?=[(\[:])|(?<=\w)(?=://)|(?<=\bwww)(?=\.)", re.IGNORECASE)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FORMULA = re.compile(r"\s*[=+\-@]")
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': "''", "±": r"$\pm$", "≤": r"$\leq$", "†": r"$^{\dagger}$", "§": r"$^{\S}$",
    "‡": r"$^{\ddagger}$", "¶": r"$^{\P}$",
    "×": r"$\times$", "·": r"$\cdot$", "–": r"\textendash{}", "—": r"\textemdash{}", "’": "'", "…": r"\ldots{}",
    **{digit: rf"\textsuperscript{{{number}}}" for number, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}  # fmt: skip
LATEX_PLAIN = re.compile(r"[\x20-\x7eÀ-ÏÑ-ÖØ-Ýß-ïñ-öø-ýÿ]")  # what pdfLaTeX prints with its default fonts


def plain(text: object) -> str:
    """Return text on one line without characters that steer a terminal, change the direction of writing, or are none.

    For terminals, logs and figures. Colours go; any other such character, a lone surrogate too, becomes [U+....].
    """
    line = str(text)
    if line.isprintable():
        return line
    line = COLOUR.sub("", line)
    return "".join(c if c.isprintable() else f"[U+{ord(c):04X}]" for c in " ".join(line.split()))


def shell(word: str | os.PathLike[str]) -> str:
    r"""Return a word as a shell takes it; one that a terminal cannot show as it is is written as in $'\x1b'."""
    text = os.fspath(word)
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_shell_character(c) for c in text) + "'"


def markdown(text: str) -> str:
    """Return text in which nothing is Markdown: no emphasis, cell, link, picture, HTML or formula."""
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", plain(text))


def latex(text: str) -> str:
    """Return text in which nothing is a LaTeX command; a character that pdfLaTeX's fonts lack becomes [U+....]."""
    safe = "".join(LATEX.get(c) or (c if LATEX_PLAIN.match(c) else f"[U+{ord(c):04X}]") for c in text)
    return safe.replace("--", "-{}-")  # two hyphens would become a dash


def csv_cell(value: Any) -> Any:
    """Return a value as a cell that no spreadsheet takes for a formula; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if FORMULA.match(text) else text


def _shell_character(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    from_a_name = "\udc80" <= character <= "\udcff"  # an octet of a file name that is not UTF-8
    octets = character.encode(errors="surrogateescape" if from_a_name else "surrogatepass")
    return "".join(f"\\x{octet:02x}" for octet in octets)

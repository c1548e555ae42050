"""Text from others in every output form: it says what it says and does nothing."""

import csv
import io
import subprocess

import pytest

from vhbench.system.text import csv_cell, latex, markdown, plain, shell

HOSTILE = [
    "\x1b[2J\x1b]0;title\x07", "a\nb\r\nc", "\u202eevil", "\ud800\udcff", "\x9b31m", "a\tb\x00", "\u200bzero", "\x7f",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("form", [plain, markdown, latex, csv_cell, shell])
def test_no_form_lets_a_character_through_that_steers_or_is_none(form, text):
    assert form(text).isprintable()


def test_usual_text_stays_as_it_is():
    for text in ("uvvh [lr=0.1, epochs=5]", "größe", "日本", "a/b-c_d.e"):
        assert plain(text) == csv_cell(text) == text
    assert markdown("größe [lr=0.1] (a)") == "größe [lr=0.1] (a)"
    assert [csv_cell(value) for value in (0.5, None, 3, True)] == [0.5, None, 3, True]


def test_what_cannot_be_shown_is_told():
    assert plain("\x1b[1ma\x1b[0m\nb\x1b[2J \udcff") == "a b[U+001B][2J [U+DCFF]"
    assert plain(ValueError("one\ntwo")) == "one two"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r\n=cmd|'/c calc'!A0", "=HYPERLINK(1)"]
)
def test_no_cell_begins_as_a_formula(text):
    buffer = io.StringIO()
    csv.writer(buffer).writerow([csv_cell(text), 1])
    (row,) = csv.reader(io.StringIO(buffer.getvalue()))
    assert row[0][0] == "'" and row[1] == "1"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", r"a\|b"),
        ("**b** _i_ `c`", r"\*\*b\*\* \_i\_ \`c\`"),
        ("[x](javascript:alert(1))", r"[x\](javascript:alert(1))"),
        ("![x](http://t/p.png)", r"![x\](http\://t/p.png)"),
        ("[x][y]", r"[x\][y]"),
        ("https://a.b www.a.b", r"https\://a.b www\.a.b"),
        ("<img src=x>", r"\<img src=x\>"),
        ("a&#124;b $x$", r"a\&#124;b \$x\$"),
        ("\\|", r"\\\|"),
        ("a\n# b", "a # b"),
    ],
)
def test_nothing_is_markdown(text, written):
    assert markdown(text) == written


@pytest.mark.parametrize("text", ["a b", "it's", "$(touch x)", "`touch x`", "a\nb", "\x1b[2J'\\", "größe", "\u202e"])
def test_a_word_for_a_shell_is_one_word(text):
    done = subprocess.run(["bash", "-c", f"printf %s {shell(text)}"], capture_output=True, check=True)
    assert done.stdout.decode() == text


def test_a_file_name_that_is_no_utf_8_comes_back_from_a_shell():
    done = subprocess.run(["bash", "-c", f"printf %s {shell('a' + chr(0xDCFF))}"], capture_output=True, check=True)
    assert done.stdout == b"a\xff"


def test_nothing_is_latex():
    assert latex(r"\input{/etc/passwd} $x$ 50% a_b #1 ^ ~ & --") == (
        r"\textbackslash{}input\{/etc/passwd\} \$x\$ 50\% a\_b \#1 \textasciicircum{} \textasciitilde{} \& -{}-"
    )
    assert latex("日") == "[U+65E5]"

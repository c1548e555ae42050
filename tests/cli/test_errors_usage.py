"""Wrong words on the command line: one sentence that names the thing, the nearest valid one and what helps; exit 2."""

import re

import pytest

import vhbench as package
from vhbench.errors import UsageError, unknown

# command after `vhbench`, words that its sentence must have; {tiny} is a sound manifest
RUN = "run --method itq --protocol {tiny} --bits 8"
WRONG = [
    # commands and options
    ("rnu --method itq", ["command 'rnu'", "'run'", "vhbench --help"]),
    ("run --protocol {tiny} --bits 8", ["'--method'"]),
    (f"{RUN} --seed 0", ["'--seed'", "--seeds"]),
    (f"{RUN} extra", ["extra"]),
    ("list method", ["'method'", "methods", "protocols", "runs"]),
    # names
    ("run --method itqq --protocol {tiny} --bits 8", ["method 'itqq'", "'itq'", "vhbench list methods"]),
    ("run --method UVVH --protocol {tiny} --bits 8", ["method 'UVVH'", "'uvvh'"]),
    ("run --method itq, lsh --protocol {tiny} --bits 8", ["--method", "'itq,'"]),
    ("run --method other:itq --protocol {tiny} --bits 8", ["method 'other:itq'"]),
    ("run --method itq --protocol dmo --bits 8", ["protocol 'dmo'", "'demo'", ".toml"]),
    ("run --method itq --protocol Demo --bits 8", ["protocol 'Demo'", "'demo'"]),
    ("run --method itq --protocol no/such.toml --bits 8", ["no manifest no/such.toml"]),
    (f"{RUN} --budget papr", ["budget 'papr'", "'paper'"]),
    (f"{RUN} --precision bf61", ["precision 'bf61'", "'bf16'"]),
    (f"{RUN} --rerun fialed", ["--rerun 'fialed'", "'failed'"]),
    (f"{RUN} --launcher inlin", ["launcher 'inlin'", "'inline'"]),
    (f"{RUN} --device gpu", ["--device", "auto, cpu or cuda:N", "'gpu'"]),
    (f"{RUN} --device cuda:x", ["--device", "'cuda:x'"]),
    ("describe uvhv", ["method or protocol 'uvhv'", "'uvvh'", "vhbench list"]),
    ("check uvhv", ["method 'uvhv'", "'uvvh'"]),
    # numbers
    ("run --method itq --protocol {tiny} --bits 0", ["--bits", "1 to 512", "not 0"]),
    ("run --method itq --protocol {tiny} --bits -8", ["--bits", "not -8"]),
    ("run --method itq --protocol {tiny} --bits 513", ["--bits", "not 513"]),
    ("run --method itq --protocol {tiny} --bits sixteen", ["--bits", "whole numbers", "'sixteen'"]),
    ("run --method itq --protocol {tiny} --bits 16.5", ["--bits", "'16.5'"]),
    ("run --method itq --protocol {tiny} --bits 16, 32", ["--bits", "separated by commas", "'16,'"]),
    (f"{RUN} --seeds -1", ["--seeds", "not -1"]),
    (f"{RUN} --seeds one", ["--seeds", "'one'"]),
    (f"{RUN} --epochs 0", ["--epochs", "at least 1"]),
    (f"{RUN} --epochs many", ["'--epochs'", "'many'"]),
    # hyper-parameters
    (f"{RUN} --set itq.iteration=3", ["hyper-parameter of itq 'iteration'", "'iterations'", "vhbench describe itq"]),
    (f"{RUN} --set itq.iterations=many", ["itq.iterations", "whole number", "'many'"]),
    (f"{RUN} --set iterations=3", ["--set", "method.name=value", "'iterations=3'"]),
    (f"{RUN} --set itq.iterations", ["--set", "'itq.iterations'"]),
    (f"{RUN} --set lsh.x=3", ["--set", "lsh", "--method"]),
    (f"{RUN} --set itqq.x=3", ["method 'itqq'", "'itq'"]),
    # tables
    ("compare --metric mpa@20", ["metric 'mpa'", "'map'"]),
    ("compare --metric map", ["'map'", "map@20"]),
    ("compare --metric map@20[den=kk]", ["denominator 'kk'", "'k'"]),
    ("compare --convention strickt", ["convention 'strickt'", "'strict'"]),
    ("compare --format latx", ["'--format'", "'latx'"]),
    ("compare --protocol toyy", ["protocol among the finished runs 'toyy'", "'toy'", "vhbench list runs"]),
    ("compare --method itqq", ["method among the finished runs 'itqq'", "'itq'"]),
    ("compare --bits 99", ["99 bits", "there are 16"]),
    ("compare --metric map@21", ["map@21 is not recorded for toy", "map@5, map@20"]),
]


def words_of(command, tiny):
    """Split at blanks, but keep `itq, lsh` and `16, 32` as a shell would: two words."""
    return [word.replace("{tiny}", str(tiny)) for word in command.split()]


@pytest.mark.parametrize(("command", "words"), WRONG, ids=[command for command, _ in WRONG])
def test_a_wrong_word_is_named_with_the_nearest_right_one(vhbench, tiny, out, write_run, command, words):
    write_run()
    before = sorted(out.rglob("*"))
    result = vhbench(
        *words_of(command, tiny), *([] if command.startswith(("rnu", "describe", "check")) else ["--out", out])
    )
    assert result.code == 2
    for word in words:
        assert word in result.error
    assert sorted(out.rglob("*")) == before, "nothing is written"


def test_one_sentence_means_one_line_for_all_but_clicks_own_messages(vhbench, tiny):
    assert vhbench("run", "--method", "x", "--protocol", tiny, "--bits", "8").err.count("\n") == 1


def test_a_gpu_that_is_not_there_is_said_before_anything_is_recorded(run_tiny, out):
    result = run_tiny("fake", "--device", "cuda:99")
    assert result.code == 2
    assert re.search(r"Error: --device cuda:99: this machine has \d+ CUDA devices; use cpu or auto\.", result.err)
    left = [path for path in out.rglob("*") if not path.is_dir() or path.name.startswith("8b-")]
    assert {path.parent.name for path in left} <= {"grids"}, "what was asked for is kept, and nothing else"


def test_python_functions_raise_the_same_sentences(tiny, out):
    with pytest.raises(UsageError, match="did you mean 'itq'"):
        package.run("itqq", tiny, 8, out=out)
    with pytest.raises(UsageError, match="from 1 to 512, not 0"):
        package.run("itq", tiny, [8, 0], out=out)
    with pytest.raises(UsageError, match="whole numbers, not 'x'"):
        package.run("itq", tiny, "x", out=out)
    with pytest.raises(UsageError, match=r"--device .* not 'gpu'"):
        package.run("itq", tiny, 8, out=out, device="gpu")
    with pytest.raises(UsageError, match="convention"):
        package.compare(out=out, convention="strickt")
    assert not out.exists()


def test_suggestions_ignore_letter_case_and_fall_back_to_the_whole_list():
    assert "did you mean 'fcvid'?" in str(unknown("protocol", "FCVID", ["fcvid", "yfcc"]))
    assert str(unknown("thing", "q", ["b", "a"], "See there.")) == "Unknown thing 'q': choose from a, b. See there."
    assert "there are none." in str(unknown("thing", "q", []))
    assert str(unknown("thing", "?", map(str, range(30)))).endswith(", ….")

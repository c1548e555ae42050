"""`vhbench bench`: its parts, what a part prints, what it says where something is missing. Nothing is timed."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCORING = ("--quick", "--bits", "16", "--queries", "50", "--database", "200")


@pytest.fixture(scope="module")
def without_faiss(tmp_path_factory):
    """A folder whose `faiss` cannot be imported, to stand first on the path."""
    folder = tmp_path_factory.mktemp("without-faiss")
    (folder / "faiss.py").write_text("raise ImportError('not here')")
    return folder


def parts_of(help_text):
    """The names and lines under `Parts:`."""
    lines = help_text.partition("Parts:\n")[2].partition("\n  \n")[0].splitlines()
    return dict(line.split(maxsplit=1) for line in lines if line.startswith("    "))


def test_the_help_names_every_part_with_a_line(vhbench):
    files = [path for path in (ROOT / "benchmarks").glob("*.py") if "machine.run(main)" in path.read_text()]
    assert {"scoring", "scaling", "shallow", "startup"} < {path.stem for path in files}
    assert parts_of(vhbench("bench", "--help").out).keys() == {path.stem for path in files}


def test_an_unknown_part_is_refused_with_the_nearest(vhbench):
    result = vhbench("bench", "scorign")
    assert result.code == 2
    assert "Unknown part 'scorign': did you mean 'scoring'" in result.error


@pytest.mark.parametrize("words", [("--bits", "16"), ("scoring", "layers", "--bits", "16")])
def test_options_of_a_part_need_that_one_part(vhbench, words):
    result = vhbench("bench", *words)
    assert result.code == 2
    assert "bench itself has no option --bits" in result.error


def test_scoring_shows_ours_beside_faiss_the_dense_way_and_the_bound(vhbench, tmp_path):
    result = vhbench("bench", "scoring", *SCORING, "--dense", "100", "-o", tmp_path / "kept.txt")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    header = next(line for line in lines if line.startswith("bits") and "bound" in line)
    for column in ("ours s", "faiss s", "faiss/ours", "bound s", "of bound", "peak MB"):
        assert column in header
    ours, faiss, ratio = lines[lines.index(header) + 1].split()[1:4]
    assert float(ratio.rstrip("x")) == pytest.approx(float(faiss) / float(ours), rel=0.05, abs=0.06)
    assert "bits     ours s    dense s  dense/ours     by cpu  released s" in result.out
    assert any(line.startswith("machine: ") for line in lines)
    assert "Small sizes (--quick)" in result.out
    assert (tmp_path / "kept.txt").read_text() == result.out


def test_without_faiss_its_column_stays_empty_and_a_sentence_says_why(vhbench_process, without_faiss):
    result = vhbench_process(
        *(*SCORING, "--dense", "0"),
        python=("-m", "vhbench.benchmarks.scoring"),
        PYTHONPATH=f"{without_faiss}:{ROOT}",
    )
    assert result.code == 0, result.err
    assert 'pip install "vhbench[bench]"' in result.err
    assert next(line for line in result.out.splitlines() if line.startswith("16")).split()[2:4] == ["-", "-"]


def test_what_a_part_refuses_makes_bench_fail(vhbench):
    result = vhbench("bench", "scoring", "--bits", "sixteen")
    assert result.code == 2
    assert "The part scoring failed" in result.err


@pytest.mark.slow
@pytest.mark.parametrize("has_opencv", [True, False])
def test_extraction_shows_ours_beside_a_loop_over_opencv(vhbench_process, has_opencv):
    hide = "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: n != 'cv2' and f(n, *a) or None; "
    run = "import runpy; runpy.run_module('vhbench.benchmarks.extract', None, '__main__')"
    code = run if has_opencv else hide + run
    result = vhbench_process("--quick", "--count", "1", python=("-c", code))
    assert result.code == 0, result.err
    (row,) = [line.split() for line in result.out.splitlines() if line.startswith("cpu ")]
    if has_opencv:
        assert float(row[3].rstrip("x")) == pytest.approx(float(row[2]) / float(row[1]), rel=0.1)
    else:
        assert row[2:4] == ["-", "-"] and 'pip install "vhbench[bench]"' in result.out
    assert "decoding of all" in result.out and "of bound" in result.out

"""Try damaged HDF5 files in a process of its own, which the library may take down with it: run by test_fuzz.py.

`manifest`, `path` (the file to damage), `out` and `log` are its globals.
"""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vhbench.cli import main

SOUND = Path(path).read_bytes()  # noqa: F821
HEADERS = 2400  # where h5py puts all headers of such a file; features follow
MARKS = [SOUND.find(mark) for mark in (b"TREE", b"HEAP", b"SNOD") if mark in SOUND]
places = st.integers(0, HEADERS) | st.sampled_from(MARKS).flatmap(lambda at: st.integers(at, at + 64))
changes = st.lists(st.tuples(places, st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)


def damaged(changes, length):
    content = bytearray(SOUND)
    for at, new in changes:
        content[at : at + len(new)] = new
    return bytes(content[:length])


@settings(max_examples=45, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(changes, st.just(len(SOUND)) | st.integers(0, len(SOUND)))
def try_it(changes, length):
    Path(path).write_bytes(damaged(changes, length))  # noqa: F821
    code = None
    try:
        main(["run", "--method", "itq", "--protocol", manifest, "--bits", "8", "--out", out, "--dry-run"])  # noqa: F821
    except SystemExit as end:
        code = end.code
    assert code in (0, 2), code
    with Path(log).open("a") as file:  # noqa: F821
        file.write(f"{code}\n")


try_it()

"""Archives of arrays: what NumPy wrote comes back, and no archive takes more memory than the bound."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from vhbench.system.arrays import read_npz
from vhbench.system.files import NotAFileError

ARRAYS = {
    "a/query": np.arange(12, dtype=np.uint64).reshape(4, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "text": np.asarray("ü"),
    "scalar": np.float32(0.5),
    "empty": np.zeros((0, 7), bool),
    "flags": np.array([[True], [False]]),
}


def packed(save=np.savez_compressed, **arrays):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def archive(members):
    """Return a zip archive of members' bytes by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def npy(shape, descr="'<f8'", data=b""):
    """Return an .npy file whose header says what it likes."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_comes_back(tmp_path, save):
    content = packed(save, **ARRAYS)
    (tmp_path / "a.npz").write_bytes(content)
    for source in (content, tmp_path / "a.npz", str(tmp_path / "a.npz")):
        found = read_npz(source)
        assert found.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
            assert found[name].flags.writeable and found[name].shape == array.shape
    assert read_npz(content, ["flags", "nowhere"]).keys() == {"flags"}


def test_an_archive_that_grows_is_refused_before_it_does():
    content = packed(big=np.zeros(200_000_000, np.uint8), small=np.ones(3))
    assert len(content) < 1_000_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="it holds 200000280 bytes, and such an archive at most 100000000"):
        read_npz(content, limit=100_000_000)
    assert np.array_equal(read_npz(content, ["small"], limit=1000)["small"], np.ones(3)), (
        "what is not read may be large"
    )
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (npy((10**12,)), "no plain array"),
        (npy((2,), data=bytes(15)), "not as long as"),
        (npy((-1,), data=bytes(8)), "no plain array"),
        (npy((10**18,), "'|V0'"), "no plain array"),
        (npy((0, 10**18)), "no plain array"),
        (npy((1,), "'|O'", bytes(8)), "no plain array"),
        (npy((1,), "[('a', '|O')]", bytes(8)), "no plain array"),
        (npy((1,), "'<f8", bytes(8)), "."),
        (npy((10**8,), data=bytes(8)), "not as long as"),
        (b"\x93NUMPY\x03\x00\x00", "version"),
        (b"no array at all", "no .npz file of plain arrays"),
        (b"", "."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_headers_that_lie_are_refused(member, words):
    with pytest.raises(ValueError, match=words):
        read_npz(archive({"a.npy": member}))


def test_what_is_no_archive_is_refused(tmp_path):
    sound = packed(**ARRAYS)
    for content in (b"", b"PK", sound[: len(sound) // 2], bytes(len(sound)), archive({"a.txt": b"text"})):
        with pytest.raises(ValueError):
            read_npz(content)
    for at in range(0, len(sound), 17):
        damaged = bytearray(sound)
        damaged[at] ^= 0x10
        try:
            found = read_npz(bytes(damaged))
        except ValueError:
            continue
        assert sum(array.nbytes for array in found.values()) < 1000
    with pytest.raises(NotAFileError):
        read_npz(tmp_path)


def test_too_little_memory_is_no_damage(monkeypatch):
    def full(*arguments):
        raise MemoryError

    content = packed(a=np.ones(3))
    monkeypatch.setattr("vhbench.system.arrays._fill", full)
    with pytest.raises(MemoryError):
        read_npz(content)

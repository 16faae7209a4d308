"""Weights files are told by their first bytes, and every header is checked before any tensor is read."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from studio.checkpoints.inspect import BadCheckpoint, read_header


def written(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape or [(end - begin) // 4], "data_offsets": [begin, end]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_a_good_file_names_its_tensors(file: Path) -> None:
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros((), dtype=torch.float16)}, file, metadata={"format": "pt"})
    found = read_header(file)
    assert {name: entry[:2] for name, entry in found.items()} == {"a": ("F32", (2, 3)), "b": ("F16", ())}
    assert [entry.size_bytes for entry in found.values()] == [24, 2]
    assert found["b"].offset == found["a"].offset + 24 == file.stat().st_size - 2


def test_names_are_never_paths(file: Path) -> None:
    written(file, {"../../x\n": entry(0, 4)}, bytes(4))
    assert list(read_header(file)) == ["../../x\n"]


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        ({"a": entry(0, 8)}, bytes(4), "truncated: 4 of 8 bytes"),
        ({"a": entry(0, 4)}, bytes(8), "4 bytes too many"),
        ({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4), "overlap"),
        ({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12), "overlap or leave holes"),
        ({"a": entry(-4, 0)}, b"", "makes no sense"),
        ({"a": entry(0, 2**70)}, b"", "makes no sense|truncated"),
        ({"a": entry(0, 4, [3])}, bytes(4), "makes no sense"),
        ({"a": entry(0, 4, dtype="C64")}, bytes(4), "makes no sense"),
        ({"a": entry(0, 4, [True])}, bytes(4), "makes no sense"),
        ({"a": {"dtype": "F32"}}, b"", "makes no sense"),
        ({"a": 5}, b"", "makes no sense"),
        (b"{not json}", b"", "cannot be read"),
        (b'{"a":' * 5000, b"", "cannot be read"),
        (b'{"\xff": 1}', b"", "cannot be read"),
    ],
)
def test_a_damaged_header_is_refused(file: Path, header: object, data: bytes, said: str) -> None:
    with pytest.raises(BadCheckpoint, match=said):
        read_header(written(file, header, data))


def test_a_tensor_named_twice_is_refused(file: Path) -> None:
    text = f'{{"a": {json.dumps(entry(0, 4))}, "a": {json.dumps(entry(0, 4))}}}'.encode()
    with pytest.raises(BadCheckpoint, match="twice"):
        read_header(written(file, text, bytes(4)))


@pytest.mark.parametrize("length", [2**63, 200 * 2**20, 2**64 - 1])
def test_a_header_that_claims_too_much_is_not_read(file: Path, length: int) -> None:
    with pytest.raises(BadCheckpoint, match="its header claims"):
        read_header(written(file, {"a": entry(0, 4)}, bytes(4), length))


def test_a_file_cut_in_its_header_is_called_truncated(file: Path) -> None:
    with pytest.raises(BadCheckpoint, match="is truncated"):
        read_header(written(file, {"a": entry(0, 4)}, length=5000))


def test_a_header_bomb_is_refused_before_it_is_parsed(file: Path) -> None:
    one = '"{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    text = ("{" + ",".join(one.format(k) for k in range(100_000)) + "}").encode()
    written(file, text)
    resource = pytest.importorskip("resource")  # not on Windows
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadCheckpoint, match="more than 65,536 tensors"):
        read_header(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
        (b"\n <html>", "is a web page"),
        (pickle.dumps({"a": 1}), "is a pickle"),
        (b"GGUF\x03\x00\x00\x00" + bytes(40), "is a GGUF file"),
        (b"hello", "is not a safetensors file"),
        (bytes(100), "is not a safetensors file"),
    ],
)
def test_other_files_are_called_by_their_name(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(BadCheckpoint, match=said):
        read_header(file)


def test_a_zipped_pickle_is_a_pickle_whatever_it_is_called(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(print))
    with pytest.raises(BadCheckpoint, match="pickle, which could run code"):
        read_header(file)


def test_a_missing_file_is_told(file: Path) -> None:
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        read_header(file)


def test_names_that_do_not_print_stay_out_of_messages(file: Path) -> None:
    written(file, {"\x1b[31m\n../../x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}}, bytes(4))
    with pytest.raises(BadCheckpoint) as refused:
        read_header(file)
    assert str(refused.value).isprintable()
    assert str(BadCheckpoint("a\nb")) == "a\ufffdb"

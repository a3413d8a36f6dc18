"""Files of torch are loaded as tensors and plain values, and rejected if they contain anything else."""

import pickle
import zipfile

import pytest
import torch

from dctnet.io.safe_torch import load_torch_file


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_and_plain_values_are_loaded(tmp_path, legacy):
    content = {"a": torch.arange(6.0).view(2, 3).T, "b": [1, "x", None, {"c": (torch.ones(2, dtype=torch.bfloat16),)}]}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    found = load_torch_file(tmp_path / "a.pt")
    assert torch.equal(found["a"], content["a"])
    assert torch.equal(found["b"][3]["c"][0], torch.ones(2, dtype=torch.bfloat16))
    assert found["b"][:3] == content["b"][:3]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("value", [bytearray(4), torch.nn.Linear(1, 1), print])
def test_other_objects_are_rejected(tmp_path, value, legacy):
    torch.save({"a": value}, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(pickle.UnpicklingError, match="only tensors and plain values are loaded"):
        load_torch_file(tmp_path / "a.pt")


def test_compressed_and_damaged_archives_are_rejected(tmp_path):
    torch.save(torch.zeros(1000), tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(pickle.UnpicklingError, match="compressed"):
        load_torch_file(tmp_path / "b.pt")
    data = bytearray((tmp_path / "a.pt").read_bytes())
    data[data.index(bytes(1000)) + 500] = 1
    (tmp_path / "c.pt").write_bytes(data)
    with pytest.raises(pickle.UnpicklingError, match="damaged: wrong checksum of a/data/0"):
        load_torch_file(tmp_path / "c.pt")


def test_tensor_larger_than_its_storage_is_rejected(tmp_path):
    torch.save(torch.zeros(1).expand(10**12), tmp_path / "a.pt")
    with pytest.raises(pickle.UnpicklingError, match=r"\(1000000000000,\) is larger than its storage"):
        load_torch_file(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"text", "it begins with b'text'"),
        (b"version https://git-lfs.github.com/spec/v1", "it begins with b'version https://git-"),
        (b"PK\x03\x04 and no archive", "damaged or cut off, or not written by torch.save"),
        (b"\x80\x02 and no pickle", "damaged or cut off, or not written by torch.save"),
        (pickle.dumps({"a": 1}), "damaged or cut off, or not written by torch.save"),
    ],
)
def test_a_file_of_another_program_is_rejected_without_a_parsers_error(tmp_path, content, reason):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(pickle.UnpicklingError) as caught:
        load_torch_file(tmp_path / "a.pt")
    assert reason in str(caught.value)


def test_an_archive_of_another_program_or_cut_off_is_rejected(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a.npy", b"x")
    with pytest.raises(pickle.UnpicklingError, match="a zip archive of another program"):
        load_torch_file(tmp_path / "a.pt")
    torch.save(torch.zeros(100), tmp_path / "b.pt")
    (tmp_path / "b.pt").write_bytes((tmp_path / "b.pt").read_bytes()[:-50])
    with pytest.raises(pickle.UnpicklingError, match="cut off"):
        load_torch_file(tmp_path / "b.pt")

"""Thin JPEG files: the kept coefficients bit for bit, all samplings and orientations, and what is refused."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from dctnet.data.coefficients import Window, aligned_channels, read_coefficients, whole_blocks
from dctnet.data.images import turbojpeg
from dctnet.data.images.files import ImageError
from dctnet.data.images.photo import Photo
from dctnet.data.images.thin import thin_jpeg
from dctnet.errors import UserError
from dctnet.export.thin import thin
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.frequency.selections import named_channels
from tests.commands import fails, run
from tests.pictures import SAMPLINGS, SIZES, encode_jpeg, jpeg_file, waves

if turbojpeg.describe() is None:
    pytest.skip("libjpeg-turbo is not found", allow_module_level=True)

SQUARE = named_channels("square-24")
# Different frequencies of Cb and Cr, none of them DC, and frequencies that transposition changes.
UNEQUAL = ChannelSet("unequal", (1, 2, 9, 63, 64 + 3, 64 + 8, 128 + 16))


def channels(data: bytes, channel_set: ChannelSet) -> np.ndarray:
    photo = Photo(data, "turbojpeg")
    side = min(whole_blocks(photo))
    return aligned_channels(photo, Window(0, 0, side), channel_set).numpy()


def shrunk(data: bytes, channel_set: ChannelSet = SQUARE, **options) -> bytes:
    return thin_jpeg(Photo(data, "turbojpeg"), channel_set, **options)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("orientation", [1, 2, 6, 7])
@pytest.mark.parametrize("sampling", ["4:4:4", "grey"])
def test_kept_channels_are_equal_and_the_others_zero(sampling, orientation, progressive):
    data = jpeg_file(sampling, SIZES[1], orientation=orientation)
    written = shrunk(data, UNEQUAL, progressive=progressive)
    kept = channels(written, UNEQUAL)
    assert np.array_equal(kept, channels(data, UNEQUAL))
    assert kept.any()
    rest = ChannelSet("rest", tuple(set(range(192)) - set(UNEQUAL.indices)))
    assert not channels(written, rest).any()
    assert channels(data, rest).any()


@pytest.mark.parametrize("orientation", [1, 5])
@pytest.mark.parametrize(
    ("sampling", "across", "down"), [("4:2:0", 2, 2), ("4:2:2", 2, 1), ("4:4:0", 1, 2), ("4:1:1", 4, 1)]
)
def test_of_subsampled_chroma_the_neighbouring_stored_frequencies_are_left(sampling, across, down, orientation):
    data = jpeg_file(sampling, SIZES[0], orientation=orientation)
    before, after = read_coefficients(data), read_coefficients(shrunk(data, ChannelSet("Y 0, Cb 1", (0, 64 + 1))))
    v, u = (1, 0) if orientation == 5 else (0, 1)  # stored
    expected = [8 * y + x for y in range(8) for x in range(8) if abs(y / down - v) < 1 and abs(x / across - u) < 1]
    assert np.array_equal(after[1][expected], before[1][expected])
    assert before[1][expected].any()
    others = sorted(set(range(64)) - set(expected))
    assert not after[1][others].any()
    assert before[1][others].any()
    assert not after[2].any()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_all_channels_leave_the_picture_as_it_was(sampling):
    data = jpeg_file(sampling, SIZES[2])
    written = shrunk(data, named_channels("all"))
    for one, other in zip(read_coefficients(data), read_coefficients(written), strict=True):
        # No channel at the highest stored frequencies of subsampled chroma is missing either.
        assert np.array_equal(one, other)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(Image.open(io.BytesIO(written))))


def test_the_channels_of_a_smooth_subsampled_picture_hardly_change():
    data = encode_jpeg(waves(96, 80), "4:2:0")
    before, after = channels(data, SQUARE), channels(shrunk(data), SQUARE)
    assert np.array_equal(before[:16], after[:16])  # luma
    error = np.linalg.norm(before[16:] - after[16:]) / np.linalg.norm(before[16:])
    assert error < 0.01


def test_without_chroma_channels_the_file_is_grey():
    written = shrunk(jpeg_file("4:2:0"), ChannelSet("Y", (0, 1, 8)))
    assert Image.open(io.BytesIO(written)).mode == "L"
    assert np.array_equal(
        channels(written, ChannelSet("Y", (0, 1, 8))), channels(jpeg_file("4:2:0"), ChannelSet("Y", (0, 1, 8)))
    )


def test_metadata_is_kept_or_all_but_the_orientation_dropped():
    image, exif = Image.fromarray(waves(48, 32)), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif, comment=b"a note", icc_profile=b"a profile")
    kept, dropped = (Image.open(io.BytesIO(shrunk(file.getvalue(), metadata=keep))) for keep in (True, False))
    assert kept.getexif()[0x010F] == "a camera"
    assert kept.info["comment"] == b"a note"
    assert "icc_profile" in kept.info
    assert dict(dropped.getexif()) == {0x0112: 6}
    assert not {"comment", "icc_profile"} & set(dropped.info)
    assert Photo(shrunk(file.getvalue(), metadata=False)).orientation == 6


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_a_file_that_is_not_ycbcr_is_refused(mode):
    file = io.BytesIO()
    Image.fromarray(waves(32, 32)).convert(mode).save(file, "PNG" if mode == "RGB" else "JPEG")
    with pytest.raises(ImageError, match="cannot be thinned without loss"):
        shrunk(file.getvalue())


def folder_of(tmp_path, **files):
    source = tmp_path / "photos"
    for name, content in files.items():
        path = source / "a" / name.replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return source


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(waves(16, 16)).save(file, "PNG")
    return file.getvalue()


def test_a_folder_keeps_its_names_and_its_originals(tmp_path, capsys):
    data = jpeg_file("4:4:4")
    source, out = folder_of(tmp_path, one_jpg=data, README_md=b"a note"), tmp_path / "thin"
    run("thin", source, out, "--channels", "square-24")
    assert (out / "a" / "one.jpg").read_bytes() == shrunk(data)
    assert (source / "a" / "one.jpg").read_bytes() == data
    assert sorted(p.name for p in out.rglob("*.*")) == ["one.jpg", "thin.json"]
    assert "1 files thinned" in (printed := capsys.readouterr().out)
    assert "1 text files left out" in printed


def test_a_stopped_command_continues(tmp_path):
    source, out = folder_of(tmp_path, one_jpg=jpeg_file(), two_jpg=jpeg_file("grey")), tmp_path / "thin"
    assert thin(str(source), str(out), channels="square-24").thinned == 2
    (out / "a" / "two.jpg").unlink()
    again = thin(str(source), str(out), channels="square-24")
    assert (again.thinned, again.present) == (1, 1)


@pytest.mark.parametrize("others", ["copy", "skip"])
def test_files_that_cannot_be_thinned_are_listed_and_copied_or_left_out(tmp_path, others, capsys):
    source, out = folder_of(tmp_path, one_jpg=jpeg_file(), two_png=png()), tmp_path / "thin"
    run("thin", source, out, "--channels", "square-24", "--others", others)
    assert "not thinned" in (printed := capsys.readouterr().out)
    assert "two.png: cannot be thinned" in printed
    assert f", 1 {'copied unchanged' if others == 'copy' else 'skipped'}" in printed
    copied = out / "a" / "two.png"
    assert copied.read_bytes() == png() if others == "copy" else not copied.exists()


def test_by_default_a_file_that_cannot_be_thinned_stops(tmp_path, capsys):
    source = folder_of(tmp_path, two_png=png())
    assert "--others skip or copy" in fails(capsys, "thin", source, tmp_path / "thin", "--channels", "square-24")


def test_a_mask_file_gives_the_channels(tmp_path):
    write_mask(tmp_path / "mask.json", UNEQUAL)
    (tmp_path / "one.jpg").write_bytes(data := jpeg_file("4:4:4"))
    run("thin", tmp_path / "one.jpg", tmp_path / "two.jpg", "--channels", tmp_path / "mask.json")
    assert (tmp_path / "two.jpg").read_bytes() == shrunk(data, UNEQUAL)


def test_targets_that_would_harm_are_refused(tmp_path, capsys):
    source = folder_of(tmp_path, one_jpg=jpeg_file())
    arguments = ("--channels", "square-24")
    assert "lies within" in fails(capsys, "thin", source, source / "thin", *arguments)
    assert "not empty" in fails(capsys, "thin", source, tmp_path, *arguments)
    assert "exists" in fails(capsys, "thin", source / "a" / "one.jpg", source / "a" / "one.jpg", *arguments)
    run("thin", source, tmp_path / "thin", *arguments)
    assert "another channels" in fails(capsys, "thin", source, tmp_path / "thin", "--channels", "square-6")
    assert json.loads((tmp_path / "thin" / "thin.json").read_text())["channels"] == list(SQUARE.indices)


def test_without_libjpeg_turbo_the_command_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(turbojpeg, "describe", lambda: None)
    with pytest.raises(UserError, match="dctnet doctor"):
        thin(str(tmp_path), str(tmp_path / "out"), channels="square-24")


def test_a_stopped_command_continues_as_its_message_says(tmp_path, capsys):
    source, out = folder_of(tmp_path, one_jpg=jpeg_file(), two_png=png()), tmp_path / "thin"
    assert "--others skip or copy" in fails(capsys, "thin", source, out, "--channels", "square-24")
    assert run("thin", source, out, "--channels", "square-24", "--others", "copy") == 0
    assert (out / "a" / "two.png").read_bytes() == png()


def test_a_damaged_plan_is_one_line(tmp_path, capsys):
    source, out = folder_of(tmp_path, one_jpg=jpeg_file()), tmp_path / "thin"
    out.mkdir()
    (out / "thin.json").write_text("[" * 100_000)
    assert "thin.json is damaged" in fails(capsys, "thin", source, out, "--channels", "square-24")

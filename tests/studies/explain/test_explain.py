"""The page of one photograph: what is kept, reconstructed and decisive, against slow definitions."""

import pytest
import torch

from dctnet.frequency.channels import channels_to_planes, planes_to_channels
from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.io.files import file_sha256
from dctnet.model.network import FrequencyNet
from dctnet.studies.explain.measure import explain_planes
from dctnet.studies.explain.pictures import _FRAME, _GAP, mosaic
from dctnet.studies.laboratory.subject import Subject
from tests.commands import CKPT, fails, run

pytestmark = pytest.mark.usefixtures("small_backbones")


def subject(gate: str = "none", input: str = "channels") -> Subject:
    torch.manual_seed(0)
    network = FrequencyNet(["a", "b", "c"], "square-24" if input == "channels" else (), 32, input=input, gate=gate)
    count = network.input_shape[0]
    network.normalisation.fit(torch.zeros(count), torch.full((count,), 30.0))
    if gate != "none":
        (network.gate.logits if gate == "static" else network.gate.bias).data = torch.randn(24)
    return Subject("net", network.eval(), 32, network.channels, network.classes)


def planes() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("gate", ["none", "static", "dynamic"])
def test_kept_channels_are_those_that_change_the_prediction(gate):
    own = subject(gate)
    found = explain_planes(own, planes())
    assert torch.equal(found.offered.nonzero().flatten(), torch.tensor(own.channel_set.indices))
    assert not (found.kept & ~found.offered).any()
    assert (int(found.kept.sum()) == 24) == (gate == "none")
    channels = planes_to_channels(planes())
    zeroed = torch.where(found.kept[None, :, None, None], channels, 0.0)
    if gate != "dynamic":  # whose choice depends on the channels that it drops
        assert torch.allclose(own.from_channels(zeroed).softmax(1)[0], found.probability, atol=1e-5)
    assert torch.equal(found.reconstruction, ycbcr_to_rgb(channels_to_planes(zeroed))[0].round())


def test_the_sensitivity_is_the_gradient_by_finite_differences():
    own, step = subject(), 1e-3
    found = explain_planes(own, planes())
    channels, network = planes_to_channels(planes()).double(), own.network.double()
    index = own.channel_set.indices.index(9)

    def log_probability(changed: torch.Tensor) -> torch.Tensor:
        return network(changed[:, list(own.channel_set.indices)]).log_softmax(1)[0, found.predicted]

    gradient = torch.zeros(4, 4, dtype=torch.float64)
    for row in range(4):
        for column in range(4):
            ends = []
            for sign in (1, -1):
                changed = channels.clone()
                changed[0, 9, row, column] += sign * step
                ends.append(log_probability(changed))
            gradient[row, column] = (ends[0] - ends[1]) / (2 * step)
    values = channels[0, 9]
    assert index >= 0
    assert found.sensitivity[9].item() == pytest.approx((gradient.norm() * values.std()).item(), rel=0.02)
    expected = (gradient * (values - values.mean())).sum().item()
    assert found.contribution[9].item() == pytest.approx(expected, rel=0.02, abs=1e-5)


def test_a_network_on_pixels_uses_all_channels():
    found = explain_planes(subject(input="rgb"), planes())
    assert found.kept.all()
    assert (found.sensitivity > 0).all()
    assert (found.reconstruction - found.photograph).abs().max() <= 1


def test_the_mosaic_frames_the_kept_channels():
    channels = torch.randn(192, 4, 4)
    kept = torch.zeros(192, dtype=torch.bool)
    kept[64 + 9] = True
    picture = mosaic(channels, kept, 1)
    side = 4 + 2 * _GAP
    assert picture.shape == (8 * side, 8 * side, 3)
    framed = {(v, u) for v in range(8) for u in range(8) if tuple(picture[v * side, u * side].tolist()) == _FRAME}
    assert framed == {(1, 1)}
    assert picture[side + _GAP : 2 * side - _GAP, side + _GAP : 2 * side - _GAP].std() > picture[:side, :side].std()


def test_the_verb_writes_one_page_that_loads_nothing(gated_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(gated_run)
    out = tmp_path / "page.html"
    run("explain", CKPT, "photos/val/red/0.jpg", "--out", out)
    page = out.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert page.count("<img ") == 5
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/", "")
    assert "of 24 channels for all photographs" in page
    assert "channels in use" in capsys.readouterr().out
    assert "exists" in fails(capsys, "explain", CKPT, "photos/val/red/0.jpg", "--out", out)


def test_names_are_escaped(gated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(gated_run)
    hostile = tmp_path / "<script>alert(1)<b>.jpg"
    hostile.write_bytes((gated_run / "photos/val/red/0.jpg").read_bytes())
    run("explain", CKPT, hostile, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jpg"], "no such file"),
        (["photos"], "expected an image file"),
        (["tiny.yaml"], "expected an image file"),
        (["photos/val/red/0.jpg", "--out", "nowhere/x.html"], "no such folder nowhere"),
        (["photos/val/red/0.jpg", "--out", "x.png"], "must be the name of a page"),
    ],
)
def test_mistakes_are_one_line(gated_run, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(gated_run)
    assert message in fails(capsys, "explain", CKPT, *arguments)


def test_a_checkpoint_whose_path_has_a_colon_is_named_with_its_checksum(gated_run, tmp_path):
    ckpt = tmp_path / "runs:old" / "last.ckpt"  # not MODULE:FACTORY
    ckpt.parent.mkdir()
    ckpt.write_bytes((gated_run / CKPT).read_bytes())
    page = tmp_path / "explain.html"
    assert run("explain", ckpt, gated_run / "photos/val/red/0.jpg", "--out", page) == 0
    assert file_sha256(ckpt) in page.read_text()

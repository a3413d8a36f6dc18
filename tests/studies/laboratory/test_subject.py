"""Networks of dctnet, torchvision, timm and the user as functions of planes, and their photographs."""

import sys

import pytest
import torch
import torchvision
from torch import nn

from dctnet.errors import UserError
from dctnet.studies.laboratory.opening import open_subject
from dctnet.studies.laboratory.photographs import read_photographs
from dctnet.training import checkpoint
from tests.commands import CKPT, run

pytestmark = pytest.mark.usefixtures("small_backbones")
NAMES = ["blue", "green", "red"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of SqueezeNet for three classes, and names of the classes."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = torchvision.models.get_model("mobilenet_v3_small", num_classes=3)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, folder / "net.pt")
    (folder / "names.txt").write_text("\n".join(NAMES))
    return folder


def test_a_checkpoint_answers_as_validate_does(gated_run):
    subject = open_subject(str(gated_run / CKPT))
    photographs = read_photographs(subject, None, "val", 100, 0)
    network = checkpoint.load(gated_run / CKPT)
    expected = torch.cat([network(network.preprocess(path)) for path in photographs.paths])
    torch.testing.assert_close(subject(photographs.planes), expected, atol=1e-3, rtol=1e-3)
    assert [subject.classes[t] for t in photographs.targets] == [path.split("/")[-2] for path in photographs.paths]


def test_the_data_of_the_training_under_another_name_keeps_its_options(gated_run):
    subject = open_subject(str(gated_run / CKPT))
    subject.origin.options["per_class"] = 2
    for root in (None, str(gated_run / "out" / ".." / "photos")):
        assert len(read_photographs(subject, root, "train", 100, 0)) == 6


def test_photographs_are_spread_over_the_classes_and_depend_on_the_seed(gated_run):
    subject = open_subject(str(gated_run / CKPT))
    first = read_photographs(subject, None, "train", 9, 0)
    assert first.targets.bincount().tolist() == [3, 3, 3]
    assert first.paths == read_photographs(subject, None, "train", 9, 0).paths
    assert first.paths != read_photographs(subject, None, "train", 9, 1).paths


def test_channels_and_planes_give_the_same_answers(gated_run, weights):
    subjects = (
        open_subject(str(gated_run / CKPT)),
        open_subject("torchvision:mobilenet_v3_small", str(weights / "net.pt"), image_size=64),
    )
    from dctnet.frequency.channels import planes_to_channels

    for subject in subjects:
        planes = read_photographs(subject, str(gated_run / "photos"), "val", 6, 0).planes
        answers = subject.from_channels(planes_to_channels(planes))
        torch.testing.assert_close(answers, subject(planes), atol=1e-3, rtol=1e-3)


def test_a_network_of_torchvision_reads_normalised_rgb(gated_run, weights):
    subject = open_subject("torchvision:mobilenet_v3_small", str(weights / "net.pt"), image_size=64)
    planes = read_photographs(subject, str(gated_run / "photos"), "val", 6, 0).planes
    grey = torch.full((1, 3, 64, 64), 128.0)
    expected = (128 / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(subject.input(grey)[0, :, 0, 0], expected)
    assert subject(planes).shape == (6, 3)


def test_a_network_of_timm(tmp_path):
    import timm

    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "net.pt")
    subject = open_subject("timm:test_resnet", str(tmp_path / "net.pt"), image_size=64)
    assert subject(torch.full((2, 3, 64, 64), 128.0)).shape == (2, 3)


def test_a_network_of_timm_has_its_own_size_and_normalisation(tmp_path):
    import timm

    network = timm.create_model("test_vit", num_classes=3)
    torch.save(network.state_dict(), tmp_path / "net.pt")
    own = {"mean": (0.5, 0.4, 0.3), "std": (0.5, 0.25, 0.2), "input_size": (3, 160, 160)}
    with pytest.MonkeyPatch.context() as patch:
        network.pretrained_cfg = own
        patch.setattr(timm, "create_model", lambda *args, **options: network)
        subject = open_subject("timm:test_vit", str(tmp_path / "net.pt"))
    assert subject.image_size == 160
    white = subject.input(torch.tensor([255.0, 128, 128]).view(1, 3, 1, 1).expand(1, 3, 160, 160))
    torch.testing.assert_close(white[0, :, 0, 0], torch.tensor([1.0, 2.4, 3.5]))


def test_a_network_of_the_user(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n"
        "def small(): return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))\n"
        "def number(): return 3\n"
        "def broken(): raise RuntimeError('no GPU')\n"
        "def leaving(): raise SystemExit(3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    subject = open_subject("my_networks:small", image_size=32)
    assert subject(torch.full((2, 3, 32, 32), 128.0)).shape == (2, 2)
    assert capsys.readouterr().out == "running small() of the module my_networks\n"
    for name, reason in (
        ("number", "returned int"),
        ("broken", "no GPU"),
        ("leaving", "SystemExit"),
        ("smaller", "no attribute"),
    ):
        with pytest.raises(UserError, match=reason):
            open_subject(f"my_networks:{name}")
    sys.modules.pop("my_networks")


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        ("nothing.ckpt", {}, "no such checkpoint"),
        ("torchvision:resnet19", {"weights": "net.pt"}, "no such classifier. Did you mean 'resnet1"),
        ("torchvision:resnet18", {}, "needs --weights FILE"),
        ("torchvision:resnet18", {"weights": "net.pt"}, "not the weights of torchvision:resnet18"),
        ("torchvision:mobilenet_v3_small", {"weights": "none.pt"}, "no such file"),
        ("torchvision:mobilenet_v3_small", {"weights": "names.txt"}, "not a weights file"),
        ("torchvision:mobilenet_v3_small", {"weights": "net.pt", "classes": "two.txt"}, "3 logits, but 2 names"),
        ("torchvision:mobilenet_v3_small", {"weights": "net.pt", "image_size": 30}, "multiple of 8"),
        ("torchvision:mobilenet_v3_small", {"weights": "net.pt", "std": [1, 0, 1]}, "three numbers above 0"),
        ("nowhere.at_all:net", {}, "No module named"),
    ],
)
def test_bad_networks_are_one_line(weights, monkeypatch, net, options, message):
    (weights / "two.txt").write_text("a\nb\n")
    monkeypatch.chdir(weights)
    with pytest.raises(UserError, match=message) as error:
        open_subject(net, **options)
    assert "\n" not in str(error.value)


def test_options_of_a_checkpoint_are_its_own(gated_run):
    with pytest.raises(UserError, match="--weights, --mean: not for a checkpoint of dctnet"):
        open_subject(str(gated_run / CKPT), weights="x.pt", mean=[0, 0, 0])


def test_photographs_of_other_classes_are_refused(gated_run, weights, tmp_path):
    subject = open_subject(str(gated_run / CKPT))
    assert run("make-planted", tmp_path / "planted", "--train_per_class", 1, "--val_per_class", 1) == 0
    with pytest.raises(UserError, match=r"8 classes that .* does not have, such as 'class0'"):
        read_photographs(subject, str(tmp_path / "planted"), "val", 8, 0)
    other = open_subject("torchvision:mobilenet_v3_small", str(weights / "net.pt"), image_size=64)
    with pytest.raises(UserError, match=r"8 classes, but .* has 3 outputs: .*--classes"):
        read_photographs(other, str(tmp_path / "planted"), "val", 8, 0)
    with pytest.raises(UserError, match=r"give its photographs as --data.root"):
        read_photographs(other, None, "val", 8, 0)


def test_class_names_order_the_outputs(gated_run, weights):
    (weights / "reversed.txt").write_text("\n".join(reversed(NAMES)))
    given = {"weights": str(weights / "net.pt"), "image_size": 64}
    names = sorted(path.name for path in (gated_run / "photos" / "val").iterdir())
    (weights / "reversed.txt").write_text("\n".join(reversed(names)))
    plain = open_subject("torchvision:mobilenet_v3_small", **given)
    turned = open_subject("torchvision:mobilenet_v3_small", **given, classes=str(weights / "reversed.txt"))
    one, other = (read_photographs(s, str(gated_run / "photos"), "val", 6, 0) for s in (plain, turned))
    assert torch.equal(other.targets, 2 - one.targets)


def test_a_subject_is_not_trained(gated_run):
    subject = open_subject(str(gated_run / CKPT))
    assert not subject.training
    assert not any(parameter.requires_grad for parameter in subject.parameters())
    assert isinstance(subject, nn.Module)

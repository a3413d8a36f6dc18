"""Networks of timm on the command line: from fit to prediction, mask and benchmark; without timm for torchvision's."""

import subprocess
import sys

import pytest
import torch
import yaml

import dctnet
from dctnet.errors import UserError
from tests.commands import fails, read_csv, run
from tests.conftest import GATED

# Beside test_vit and test_convnext below.
SLOW = ["test_resnet", "regnetx_002", "mobilenetv4_conv_small", "swin_tiny_patch4_window7_224", "csatv2"]


def all_verbs(photos, out, name, *options):
    """Trains a network with a gate, and uses its checkpoint in every way."""
    model = {**GATED["model"], "backbone": name, "optimizer": "adamw", "lr": 0.001}
    trainer = {**GATED["trainer"], "max_epochs": 1}
    (out / "tiny.yaml").write_text(yaml.safe_dump({**GATED, "model": model, "trainer": trainer}))
    assert run("fit", "--config", out / "tiny.yaml", "--data.root", photos, "--out_dir", out, *options) == 0
    ckpt = out / "tiny/version_0/last.ckpt"
    network = dctnet.load(ckpt)
    assert network.backbone_name == name
    assert network(network.preprocess(photos / "val/red/0.jpg")).shape == (1, 3)
    assert run("validate", "--ckpt_path", ckpt) == 0
    predictions = out / "p.csv"
    assert run("predict", "--ckpt_path", ckpt, "--data.root", photos / "val", "--out", predictions) == 0
    assert len(read_csv(predictions)) == 15
    assert run("export-mask", ckpt, "--out", out / "mask.json") == 0
    return ckpt


@pytest.mark.parametrize("name", ["test_efficientnet", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_from_fit_to_prediction_and_mask(photos, tmp_path, name):
    all_verbs(photos, tmp_path, name)


def test_a_tag_that_names_weights_takes_none_and_says_so(photos, tmp_path, caplog):
    tag = "test_efficientnet.r160_in1k"
    with caplog.at_level("INFO"):
        all_verbs(photos, tmp_path, tag)
    assert f"weights: none taken; {tag} names some, which --model.weights {tag} takes" in caplog.text


def test_a_vit_is_fitted_resumed_and_fine_tuned_at_another_size(photos, tmp_path, capsys):
    ckpt = all_verbs(photos, tmp_path, "test_vit")
    out = capsys.readouterr().out
    assert "designed for 160 px" in out
    more = ["--trainer.max_epochs", 2, "--allow_changes", "true", "--ckpt_path", ckpt]
    assert run("fit", "--config", tmp_path / "tiny.yaml", "--data.root", photos, "--out_dir", tmp_path, *more) == 0
    tune = ["fit", "--data.root", photos, "--out_dir", tmp_path, "--name", "tuned", "--model.weights", ckpt]
    tune += ["--data.image_size", 96, "--trainer.max_epochs", 1, "--data.batch_size", 6, "--data.num_workers", 0]
    capsys.readouterr()
    assert run(*tune, "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false") == 0
    assert dctnet.load(tmp_path / "tuned/version_0/last.ckpt").backbone_name == "test_vit"
    check_that_huge_networks_are_refused(ckpt, tmp_path / "huge.ckpt")


def check_that_huge_networks_are_refused(ckpt, huge):
    """They must not be built: the name of a network is a few bytes of a file that nobody has checked."""
    content = torch.load(ckpt, weights_only=True)
    for name, message in [("vit_7b_patch16_dinov3", "timm's eva"), ("vit_giant_patch16_gap_224", "fewer weights")]:
        content["hyper_parameters"]["backbone"] = name
        torch.save(content, huge)
        with pytest.raises(UserError, match=f"huge.ckpt: not a checkpoint of dctnet: .*{message}"):
            dctnet.load(huge)


def test_an_entry_at_one_eighth_is_kept_by_the_checkpoint_and_by_its_heirs(photos, tmp_path, capsys):
    ckpt = all_verbs(photos, tmp_path, "test_convnext", "--model.entry", "stride8")
    network = dctnet.load(ckpt)
    assert isinstance(network.backbone.stages[0], torch.nn.Identity)
    tune = ["fit", "--data.root", photos, "--out_dir", tmp_path, "--name", "tuned", "--model.weights", ckpt]
    tune += ["--trainer.max_epochs", 1, "--data.batch_size", 6, "--data.num_workers", 0]
    assert run(*tune, "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false") == 0
    assert dctnet.load(tmp_path / "tuned/version_0/last.ckpt").enters == "stride8"
    again = [
        "fit",
        "--config",
        tmp_path / "tiny.yaml",
        "--data.root",
        photos,
        "--out_dir",
        tmp_path,
        "--ckpt_path",
        ckpt,
    ]
    assert "was trained with entry stride8, now stem" in fails(capsys, *again)


def test_mistakes_are_one_line(photos, tmp_path, capsys):
    fit = ["fit", "--data.root", photos, "--out_dir", tmp_path, "--data.num_workers", 0, "--data.image_size", 72]
    assert "Did you mean 'convnext_atto'" in fails(capsys, *fit, "--model.backbone", "convnext_ato")
    assert "the nearest is 64" in fails(capsys, *fit, "--model.backbone", "test_vit")


def test_timm_arms_of_a_benchmark(photos, tmp_path, capsys):
    grid = {
        "data": {"root": str(photos), "image_size": 64, "batch_size": 6, "num_workers": 0},
        "model": {"backbone": "test_vit"},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
        "arms": [
            {"choose": "square", "channels": [24]},
            {"choose": "rgb_matched"},
            {"choose": "square", "channels": [24], "label": "conv", "model": {"backbone": "test_convnext"}},
            {"choose": "patchify", "label": "conv", "model": {"backbone": "test_convnext", "entry": "stride8"}},
        ],
        "seeds": [0],
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    command = ["benchmark", "--config", tmp_path / "grid.yaml", "--out", tmp_path / "out", "--jobs", 1]
    assert run(*command, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "native px" in out
    assert "patchify+conv" in out


def test_neither_help_nor_a_network_of_torchvision_imports_timm():
    code = (
        "import sys; from dctnet.training.module import FrequencyClassifier;"
        "FrequencyClassifier(['a', 'b'], [0, 1], 64, backbone='resnet18');"
        "from dctnet.cli import main\n"
        "try: main(['fit', '--help'])\nexcept SystemExit: pass\n"
        "assert 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)

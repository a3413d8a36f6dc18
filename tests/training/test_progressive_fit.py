"""Progressive sizes in a training: every batch has the size of its epoch, and the network must read all sizes."""

import pytest
import pytorch_lightning as pl
import torch

from dctnet.errors import UserError
from dctnet.model.network import FrequencyNet
from dctnet.training.progressive import check_sizes
from tests import commands
from tests.training.test_averaging import FIT
from tests.training.test_module import classifier, data, trainer

pytestmark = pytest.mark.usefixtures("small_backbones")


class Sides(pl.Callback):
    """Records the side of each training and validation batch."""

    def __init__(self):
        self.trained, self.validated = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.trained.append((trainer.current_epoch, batch["input"].shape[-1]))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.validated.append(batch["input"].shape[-1])


@pytest.mark.parametrize("options", [{}, {"input": "rgb"}], ids=str)
def test_each_epoch_trains_at_its_size_and_validation_is_at_full_size(photos, tmp_path, options):
    sides = Sides()
    run = trainer(tmp_path, max_epochs=4, callbacks=[sides])
    data_module = data(photos, progressive="0.5,1", num_workers=1, **options)
    run.fit(classifier(**options), data_module)
    blocks = 8 if options else 1
    assert sides.trained == [(epoch, blocks * (2 if epoch < 2 else 4)) for epoch in range(4) for _ in range(3)]
    assert set(sides.validated) == {4 * blocks}


class FixedGrid(torch.nn.Sequential):
    """Position embeddings for 4×4 blocks."""

    def __init__(self):
        super().__init__(torch.nn.Conv2d(24, 3, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        self.positions = torch.nn.Parameter(torch.zeros(1, 24, 4, 4))

    def forward(self, input):
        return super().forward(input + self.positions)


def test_a_network_with_a_fixed_grid_is_refused_by_name(photos, tmp_path):
    model = classifier()
    model.network.backbone = FixedGrid()
    with pytest.raises(
        UserError, match=r"resnet18 cannot read crops of 24 px, only of --data.image_size 32: RuntimeError: The size"
    ):
        trainer(tmp_path).fit(model, data(photos, progressive="0.75,1"))


def test_sizes_are_listed_with_their_cost():
    network = FrequencyNet(["a", "b"], "square-24", 64)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    half, full = network.cost()["gmac"] / 4, network.cost()["gmac"]
    assert check_sizes(network, [32, 64]) == f"32 px ({half:.3f} GMAC), 64 px ({full:.3f} GMAC)"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_mistakes_are_one_line(photos, tmp_path, capsys):
    fit = ("fit", "--data.root", photos, "--out_dir", tmp_path, *FIT)
    for options, message in (
        (
            ("--data.progressive", "0.6,1"),
            "0.6 of --data.image_size 32 is 19 px, no multiple of 8; the nearest are 0.5 ",
        ),
        (("--data.progressive", "[1, 0.5]"), "must be shares of --data.image_size that rise to 1, such as"),
        (("--data.progressive", "0.5,0.75,1"), "3 sizes need at least 3 epochs, got 1"),
        (
            ("--data.progressive", "0.5,1", "--trainer.max_epochs", "-1", "--trainer.max_steps", "9"),
            "set --trainer.max_ep",
        ),
        (
            ("--data.progressive", "0.5,1", "--trainer.max_epochs", 2, "--trainer.max_steps", 3),
            "without --trainer.max_steps 3, which could end before",
        ),
    ):
        assert message in commands.fails(capsys, *fit, *options)


def test_an_evaluation_at_another_size_does_not_need_the_shares(photos, tmp_path):
    fit = ("fit", "--data.root", photos, "--out_dir", tmp_path, *FIT, "--trainer.max_epochs", 2)
    assert commands.run(*fit, "--data.progressive", "0.5,1") == 0
    last = tmp_path / "run/version_0/last.ckpt"
    assert commands.run("validate", "--ckpt_path", last, "--data.image_size", 24) == 0  # half of it is 12 px

"""The LightningModule: what it computes, refuses, saves and loads."""

import shutil
import time

import pytest
import pytorch_lightning as pl
import torch
import torchvision

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError
from dctnet.training.module import FrequencyClassifier

pytestmark = pytest.mark.usefixtures("small_backbones")
CLASSES = ["blue", "green", "red"]


def classifier(**options):
    torch.manual_seed(0)
    return FrequencyClassifier(
        **{"classes": CLASSES, "channels": list(range(24)), "image_size": 32, "lr": 0.05, **options}
    )


def trainer(folder, **options):
    return pl.Trainer(
        default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        **{"max_epochs": 2, "enable_checkpointing": False, **options},
    )  # fmt: skip


def data(photos, **options):
    return FrequencyDataModule(
        str(photos), **{"channels": "square-24", "image_size": 32, "batch_size": 12, "num_workers": 0, **options}
    )


OPTIONS = [
    {},
    {"gate": "static", "keep": 6},
    {"gate": "dynamic", "sparsity_weight": 0.01},
    {"input": "rgb", "channels": []},
    {"input": "rgb", "channels": [], "stem": "patchify"},
    {"input": "rgb", "channels": [], "stem": "patchify_dct"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_fit_logs_its_metrics_and_lowers_the_loss(photos, tmp_path, options):
    losses = []

    class Losses(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            losses.append(float(trainer.callback_metrics["train_loss"]))

    run, model = trainer(tmp_path, max_epochs=6, callbacks=[Losses()]), classifier(**options)
    run.fit(model, data(photos, input=options.get("input", "channels")))
    metrics = run.callback_metrics
    assert {"train_loss", "val_acc1", "val_acc5", "val_loss", "images_per_second", "seconds"} <= metrics.keys()
    assert metrics["val_images"] == 15
    assert metrics["val_skipped"] == 0
    assert ("num_kept" in metrics) == ("gate" in options)
    assert min(losses[1:]) < losses[0]


def test_mixed_targets_are_trained_on_with_label_smoothing(photos, tmp_path):
    run, model = trainer(tmp_path, max_epochs=1), classifier(label_smoothing=0.2)
    seen = []
    model.loss.register_forward_hook(lambda loss, args, output: seen.append((*args, output)))
    run.fit(model, data(photos, mixup=1.0, augment="basic"))
    assert len(seen) == 3
    for logits, target, loss in seen:
        assert target.shape == (12, 3)
        assert (target.amax(1) < 1).any()
        smoothed = 0.8 * target + 0.2 / 3
        expected = -(smoothed * logits.log_softmax(1)).sum(1).mean()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_real_resnet_is_trained(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.models, "resnet18", torchvision.models.resnet.resnet18)
    run, model = trainer(tmp_path, max_epochs=1, limit_val_batches=2), classifier(gate="dynamic", keep=8)
    before = model.network.entry.weight.clone()
    run.fit(model, data(photos))
    assert run.global_step == 3
    assert not torch.equal(model.network.entry.weight, before)


def test_trains_with_plain_loaders_once_the_normalisation_is_fitted(tmp_path):
    samples = [{"input": torch.randn(24, 4, 4), "target": number % 3} for number in range(18)]
    loader = torch.utils.data.DataLoader(samples, batch_size=6)
    with pytest.raises(UserError, match="fit network.normalisation to your data"):
        trainer(tmp_path, max_epochs=1).fit(classifier(), loader)
    model, run = classifier(gate="static", keep=8), trainer(tmp_path, max_epochs=1)
    model.network.normalisation.fit(torch.zeros(24), torch.ones(24))
    run.fit(model, loader)
    assert run.global_step == 3


def test_normalised_channels_have_mean_0_and_deviation_1(photos, tmp_path):
    run, model, source = trainer(tmp_path, max_epochs=1), classifier(), data(photos)
    run.fit(model, source)
    batches = [source.on_after_batch_transfer(b, 0) for b in source.train_dataloader()]
    normalised = model.network.normalisation(torch.cat([b["input"] for b in batches]))
    assert normalised[:, 0].mean().abs() < 0.3
    assert normalised[:, 0].std() == pytest.approx(1, abs=0.3)


def test_checkpoint_loads_under_weights_only(photos, tmp_path):
    run, model = trainer(tmp_path), classifier(gate="dynamic", keep=8)
    run.fit(model, data(photos))
    run.save_checkpoint(tmp_path / "a.ckpt")
    again = FrequencyClassifier.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True).eval()
    assert again.network.normalisation.fitted
    inputs = torch.randn(4, 24, 4, 4)
    model.eval().cpu()
    assert torch.equal(model(inputs), again(inputs))
    assert again.hparams["classes"] == CLASSES


@pytest.mark.parametrize("options", [{"gate": "static", "keep": 8}, OPTIONS[-1]], ids=["gate", "patchify_dct"])
def test_resuming_fits_and_initialises_nothing_again(photos, tmp_path, options):
    input = options.get("input", "channels")
    run, model = trainer(tmp_path, max_epochs=1), classifier(**options)
    run.fit(model, data(photos, input=input))
    run.save_checkpoint(tmp_path / "a.ckpt")
    fresh = classifier(**options)
    again = trainer(tmp_path, max_epochs=2, limit_train_batches=0)
    again.fit(fresh, data(photos, seed=9, input=input), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    state = model.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in fresh.network.state_dict().items())


def test_loading_rgb_weights_is_logged(photos, tmp_path, caplog):
    from tests.small_backbones import SmallResNet

    torch.save(SmallResNet().state_dict(), tmp_path / "rgb.pt")
    model = classifier(weights=str(tmp_path / "rgb.pt"))
    with caplog.at_level("INFO"):
        trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(model, data(photos))
    assert f"{tmp_path / 'rgb.pt'}: taken: body; new: normalisation, entry, head (3 classes)" in caplog.text


def test_batch_without_readable_images_is_not_trained_on(own_photos, tmp_path):
    for split in ("train", "val"):
        for file in (own_photos / split / "blue").iterdir():
            file.write_bytes(b"")
    run, model = trainer(tmp_path, max_epochs=1), classifier(image_size=128)
    run.fit(model, data(own_photos, on_error="skip", batch_size=2, image_size=128))
    assert run.global_step == 9
    assert run.callback_metrics["val_images"] == 6
    assert run.callback_metrics["val_skipped"] == 3
    assert all(p.isfinite().all() for p in model.parameters())


def test_validation_without_readable_images_is_refused(own_photos, tmp_path):
    for file in (own_photos / "val").rglob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match="no validation image is readable"):
        trainer(tmp_path).validate(classifier(), data(own_photos, on_error="skip"), verbose=False)


def test_images_per_second_exclude_validation(photos, tmp_path):
    class Slow(pl.Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            time.sleep(2)

    run = trainer(tmp_path, max_epochs=1, callbacks=[Slow()], num_sanity_val_steps=0)
    started = time.perf_counter()
    run.fit(classifier(), data(photos))
    training = 36 / float(run.callback_metrics["images_per_second"])
    assert training < time.perf_counter() - started - 2


def test_adamw_trains_and_compile_compiles_the_backbone(photos, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    run = trainer(tmp_path, max_epochs=1)
    model = classifier(optimizer="adamw", lr=1e-3, compile=True, channels_last=False)
    run.fit(model, data(photos))
    assert compiled == [model.network.backbone]


def test_lightnings_weight_averaging_works(photos, tmp_path):
    from pytorch_lightning.callbacks import EMAWeightAveraging

    weights = []
    for callbacks in ([], [EMAWeightAveraging(decay=0.5)]):
        run, model = trainer(tmp_path, callbacks=callbacks), classifier(gate="static", keep=8)
        run.fit(model, data(photos))
        weights.append(model.network.entry.weight)
    assert not torch.equal(*weights)


NUMBERS = (
    "lr", "gate_lr", "tau_start", "tau_end", "weight_decay", "sparsity_weight", "momentum", "warmup", "gate_warmup",
    "label_smoothing",
)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 5}, "need --model.gate"),
        ({"sparsity_weight": 0.1}, "need --model.gate"),
        ({"gate": "static", "keep": 25}, "must be at most 24"),
        ({"gate": "static", "keep": 0}, "--model.keep must be at least 1"),
        ({"lr": 0.0}, "--model.lr must be above 0"),
        ({"weight_decay": -1.0}, "--model.weight_decay must be at least 0"),
        ({"momentum": 1.0}, "--model.momentum must be at least 0 and below 1"),
        ({"tau_end": 0.0}, "--model.tau_end must be above 0"),
        ({"label_smoothing": 1.0}, "--model.label_smoothing must be at least 0 and below 1"),
        ({"gate": "static", "sparsity_weight": -1.0}, "--model.sparsity_weight must be at least 0"),
        *(({name: float("nan")}, f"--model.{name} must be finite, got nan") for name in NUMBERS),
        ({"lr": float("inf")}, "--model.lr must be finite, got inf"),
        *(({name: None}, f"--model.{name} must not be null") for name in ("lr", "tau_end")),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        classifier(**options)


def test_training_without_an_end_is_refused(photos, tmp_path):
    with pytest.raises(UserError, match="max_epochs or"):
        trainer(tmp_path, max_epochs=-1).fit(classifier(), data(photos))


def test_evaluation_returns_the_rank_of_each_target():
    model = classifier(classes=list("abcd")).eval()
    model.log = lambda *args, **kwargs: None
    logits = torch.tensor([[1.0, 3.0, 2.0, 0.0], [1.0, 3.0, 2.0, 0.0], [2.0, 2.0, 2.0, 1.0], [2.0, 2.0, 2.0, 1.0]])
    model.network.forward_gated = lambda batch: (logits, None)
    target = torch.tensor([1, 3, 0, 2])
    batch = {"input": logits, "target": target, "index": torch.arange(4), "bad": []}
    assert model.validation_step(batch, 0)["rank"].tolist() == [0, 3, 0, 2]
    assert model.test_step(batch, 0)["index"].tolist() == [0, 1, 2, 3]


class Seen(pl.Callback):
    """Keeps index and input of all batches of training and validation."""

    def __init__(self):
        self.train, self.val = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.train.append((batch["index"].tolist(), batch["input"].clone()))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.val.append(batch["index"].tolist())


@pytest.mark.parametrize(("overfit", "count"), [(2, 2), (0.34, 2)])
def test_overfitting_trains_on_the_first_batches_in_the_order_of_the_files(photos, tmp_path, overfit, count):
    seen = Seen()
    run = trainer(tmp_path, overfit_batches=overfit, max_epochs=2, callbacks=[seen], num_sanity_val_steps=0)
    run.fit(classifier(), data(photos, batch_size=6))
    first = [list(range(start, start + 6)) for start in range(0, 6 * count, 6)]
    assert [index for index, _ in seen.train] == 2 * first
    assert not torch.equal(seen.train[0][1], seen.train[count][1])  # other crops in each epoch
    assert seen.val[: len(seen.val) // 2] == seen.val[len(seen.val) // 2 :]
    assert seen.val[0] == list(range(6))
    # A checkpoint of it is resumed in the same order.
    run.save_checkpoint(tmp_path / "a.ckpt")
    again = trainer(tmp_path, overfit_batches=overfit, max_epochs=3, callbacks=[seen], num_sanity_val_steps=0)
    again.fit(classifier(), data(photos, batch_size=6), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert [index for index, _ in seen.train] == 3 * first


def test_balanced_options_change_the_training_and_their_defaults_do_not(photos, tmp_path):
    unbalanced = tmp_path / "photos"
    shutil.copytree(photos, unbalanced)
    for number in range(3, 12):
        (unbalanced / "train" / "red" / f"{number}.jpg").unlink()

    def trained(**options):
        model = classifier(label_smoothing=0.1)
        trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(model, data(unbalanced, batch_size=9, **options))
        return model

    plain = trained()
    changes = [{"sampler": "shuffle", "class_weights": "none"}, {"sampler": "balanced"}, {"class_weights": "balanced"}]
    states = [trained(**each).state_dict() for each in changes]
    assert plain.loss.class_weights is None
    same = [all(torch.equal(value, state[name]) for name, value in plain.state_dict().items()) for state in states]
    assert same == [True, False, False]
    assert {frozenset(state) for state in states} == {frozenset(plain.state_dict())}


def test_a_balanced_sampler_does_not_read_files_in_their_order(photos, tmp_path):
    with pytest.raises(UserError, match="overfit_batches reads files in order: not with --data.sampler balanced"):
        trainer(tmp_path, overfit_batches=2).fit(classifier(), data(photos, sampler="balanced"))

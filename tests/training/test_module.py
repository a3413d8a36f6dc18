"""The LightningModule: what it computes, refuses, saves and loads."""

import pytest
import pytorch_lightning as pl
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError
from dctnet.training.module import FrequencyClassifier

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


@pytest.mark.parametrize("options", [{}, {"gate": "static", "keep": 6}, {"gate": "dynamic", "sparsity_weight": 0.01}])
def test_fit_reports_what_it_promises(photos, tmp_path, options):
    run, model = trainer(tmp_path), classifier(**options)
    run.fit(model, data(photos))
    metrics = run.callback_metrics
    assert {"train_loss", "val_acc1", "val_acc5", "val_loss", "images_per_second"} <= metrics.keys()
    assert metrics["val_images"] == 15
    assert metrics["val_skipped"] == 0
    assert ("num_kept" in metrics) == bool(options)


@pytest.mark.parametrize("options", [{}, {"gate": "dynamic"}, {"input": "rgb", "channels": []}])
def test_three_colours_are_learned(photos, tmp_path, options):
    run, model = trainer(tmp_path, max_epochs=12), classifier(**options)
    run.fit(model, data(photos, input=options.get("input", "channels"), batch_size=6))
    assert run.callback_metrics["val_acc1"] > 0.6


def test_rgb_keeps_the_stem():
    model = classifier(input="rgb", channels=[])
    assert model.input_shape == (3, 32, 32)
    assert model.backbone.conv1.weight.shape == (64, 3, 7, 7)


def test_normalised_channels_have_mean_0_and_deviation_1(photos, tmp_path):
    run, model, source = trainer(tmp_path, max_epochs=1), classifier(), data(photos)
    run.fit(model, source)
    batches = [source.on_after_batch_transfer(b, 0) for b in source.train_dataloader()]
    normalised = model.normalisation(torch.cat([b["input"] for b in batches]))
    assert normalised[:, 0].mean().abs() < 0.3
    assert normalised[:, 0].std() == pytest.approx(1, abs=0.3)


def test_checkpoint_loads_by_itself_under_weights_only(photos, tmp_path):
    run, model = trainer(tmp_path), classifier(gate="dynamic", keep=8)
    run.fit(model, data(photos))
    run.save_checkpoint(tmp_path / "a.ckpt")
    again = FrequencyClassifier.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True).eval()
    assert again.normalisation.fitted
    inputs = torch.randn(4, 24, 4, 4)
    model.eval().cpu()
    assert torch.equal(model(inputs)[0], again(inputs)[0])
    assert again.hparams["classes"] == CLASSES


def test_resuming_does_not_fit_the_normalisation_anew(photos, tmp_path):
    run, model = trainer(tmp_path, max_epochs=1), classifier(gate="static", keep=8)
    run.fit(model, data(photos))
    run.save_checkpoint(tmp_path / "a.ckpt")
    fresh = classifier(gate="static", keep=8)
    trainer(tmp_path, max_epochs=2).fit(fresh, data(photos, seed=9), ckpt_path=tmp_path / "a.ckpt")
    assert torch.equal(fresh.normalisation.mean, model.normalisation.mean)


def test_evaluation_is_deterministic_and_training_is_not():
    model = classifier(gate="static")
    inputs = torch.randn(4, 24, 4, 4)
    with torch.no_grad():
        model.gate.logits.zero_()
        model.eval()
        assert torch.equal(model(inputs)[0], model(inputs)[0])
        model.train()
        assert not torch.equal(model(inputs)[0], model(inputs)[0])


def test_closed_channels_change_nothing():
    model = classifier(gate="static").eval()
    with torch.no_grad():
        model.gate.logits[5:] = -1
    inputs = torch.randn(4, 24, 4, 4)
    other = inputs.clone()
    other[:, 5:] = 99
    assert torch.equal(model(inputs)[0], model(other)[0])


def test_fewer_channels_are_fewer_weights():
    all_channels = classifier(channels=list(range(192))).cost()
    some = classifier().cost()
    assert all_channels["parameters"] - some["parameters"] == (192 - 24) * 64
    assert some["values"] == 24 * 4 * 4
    assert some["gmac"] < all_channels["gmac"]


def test_warm_start_says_what_it_took(photos, tmp_path, caplog):
    from torchvision.models import resnet18

    torch.save(resnet18().state_dict(), tmp_path / "rgb.pt")
    model = classifier(weights=str(tmp_path / "rgb.pt"))
    with caplog.at_level("INFO"):
        trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(model, data(photos))
    assert "tensors taken" in caplog.text
    assert "tensors left new: conv1.weight" in caplog.text or "left new: bn1" in caplog.text


def test_empty_batch_trains_nothing_and_counts_nothing(own_photos, tmp_path):
    for split in ("train", "val"):
        for file in (own_photos / split / "blue").iterdir():
            file.write_bytes(b"")
    run, model = trainer(tmp_path, max_epochs=1), classifier(image_size=128)
    run.fit(model, data(own_photos, on_error="skip", batch_size=2, image_size=128))
    assert run.global_step == 9
    assert run.callback_metrics["val_images"] == 6
    assert run.callback_metrics["val_skipped"] == 3
    assert all(p.isfinite().all() for p in model.parameters())


def test_validation_over_no_image_is_refused(own_photos, tmp_path):
    for file in (own_photos / "val").rglob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match="none of the validation images can be read"):
        trainer(tmp_path).validate(classifier(), data(own_photos, on_error="skip"), verbose=False)


def test_clock_stops_while_validating(photos, tmp_path):
    import time

    class Slow(pl.Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            time.sleep(2)

    run = trainer(tmp_path, max_epochs=1, callbacks=[Slow()], num_sanity_val_steps=0)
    started = time.perf_counter()
    run.fit(classifier(), data(photos))
    # 36 images in an epoch that takes two seconds more than its training.
    training = 36 / float(run.callback_metrics["images_per_second"])
    assert training < time.perf_counter() - started - 2


def test_adamw_trains_and_compile_is_asked_for(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    compiled = []
    run, model = (
        trainer(tmp_path, max_epochs=1),
        classifier(optimizer="adamw", lr=1e-3, compile=True, channels_last=False),
    )
    run.fit(model, data(photos))
    assert compiled == [model.backbone]


def test_averaged_weights_callback_of_lightning_works(photos, tmp_path):
    from pytorch_lightning.callbacks import EMAWeightAveraging

    run = trainer(tmp_path, callbacks=[EMAWeightAveraging(decay=0.5)])
    run.fit(classifier(gate="static", keep=8), data(photos))
    assert run.callback_metrics["val_acc1"] >= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["one"]}, "at least two classes"),
        ({"keep": 5}, "need --model.gate"),
        ({"sparsity_weight": 0.1}, "need --model.gate"),
        ({"gate": "static", "keep": 25}, "1…24"),
        ({"gate": "static", "input": "rgb"}, "must be none"),
        ({"lr": 0.0}, "--model.lr"),
        ({"weight_decay": -1.0}, "--model.weight_decay"),
        ({"momentum": 1.0}, "--model.momentum"),
        ({"gate": "static", "tau_end": 0.0}, "--model.tau_end"),
        ({"label_smoothing": 1.0}, "--model.label_smoothing"),
        ({"gate": "static", "sparsity_weight": -1.0}, "--model.sparsity_weight"),
        *(
            ({"gate": "static", name: value}, f"--model.{name} must be finite, got {value}")
            for value in (float("nan"), float("inf"), -float("inf"))
            for name in (
                *("lr", "gate_lr", "tau_start", "tau_end", "weight_decay", "sparsity_weight"),
                *("momentum", "warmup", "gate_warmup", "label_smoothing"),
            )
        ),
        ({"lr": None}, "--model.lr must not be null"),
        ({"tau_end": None}, "--model.tau_end must not be null"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        classifier(**options)


def test_training_without_an_end_is_refused(photos, tmp_path):
    with pytest.raises(UserError, match="max_epochs or"):
        trainer(tmp_path, max_epochs=-1).fit(classifier(), data(photos))


def test_each_evaluated_image_says_at_which_place_its_class_came():
    model = classifier(classes=list("abcd")).eval()
    model.log = lambda *args, **kwargs: None
    logits = torch.tensor([[1.0, 3.0, 2.0, 0.0], [1.0, 3.0, 2.0, 0.0], [2.0, 2.0, 2.0, 1.0], [2.0, 2.0, 2.0, 1.0]])
    model.forward = lambda batch: (logits, None)
    target = torch.tensor([1, 3, 0, 2])
    batch = {"input": logits, "target": target, "index": torch.arange(4), "bad": []}
    assert model.validation_step(batch, 0)["rank"].tolist() == [0, 3, 0, 2]
    assert model.test_step(batch, 0)["index"].tolist() == [0, 1, 2, 3]

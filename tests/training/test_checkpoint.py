"""Checkpoints: loading a network for inference, files of older versions, files that are no checkpoint."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import dctnet
from dctnet.errors import UserError
from dctnet.training import checkpoint
from dctnet.training.resume import check_resumed
from tests.training.test_module import classifier, data, trainer

pytestmark = pytest.mark.usefixtures("small_backbones")


@pytest.fixture
def ckpt(gated_run):
    return gated_run / "out" / "tiny" / "version_0" / "last.ckpt"


def older(path, target):
    """The same checkpoint as a version wrote it whose LightningModule itself was the network."""
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {name.removeprefix("network."): value for name, value in content["state_dict"].items()}
    content["state_dict"]["normalisation.fitted"] = content["state_dict"]["normalisation.fitted"].bool()
    content["hyper_parameters"]["scale"] = "channel"
    for later in ("freeze", "companding"):
        del content["hyper_parameters"][later]
    torch.save(content, target)
    return target


def test_loaded_network_predicts_as_validation_does(gated_run, ckpt):
    network = dctnet.load(ckpt)
    assert not network.training
    assert network.classes == ["blue", "green", "red"]
    assert len(network.channels) == 24
    model, source = checkpoint.load_classifier(ckpt)
    source.setup("validate")
    batch = next(iter(source.val_dataloader()))
    batch = source.on_after_batch_transfer(source.on_before_batch_transfer(batch, 0), 0)
    paths = [source.files("val").paths[i] for i in batch["index"]]
    inputs = torch.cat([network.preprocess(path) for path in paths])
    with torch.no_grad():
        assert torch.equal(network(inputs), model.eval()(batch["input"]))


def test_preprocess_reads_paths_bytes_and_images(gated_run, ckpt):
    network, path = dctnet.load(ckpt), next((gated_run / "photos" / "val" / "red").iterdir())
    from_path = network.preprocess(str(path))
    assert from_path.shape == (1, 24, 8, 8)
    assert torch.equal(network.preprocess(path.read_bytes()), from_path)
    with Image.open(path) as image:
        # Pillow's samples and libjpeg-turbo's can differ by one level.
        assert (network.preprocess(image) - from_path).abs().max() <= 8
    with pytest.raises(UserError, match="bytes"):
        network.preprocess(b"no image")


def test_rgb_network_is_loaded_with_its_own_preprocessing(photos, tmp_path):
    run, model = trainer(tmp_path, max_epochs=1), classifier(input="rgb", channels=[])
    run.fit(model, data(photos, input="rgb"))
    run.save_checkpoint(tmp_path / "a.ckpt")
    network = dctnet.load(tmp_path / "a.ckpt")
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(buffer, "PNG")
    input = network.preprocess(buffer.getvalue())
    assert network.channels is None
    assert input.shape == (1, 3, 32, 32)
    assert (input - 90).abs().max() < 2
    assert network(input).shape == (1, 3)


def test_checkpoints_of_older_versions_are_read(ckpt, tmp_path):
    network, old = dctnet.load(ckpt), dctnet.load(older(ckpt, tmp_path / "old.ckpt"))
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in network.state_dict().items())
    assert old.normalisation.companding == "none"


def test_a_network_with_companding_is_loaded_with_it(photos, tmp_path):
    run, model = trainer(tmp_path, max_epochs=1), classifier(companding="asinh")
    run.fit(model, data(photos))
    run.save_checkpoint(tmp_path / "a.ckpt")
    network, channels = dctnet.load(tmp_path / "a.ckpt"), torch.randn(2, 24, 4, 4) * 50
    assert network.normalisation.companding == "asinh"
    with torch.no_grad():
        assert torch.allclose(network(channels), model.eval()(channels), atol=1e-5)


def test_older_checkpoint_is_resumed(photos, tmp_path):
    run, model = trainer(tmp_path, max_epochs=1), classifier(gate="static", keep=8)
    run.fit(model, data(photos))
    run.save_checkpoint(tmp_path / "a.ckpt")
    results = []
    for path in (tmp_path / "a.ckpt", older(tmp_path / "a.ckpt", tmp_path / "old.ckpt")):
        fresh = classifier(gate="static", keep=8)
        trainer(tmp_path, max_epochs=2).fit(fresh, data(photos), ckpt_path=path, weights_only=True)
        results.append(fresh.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


@pytest.mark.parametrize(("stem", "renamed"), [("patches", "patchify"), ("patches_dct", "patchify_dct")])
def test_older_names_of_stems_are_translated(photos, tmp_path, stem, renamed):
    run, model = trainer(tmp_path, max_epochs=1), classifier(input="rgb", channels=[], stem=renamed)
    run.fit(model, data(photos, input="rgb"))
    run.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    content["hyper_parameters"]["stem"] = stem
    torch.save(content, tmp_path / "a.ckpt")
    assert dctnet.load(tmp_path / "a.ckpt").entry.kernel_size == (8, 8)
    assert checkpoint.read_options(tmp_path / "a.ckpt")[0]["stem"] == renamed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("hyper_parameters"), "not a checkpoint of dctnet: KeyError: 'hyper_parameters'"),
        (lambda c: c["hyper_parameters"].pop("gate"), "it has no option gate"),
        (lambda c: c.update(datamodule_hyper_parameters=["root"]), "not a checkpoint of dctnet"),
        (lambda c: c["datamodule_hyper_parameters"].update(crop_fraction=5.0), "crop_fraction must be at least 0.05"),
        (lambda c: c["hyper_parameters"].update(image_size=30), "image_size must be a multiple of 8"),
        (lambda c: c["hyper_parameters"].update(keep="many"), "not a checkpoint of dctnet"),
        (lambda c: c["hyper_parameters"].update(keep="6"), "option 'keep' must not be '6'"),
        (lambda c: c["hyper_parameters"].update(surprise=1), "not a checkpoint of dctnet"),
        (lambda c: c["hyper_parameters"].update(channels=[3, 2]), "indices must ascend"),
        (lambda c: c["hyper_parameters"].update(classes=[["a"], ["b"]]), "option 'classes' must be text"),
        (lambda c: c["hyper_parameters"].update(classes=["a", "\ud800"]), "option 'classes' must be text"),
        (lambda c: c["hyper_parameters"].update(backbone="mobilenet_v2"), "do not fit the network of its options"),
        (lambda c: c["state_dict"].update(extra="text"), "'state_dict' must hold tensors"),
        (lambda c: c["state_dict"].pop("network.gate.logits"), "do not fit the network of its options"),
        (lambda c: c["state_dict"]["network.gate.logits"].fill_(float("nan")), "network.gate.logits has NaN"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused_in_one_line(ckpt, tmp_path, change, message):
    content = torch.load(ckpt, weights_only=True)
    change(content)
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match=message) as caught:
        dctnet.load(tmp_path / "bad.ckpt")
    assert str(tmp_path / "bad.ckpt") in str(caught.value) or "must be" in message
    assert "\n" not in str(caught.value)


def part_of(content, *keys):
    for key in keys:
        content = content[key]
    return content


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("left_out"),
        lambda c: c.update(loops={}),
        lambda c: c["optimizer_states"].clear(),
        lambda c: c["FrequencyDataModule"].update(train={"sha256": "x"}),
        lambda c: part_of(c, "loops", "fit_loop", "epoch_progress", "current").update(processed="x"),
        lambda c: part_of(c, "loops", "fit_loop", "epoch_progress", "current").pop("completed"),
        lambda c: part_of(c, "loops", "fit_loop", "epoch_loop.batch_progress", "total").update(completed=None),
        lambda c: part_of(c, "loops", "fit_loop", "epoch_loop.state_dict").update(_batches_that_stepped="x"),
    ],
)
def test_incomplete_training_state_is_refused_in_one_line(ckpt, tmp_path, change):
    content = torch.load(ckpt, weights_only=True)
    change(content)
    torch.save(content, tmp_path / "bad.ckpt")
    model, source = checkpoint.load_classifier(ckpt)
    with pytest.raises(UserError, match="bad.ckpt cannot be resumed: ") as caught:
        check_resumed(tmp_path / "bad.ckpt", trainer(tmp_path), model, source, allow=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["relative/best.ckpt", "/runs/../home/best.ckpt", "local:///home/best.ckpt", "memory::/x", 3]
)
@pytest.mark.parametrize("key", ["best_model_path", "best_k_models"])
def test_paths_by_which_lightning_would_delete_files_elsewhere_are_refused(ckpt, tmp_path, path, key):
    content = torch.load(ckpt, weights_only=True)
    state = next(s for name, s in content["callbacks"].items() if "BestCheckpoint" in name)
    state[key] = {path: torch.tensor(1.0)} if key == "best_k_models" else path
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match=f"{key} is .*must be a normalised absolute path"):
        checkpoint.read(tmp_path / "bad.ckpt")


def test_missing_file_gets_the_nearest_name(ckpt):
    with pytest.raises(UserError, match=r"no such checkpoint\. Did you mean .*last\.ckpt"):
        dctnet.load(ckpt.with_name("lost.ckpt"))


def test_public_names_are_importable():
    assert {getattr(dctnet, name) is not None for name in dctnet.__all__} == {True}
    assert dctnet.load is checkpoint.load
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        dctnet.lod  # noqa: B018

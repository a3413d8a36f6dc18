"""Export to ONNX and safetensors: what is written computes the same, and is evaluated like a checkpoint."""

import json

import pytest
import torch

import dctnet
from dctnet.errors import UserError
from dctnet.export import command
from dctnet.export.command import export
from dctnet.frequency.channels import PlanesToChannels
from dctnet.frequency.color import rgb_to_ycbcr
from dctnet.model.fixed import without_dropped_channels
from dctnet.training.safetensors_file import write_safetensors
from tests.commands import CKPT, fails, read_csv, run
from tests.export.test_graph import network, pixels

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from dctnet.export.onnx_file import OnnxNetwork, trace, with_metadata  # noqa: E402

pytestmark = pytest.mark.usefixtures("small_backbones")


def exported(own: torch.nn.Module, example: torch.Tensor, opset: int = 18) -> OnnxNetwork:
    model = dict.fromkeys(("input", "channels", "classes", "gate", "image_size"))
    about = {"dctnet": "0", "format": "dctnet-onnx", "version": 1, "cost": {}, "model": model, "data": {}}
    return OnnxNetwork(with_metadata(trace(own, example, "channels", opset), about))


@pytest.mark.parametrize(
    "options", [{"gate": "dynamic"}, {"gate": "dynamic", "squeeze": "mean"}, {"companding": "asinh"}]
)
def test_the_graph_computes_the_same_logits_for_batches_of_any_size(options):
    own = network(**options)
    if own.gate is not None:  # a gate that decides differently for each image
        own.gate.scale.data, own.gate.bias.data = torch.randn(24), torch.randn(24)
    channels = torch.randn(5, 24, 4, 4) * torch.rand(5, 24, 1, 1) * 50
    if own.gate is not None:
        assert len(own.kept_channels(channels).unique(dim=0)) > 1
    graph = exported(own, channels[:2])
    for count in (1, 2, 5):
        assert torch.allclose(graph(channels[:count]), own(channels[:count]), atol=1e-4)


def test_the_verb_writes_a_static_gates_channels_alone_and_checks_the_result(gated_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(gated_run)
    run("export", CKPT, "--out", tmp_path / "model.onnx", "--opset", "20")
    own = without_dropped_channels(dctnet.load(CKPT))
    graph = OnnxNetwork(tmp_path / "model.onnx")
    assert graph.metadata["channels"] == list(own.channels.indices)
    assert graph.metadata["classes"] == own.classes
    assert len(own.channels) < 24
    channels = torch.randn(2, *own.input_shape) * 30
    assert torch.allclose(graph(channels), own(channels), atol=1e-4)
    assert "15 of 15 labels agree" in (printed := capsys.readouterr().out)
    assert "opset 20" in printed
    text = (tmp_path / "model.onnx").read_bytes()
    assert b"site-packages" not in text  # no path of the machine that exported it


def test_pixels_in_computes_the_same_as_channels_in(gated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(gated_run)
    export(CKPT, out=str(tmp_path / "pixels.onnx"), input="pixels")
    own = without_dropped_channels(dctnet.load(CKPT))
    rgb = pixels(2, 64)
    channels = PlanesToChannels(own.channels)(rgb_to_ycbcr(rgb.float()))
    assert torch.allclose(OnnxNetwork(tmp_path / "pixels.onnx")(rgb), own(channels), atol=1e-3)


@pytest.mark.parametrize("name", ["model.onnx", "pixels.onnx", "model.safetensors"])
def test_validate_and_predict_take_the_file_like_the_checkpoint(gated_run, tmp_path, monkeypatch, name, capsys):
    monkeypatch.chdir(gated_run)
    file = tmp_path / name
    export(CKPT, out=str(file), input="pixels" if name.startswith("pixels") else None)
    tables = []
    for number, ckpt in enumerate((CKPT, file)):
        run("validate", "--ckpt_path", ckpt, "--trainer.accelerator", "cpu")
        out = tmp_path / f"{number}.csv"
        run("predict", "--ckpt_path", ckpt, "--data.root", "photos/val", "--out", out, "--trainer.accelerator", "cpu")
        tables.append(read_csv(out))
    agreed = [one["label"] == other["label"] for one, other in zip(*tables, strict=True)]
    assert sum(agreed) >= len(agreed) - (1 if name.startswith("pixels") else 0)
    if not name.startswith("pixels"):
        close = [abs(float(a["probability"]) - float(b["probability"])) < 1e-4 for a, b in zip(*tables, strict=True)]
        assert all(close)


def test_an_evaluation_of_the_file_names_the_network_that_was_exported(gated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(gated_run)
    content = torch.load(CKPT, weights_only=True)
    content["hyper_parameters"]["backbone"] = "resnet34"  # also a small one here
    torch.save(content, tmp_path / "other.ckpt")
    export(str(tmp_path / "other.ckpt"), out=str(tmp_path / "model.onnx"))
    assert run("validate", "--ckpt_path", tmp_path / "model.onnx", "--out", tmp_path / "evaluation") == 0
    record = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    assert record["facts"]["network"].startswith("resnet34 on ")


def test_a_mask_is_written_from_a_safetensors_file(gated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(gated_run)
    export(CKPT, out=str(tmp_path / "model.safetensors"))
    masks = [tmp_path / "own.json", tmp_path / "exported.json"]
    for ckpt, mask in zip((CKPT, tmp_path / "model.safetensors"), masks, strict=True):
        assert run("export-mask", ckpt, "--out", mask) == 0
    own, exported = (json.loads(mask.read_text()) for mask in masks)
    assert (own["channels"], own["keep_probability"]) == (exported["channels"], exported["keep_probability"])


@pytest.mark.parametrize("input", ["channels", "pixels"])
def test_int8_is_smaller_and_says_what_it_costs(gated_run, tmp_path, monkeypatch, capsys, input):
    monkeypatch.chdir(gated_run)
    export(CKPT, out=str(tmp_path / "small.onnx"), input=input, int8=True)
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("calibrated on 36 train images", "accuracy", "size", "images/s"))
    graph = OnnxNetwork(tmp_path / "small.onnx")
    assert graph.metadata["int8"]
    written = onnx.load(tmp_path / "small.onnx").graph
    assert any(node.op_type == "QuantizeLinear" for node in written.node)
    first = next(node for node in written.node if node.op_type in ("Conv", "QuantizeLinear"))
    assert (first.op_type == "Conv") == (input == "pixels")  # the block DCT stays in float32


def test_a_network_that_differs_after_conversion_is_refused(gated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(gated_run)
    monkeypatch.setattr(command, "trace", lambda own, *rest: trace(torch.nn.Sequential(own, torch.nn.Tanh()), *rest))
    with pytest.raises(UserError, match="differs from the checkpoint.*nothing is written"):
        export(CKPT, out=str(tmp_path / "model.onnx"))
    assert not list(tmp_path.iterdir())


def test_a_network_whose_logits_are_not_finite_is_refused(gated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(gated_run)
    content = torch.load(CKPT)
    content["state_dict"]["network.backbone.fc.weight"].fill_(3e38)
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match="own logits of .* are not finite; nothing is written"):
        export(str(tmp_path / "bad.ckpt"), out=str(tmp_path / "model.onnx"))
    assert not (tmp_path / "model.onnx").exists()


def test_without_the_photographs_of_the_training_pictures_are_generated(gated_run, tmp_path, monkeypatch, capsys):
    content = torch.load(gated_run / CKPT)
    content["datamodule_hyper_parameters"]["root"] = str(tmp_path / "moved")
    torch.save(content, tmp_path / "last.ckpt")
    export(str(tmp_path / "last.ckpt"), out=str(tmp_path / "model.onnx"), images=8)
    assert "generated pictures: 8 of 8 labels agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "model.pt"], "must end in .onnx or .safetensors"),
        (["--out", "nowhere/model.onnx"], "no such folder nowhere"),
        (["--out", "w.safetensors", "--int8", "true"], "--int8: for ONNX files"),
        (["--out", "w.safetensors", "--opset", "20", "--data.root", "x"], "--opset, --data.root: for ONNX files"),
        (["--out", "w.safetensors", "--images", "9"], "--images: for ONNX files"),
        (["--out", "m.onnx", "--opset", "5"], "--opset 5"),
        (["--out", "m.onnx", "--opset", "99"], "--opset 99"),
        (["--out", "m.onnx", "--opset", "23", "--int8", "true"], "--int8 writes operators of --opset 18…20, got 23"),
        (["--out", "m.onnx", "--images", "0"], "--images must be at least 1"),
        (["--out", "m.onnx", "--input", "mask"], "mask"),
        (["--out", "m.onnx", "--data.root", "missing"], "missing"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(gated_run, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, "export", gated_run / CKPT, *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.onnx", "pixels.onnx", "model.safetensors"])
def test_no_path_of_this_machine_is_published(gated_run, tmp_path, name):
    content = torch.load(gated_run / CKPT)
    options = {"root": str(gated_run / "photos"), "channels": str(gated_run / "mask.json"), "classes": "/home/me/list"}
    content["datamodule_hyper_parameters"] |= options
    torch.save(content, tmp_path / "last.ckpt")
    file = tmp_path / name
    of_onnx = {"input": "pixels" if name.startswith("pixels") else "channels", "images": 8}
    export(str(tmp_path / "last.ckpt"), out=str(file), **(of_onnx if file.suffix == ".onnx" else {}))
    written = file.read_bytes()
    assert str(gated_run).encode() not in written
    assert b"/home/me" not in written
    assert b"photos" in written


def test_a_safetensors_file_that_differs_is_not_written(gated_run, tmp_path, monkeypatch):
    def with_other_weights(path, content):
        state = {name: tensor * 2 for name, tensor in content["state_dict"].items()}
        write_safetensors(path, {**content, "state_dict": state})

    monkeypatch.setattr(command, "write_safetensors", with_other_weights)
    with pytest.raises(UserError, match="differ; nothing is written"):
        export(str(gated_run / CKPT), out=str(tmp_path / "model.safetensors"))
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_not_replaced(gated_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(gated_run)
    (tmp_path / "model.onnx").write_bytes(b"mine")
    assert "exists" in fails(capsys, "export", CKPT, "--out", tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == b"mine"


def test_files_of_other_programs_are_refused(tmp_path, capsys):
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf")
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", value[:1], value[1:]), ir_version=10)
    onnx.save(model, tmp_path / "other.onnx")
    (tmp_path / "broken.safetensors").write_bytes(b"no header")
    reasons = {
        "broken.onnx": "cannot run it",
        "other.onnx": "not written by dctnet export",
        "missing.onnx": "no such",
        "broken.safetensors": "not a checkpoint of dctnet",
    }
    for name, message in reasons.items():
        assert message in fails(capsys, "validate", "--ckpt_path", tmp_path / name)


@pytest.mark.parametrize("change", [{"version": 99}, {"cost": None}, {"model": {}}, {"data": []}, "text", None])
def test_manipulated_metadata_are_one_line(gated_run, tmp_path, monkeypatch, capsys, change):
    monkeypatch.chdir(gated_run)
    export(CKPT, out=str(tmp_path / "good.onnx"), images=4)
    model = onnx.load(tmp_path / "good.onnx")
    about = OnnxNetwork(tmp_path / "good.onnx").metadata
    changed = json.dumps({**about, **change}) if isinstance(change, dict) else (change or "{" * 100_000)
    onnx.helper.set_model_props(model, {"dctnet": changed})
    onnx.save(model, tmp_path / "bad.onnx")
    assert "its metadata are not those of dctnet export" in fails(
        capsys, "validate", "--ckpt_path", tmp_path / "bad.onnx"
    )


def test_another_image_size_is_one_line(gated_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(gated_run)
    export(CKPT, out=str(tmp_path / "model.onnx"), images=4)
    line = fails(capsys, "validate", "--ckpt_path", tmp_path / "model.onnx", "--data.image_size", "128")
    assert "reads inputs of" in line


def test_int8_needs_training_photographs(gated_run, tmp_path, monkeypatch):
    content = torch.load(gated_run / CKPT)
    content["datamodule_hyper_parameters"]["root"] = str(tmp_path / "moved")
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"calibrated on training images.*--data\.root"):
        export(str(tmp_path / "last.ckpt"), out=str(tmp_path / "model.onnx"), images=8, int8=True)
    assert not (tmp_path / "model.onnx").exists()

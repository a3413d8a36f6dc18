"""What is wrong with the trainer's options, and what Lightning's callbacks do: one line, or a fit."""

import pytest
import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import ActionConfigFile
from pytorch_lightning.cli import LightningArgumentParser

from dctnet.cli import benchmark
from dctnet.cli.fit import ExperimentCLI
from dctnet.cli.parsing import STRICT
from dctnet.errors import UserError
from dctnet.model.network import FrequencyNet
from dctnet.training.compiler import try_compiler
from dctnet.training.lightning_internals import read_counts_as_integers
from dctnet.training.module import FrequencyClassifier
from dctnet.training.precision import choose_precision
from tests.commands import CKPT, fails, read_csv, run

pytestmark = pytest.mark.usefixtures("small_backbones")


@pytest.fixture
def fit(gated_run, tmp_path):
    config = ["--config", gated_run / "tiny.yaml", "--data.root", gated_run / "photos"]
    return ["fit", *config, "--trainer.max_epochs", 1, "--out_dir", tmp_path]


CALLBACK, LOGGER = "--trainer.callbacks", "--trainer.logger"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([CALLBACK, "EarlyStoping"], "--trainer.callbacks EarlyStoping: no such class. Did you mean 'EarlyStopping'?"),
        ([CALLBACK, "pytorch_lightning.callbacks.Timr"], "Timr: no such class. Did you mean 'Timer'?"),
        ([CALLBACK, "no.such.Callback"], "--trainer.callbacks no.such.Callback: No module named 'no'"),
        ([CALLBACK, "torch.nn.Linear"], "--trainer.callbacks torch.nn.Linear: not a subclass of Callback"),
        ([CALLBACK, "EarlyStopping"], "EarlyStopping: the following arguments are required: monitor"),
        ([CALLBACK, "Timer", f"{CALLBACK}.duraton", 1], "Timer: no option 'duraton'. Did you mean 'duration'?"),
        ([CALLBACK, "Timer", f"{CALLBACK}.duration", "x"], "--trainer.callbacks cannot be used: "),
        ([CALLBACK, "LearningRateMonitor", LOGGER, "false"], "LearningRateMonitor"),
        ([CALLBACK, "BackboneFinetuning"], "--trainer: BackboneFinetuning: "),
        ([CALLBACK, "EarlyStopping", f"{CALLBACK}.monitor", "val_acc"], "--trainer: EarlyStopping: "),
        ([LOGGER, "CSVLoger"], "--trainer.logger CSVLoger: no such class. Did you mean 'CSVLogger'?"),
        ([LOGGER, "CSVLogger"], "--trainer.logger CSVLogger: the following arguments are required: save_dir"),
        ([LOGGER, "CSVLogger", f"{LOGGER}.flush_logs_every_n_steps", "x"], "x: expected an integer"),
        (["--trainer.profiler", "simpel"], "--trainer: MisconfigurationException: "),
        (["--trainer.strategy", "DDPStrategy", "--trainer.strategy.timeout", "x"], "DDPStrategy: timeout: Not"),
        (["--trainer.plugins", "MixedPrecison"], "Did you mean 'MixedPrecision'?"),
        (["--trainer.accelerator", "tpu"], "torch_xla"),
        (["--trainer.devices", "0,x"], "--trainer: "),
        (["--trainer.precision", "transformer-engine"], "transformer_engine"),
        (["--trainer.val_check_interval", 1000], "`val_check_interval` (1000)"),
        (["--trainer.accumulate_grad_batches", 0], "--trainer.accumulate_grad_batches must be at least 1, got 0"),
        (["--trainer.overfit_batches", 0.01], "0.01"),
        (["--trainer.max_epochs", 0], "--trainer.max_epochs 0: nothing to fit"),
        (["--trainer.barebones", "true"], "--trainer.barebones true: a run of dctnet has callbacks of its own"),
        (["--out_dir", "/dev/null"], "/dev/null/tiny: cannot be created: Not a directory; give another --out_dir"),
        (["--trainer.max_steps", 0], "--trainer.max_steps 0: nothing to fit"),
        (["--trainer.limit_train_batches", 0], "--trainer.limit_train_batches 0: nothing to fit"),
        (["--trainer.limit_train_batches", 0.01], "0.01"),
    ],
)  # fmt: skip
def test_a_wrong_option_gets_one_line(fit, capsys, options, said):
    assert said in fails(capsys, *fit, *options)


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.devices", "x"],
        [CALLBACK, "BackboneFinetuning"],
        ["--model.weights", "missing.pth"],
        ["--model.freeze", "backbone"],
    ],
)
def test_a_fit_that_fails_before_it_starts_leaves_no_folder(fit, tmp_path, capsys, options):
    fails(capsys, *fit, *options)
    assert not list(tmp_path.rglob("version_0"))


@pytest.mark.parametrize(("verb", "split"), [("validate", "val"), ("test", "test"), ("predict", "predict")])
def test_a_verb_over_no_batch_is_refused(gated_run, tmp_path, capsys, monkeypatch, verb, split):
    monkeypatch.chdir(tmp_path)
    option = f"--trainer.limit_{split}_batches"
    line = fails(capsys, verb, "--ckpt_path", gated_run / CKPT, option, 0)
    assert line == f"dctnet: {option} 0: nothing to {verb}"


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_NTASKS": "2"},  # without srun
        {"SLURM_NTASKS": "x"},
        {"SLURM_NTASKS": "2", "SLURM_PROCID": "x"},
        {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_JOB_NAME": "job"},
        {"TORCHELASTIC_RUN_ID": "1", "RANK": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
    ],
)  # fmt: skip
def test_variables_of_a_cluster_that_disagree_are_named(fit, capsys, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    devices = ["--trainer.devices", 2, "--trainer.strategy", "ddp"] if "SLURM_NNODES" in variables else []
    line = fails(capsys, *fit, *devices)
    assert line.startswith("dctnet: the environment variables of a cluster (")
    assert all(name in line for name in variables)


def test_a_machine_that_cannot_compile_is_refused_before_the_data_is_read(fit, capsys, monkeypatch):
    def compile(*_):
        raise RuntimeError("no C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", compile)
    line = fails(capsys, *fit, "--model.compile", "true", "--data.root", "/no/such/folder")
    assert line.startswith("dctnet: --model.compile true: torch cannot compile on this machine: RuntimeError: no C++")


@pytest.mark.slow
def test_a_compiler_that_does_not_exist_is_an_error():
    from torch._inductor import config
    from torch._inductor.utils import fresh_inductor_cache

    torch.compiler.reset()  # another test of this process may have compiled the same network
    # monkeypatch does not restore an attribute of torch's configuration.
    with (
        fresh_inductor_cache(),
        config.patch("cpp.cxx", (None, "no-such-compiler")),
        pytest.raises(UserError, match="--model.compile true: torch cannot compile"),
    ):
        try_compiler("cpu")


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (FrequencyNet, "__init__"),
        (FrequencyClassifier, "configure_optimizers"),
        (FrequencyClassifier, "training_step"),
        (ExperimentCLI, "after_instantiate_classes"),
    ],
)
@pytest.mark.parametrize("error", [KeyError, ModuleNotFoundError])
def test_a_defect_of_ours_keeps_its_traceback(fit, monkeypatch, owner, method, error):
    # Compiled under the name of a file of dctnet, as a defect would be.
    text = f"def broken(*_, **__): raise {error.__name__}('defect')"
    exec(compile(text, owner.__init__.__code__.co_filename, "exec"), names := {})
    monkeypatch.setattr(owner, method, names["broken"])
    with pytest.raises(error, match="defect"):
        run(*fit)


@pytest.mark.parametrize(
    "options",
    [
        ["Timer"],
        ["EMAWeightAveraging"],
        ["WeightAveraging"],
        ["StochasticWeightAveraging", f"{CALLBACK}.swa_lrs", 0.01],
        ["GradientAccumulationScheduler", f"{CALLBACK}.scheduling", "{0: 2, 1: 1}"],
        ["EarlyStopping", f"{CALLBACK}.monitor", "val_acc1"],
        ["LearningRateMonitor"],
        ["ModelSummary"],
    ],
    ids=lambda options: options[0],
)  # fmt: skip
def test_callbacks_of_lightning_work(fit, options, tmp_path):
    assert run(*fit, CALLBACK, *options, "--trainer.max_epochs", 2) == 0
    assert (tmp_path / "tiny/version_0/mask.json").is_file()


def test_a_configuration_of_a_fit_is_not_one_of_validate(gated_run, capsys):
    config = (gated_run / CKPT).with_name("config.yaml")
    line = fails(capsys, "validate", "--config", config, "--ckpt_path", gated_run / CKPT)
    assert "validate needs no configuration of a fit: --ckpt_path has its options" in line


def test_a_limit_of_1_is_one_batch(gated_run, fit, tmp_path, capsys):
    assert run(*fit, "--trainer.limit_train_batches", 1, "--trainer.limit_val_batches", 1) == 0
    assert torch.load(tmp_path / "tiny/version_0/last.ckpt", weights_only=True)["global_step"] == 1
    assert "on 6 validation images" in capsys.readouterr().out
    out = tmp_path / "p.csv"
    args = ["--ckpt_path", gated_run / CKPT, "--data.root", gated_run / "photos/val", "--out", out]
    assert run("predict", *args, "--trainer.limit_predict_batches", 1) == 0
    assert len(read_csv(out)) == 6
    assert "6 images, 9 not read (--trainer.limit_predict_batches)" in capsys.readouterr().out


@pytest.fixture(params=["fit", "benchmark"])
def trainer_of(request, tmp_path):
    """Parses options of the trainer, from the command line or from a file, with the parser of a verb."""
    if request.param == "fit":
        parser = LightningArgumentParser(**STRICT)
        parser.add_argument("--config", action=ActionConfigFile)
        parser.add_lightning_class_args(pl.Trainer, "trainer")
        read_counts_as_integers(parser)
        return lambda *options: parser.parse_args([*options]).trainer
    return lambda *options: benchmark._parser().parse_args(["--data.root", "x", *options]).trainer


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("3", 3)])
def test_an_integer_is_a_count_of_batches_and_a_fraction_a_share(trainer_of, tmp_path, text, value):
    names = [f"limit_{kind}_batches" for kind in ("train", "val", "test", "predict")]
    names += ["overfit_batches", "val_check_interval"]
    config = tmp_path / "config.yaml"
    config.write_text("trainer: " + str(dict.fromkeys(names, value)))
    for given in (trainer_of(*(f"--trainer.{name}={text}" for name in names)), trainer_of(f"--config={config}")):
        assert [repr(given[name]) for name in names] == [repr(value)] * len(names)


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({"amx_bf16": True}, "bf16-mixed"), ({"avx512_bf16": True}, "bf16-mixed"), ({"avx2": True}, "32-true")],
)
def test_auto_precision_is_bfloat16_where_the_processor_has_it(fit, tmp_path, monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert run(*fit, "--trainer.precision", "auto", "--trainer.accelerator", "cpu") == 0
    written = yaml.safe_load((tmp_path / "tiny/version_0/config.yaml").read_text())
    assert written["trainer"]["precision"] == precision
    # The same processor resumes it with the same option.
    last = tmp_path / "tiny/version_0/last.ckpt"
    assert run(*fit, "--trainer.precision", "auto", "--ckpt_path", last) == 0
    assert run("validate", "--ckpt_path", last, "--trainer.precision", "auto") == 0


def test_auto_precision_is_that_of_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for native, precision in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert choose_precision("auto") == precision
        assert choose_precision("cpu") == "32-true"


def test_a_wrong_precision_is_named(fit, capsys):
    assert "bf16-mixd" in fails(capsys, *fit, "--trainer.precision", "bf16-mixd")

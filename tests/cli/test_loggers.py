"""The files and the closing table of a fit do not depend on its loggers."""

import importlib.util

import pytest

from tests.commands import fails, read_csv, run

pytestmark = pytest.mark.usefixtures("small_backbones")
FILES = {"config.yaml", "last.ckpt", "best.ckpt", "mask.json", "mask.png"}
OWN = {"metrics.csv", "hparams.yaml", ".dctnet"}  # of the default loggers, beside an event file; the marker
SEVERAL = [f"{{class_path: {kind}, init_args: {{save_dir: logs}}}}" for kind in ("CSVLogger", "TensorBoardLogger")]
LOGGERS = {
    "default": [],
    "true": ["--trainer.logger", "true"],
    "false": ["--trainer.logger", "false"],
    "csv": ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "logs"],
    "tensorboard": ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "logs"],
    "several": ["--trainer.logger", f"[{', '.join(SEVERAL)}]"],
}
if importlib.util.find_spec("mlflow"):
    LOGGERS["mlflow"] = ["--trainer.logger", "MLFlowLogger", "--trainer.logger.tracking_uri", "sqlite:///mlflow.db"]
if importlib.util.find_spec("wandb"):
    LOGGERS["wandb"] = ["--trainer.logger", "WandbLogger", "--trainer.logger.offline", "true"]


@pytest.fixture
def fit(gated_run, tmp_path, monkeypatch):
    """A short gated fit, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    config = ["--config", gated_run / "tiny.yaml", "--data.root", gated_run / "photos"]
    return ["fit", *config, "--trainer.max_epochs", 1]


def table(out):
    """The closing table, by its first column; without the row that says where the loggers write."""
    rows = [line for line in out.splitlines() if line[15:16] == " " and line[:1].isalpha()]
    return {row[:16].strip(): row[16:] for row in rows if not row.startswith("curves")}


@pytest.fixture(scope="module")
def tables():
    return {}


@pytest.mark.parametrize("name", LOGGERS)
def test_files_and_closing_table_are_those_of_the_default(fit, tmp_path, capsys, tables, name):
    assert run(*fit, *LOGGERS[name]) == 0
    found = {path.name for path in (tmp_path / "checkpoints/tiny/version_0").iterdir()}
    assert found >= FILES
    assert all(file in OWN or file.startswith("events.out") for file in found - FILES)
    shown = table(capsys.readouterr().out)
    assert shown.keys() >= {"accuracy", "channels kept", "compute", "checkpoint", "best", "mask"}
    assert tables.setdefault("first", shown) == shown


def test_a_list_of_bad_files_is_in_the_run_folder_without_a_logger(fit, own_photos, tmp_path):
    (own_photos / "val/red/1.jpg").write_bytes(b"no image")
    options = ["--data.on_error", "skip", "--data.max_bad_fraction", "null", "--trainer.logger", "false"]
    assert run(*fit, "--data.root", own_photos, *options) == 0
    assert len(read_csv(tmp_path / "checkpoints/tiny/version_0/skipped.csv")) == 1


def test_a_fit_without_checkpoints_has_its_mask_and_says_what_it_did_not_save(fit, tmp_path, capsys):
    assert run(*fit, "--trainer.enable_checkpointing", "false") == 0
    found = {path.name for path in (tmp_path / "checkpoints/tiny/version_0").iterdir()}
    assert {"config.yaml", "mask.json", "mask.png"} <= found
    assert not any(name.endswith(".ckpt") for name in found)
    shown = table(capsys.readouterr().out)
    assert shown["checkpoint"] == "not saved: --trainer.enable_checkpointing false"
    assert "mask.json holds 6" in shown["channels kept"]


def test_a_checkpoint_callback_of_ones_own_is_added(fit, tmp_path):
    assert run(*fit, "--trainer.callbacks", "ModelCheckpoint") == 0
    folder = tmp_path / "checkpoints/tiny/version_0"
    assert {path.name for path in folder.iterdir()} >= FILES
    assert len(list(folder.rglob("epoch=*.ckpt"))) == 1


@pytest.mark.parametrize(
    ("logger", "package"), [("WandbLogger", "wandb"), ("MLFlowLogger", "mlflow"), ("CometLogger", "comet")]
)
def test_a_missing_package_is_named_before_any_work(fit, tmp_path, capsys, logger, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    line = fails(capsys, *fit, "--trainer.logger", logger)
    assert line.startswith(f"dctnet: --trainer.logger {logger}: ")
    assert package in line
    assert not (tmp_path / "checkpoints").exists()

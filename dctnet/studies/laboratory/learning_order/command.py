"""The command: collects the probes of runs, or measures their checkpoints, and writes the page."""

from dctnet.errors import printable
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.learning_order.order import read_accuracies
from dctnet.studies.laboratory.learning_order.page import write_learning_order
from dctnet.studies.laboratory.learning_order.runs import group, open_run
from dctnet.studies.laboratory.study import Study
from dctnet.training.band_probes import COLUMNS


def learning_order(
    runs: list[str], out: str = "checkpoints/learning-order", *, signals: SignalRecorder | None = None
) -> None:
    """Measures which frequency bands networks learn to use first.

    Args:
        runs: Folders checkpoints/NAME/version_N of trainings with ``dctnet fit --probes true``, or with a checkpoint of
            each epoch. Those that differ by the seed alone are seeds of one training.
        out: Folder for rows.csv, figures/ and report.html.
        signals: Recorder of the signals that stop the study.

    Raises:
        UserError: A run has neither probes nor checkpoints, or the runs do not fit together.
        Stopped: A signal came.
    """
    groups = group([open_run(folder) for folder in runs])
    trainings = [run for own in groups.values() for run in own]
    inputs = [path for run in trainings for path in run.inputs]
    study = Study("learning-order", out, ("run", "seed", *COLUMNS), {"runs": " ".join(runs)}, inputs, signals)
    study.run(dict(unit for run in trainings for unit in run.units()))
    curves = {}
    for name, own in groups.items():
        folders = {str(run.folder) for run in own}
        curves[name] = read_accuracies([row for row in study.rows if row["run"] in folders], name)
    calibrated = {name for name, own in groups.items() if all(run.is_calibrated for run in own)}
    page = write_learning_order(study, curves, calibrated)
    print(f"report: {printable(str(page))}")

"""dctnet lab STUDY: the studies of the frequency laboratory. A study's module is imported when it runs."""

import importlib
import inspect
from collections.abc import Callable, Collection
from pathlib import Path

from dctnet.errors import UserError, did_you_mean
from dctnet.studies.execution.job import StopSignals

# Module with a function of the study's name, within dctnet.studies.laboratory.
STUDIES = {
    "sensitivity": "sensitivity.command",
    "learning-order": "learning_order.command",
    "gate-causes": "gate_causes.command",
    "detectors": "detectors.command",
    "spectral-bias": "spectral_bias.command",
    "fourier-features": "fourier_features.command",
}
_HELP = """usage: dctnet lab STUDY [options]

Which frequencies a network learns first, relies on, and detects. A network is a checkpoint of dctnet fit,
torchvision:NAME or timm:NAME with --weights FILE, or MODULE:FACTORY.

  sensitivity       frequencies that a network relies on:     dctnet lab sensitivity NET [--data.root DIR]
  learning-order    bands that are learned first:             dctnet lab learning-order RUN…
  gate-causes       why a gate keeps low frequencies:         dctnet lab gate-causes [--seeds 2]
  detectors         units that detect fine beside coarse:     dctnet lab detectors NET [--data.root DIR]
  spectral-bias     order in which frequencies are fitted:    dctnet lab spectral-bias [--sweep activation]
  fourier-features  bandwidth that Fourier features choose:   dctnet lab fourier-features IMAGE

Each writes rows.csv, figures and report.html into --out, and goes on after an interruption when it is repeated.
gate-causes, spectral-bias and fourier-features train several at a time with --jobs N, also on a cluster.
dctnet lab STUDY --help lists a study's options.
"""


def lab(args: list[str]) -> None:
    """Runs one study.

    Args:
        args: The command line after ``lab``.

    Raises:
        UserError: No such study, or the command line is invalid.
        Stopped: A signal stopped the study; the finished units are recorded.
    """
    if not args or args[0] in ("-h", "--help"):
        print(_HELP, end="")
        return
    if args[0] not in STUDIES:
        raise UserError(f"no study {args[0]!r}.{did_you_mean(args[0], STUDIES)} Studies: {', '.join(STUDIES)}")
    with StopSignals() as signals:
        from dctnet.cli.parsing import call

        module = importlib.import_module(f"dctnet.studies.laboratory.{STUDIES[args[0]]}")
        function, data_options = getattr(module, args[0].replace("-", "_")), getattr(module, "DATA_OPTIONS", ())
        if "place" in inspect.signature(function).parameters:
            _run_trainings(function, data_options, args, signals)
        else:
            signals.record_only()
            call(function, args[1:], data_options, "lab", signals=signals)


def _run_trainings(
    function: Callable[..., None], data_options: Collection[str], args: list[str], signals: StopSignals
) -> None:
    """Runs a study whose trainings can be jobs of an executor; in a job, one of them."""
    from dctnet.cli.executors import add_unit_options, check_executor_options, chosen_executor
    from dctnet.cli.parsing import call_parsed, function_parser, parse
    from dctnet.studies.laboratory.jobs import Jobs, OneUnit

    parser = function_parser(function, data_options, "lab", ("signals", "place"))
    add_unit_options(parser)
    values = parse(parser, args[1:])
    check_executor_options(values)
    if values["unit"] or (values["executor"] == "local" and values["jobs"] is None):
        signals.record_only()
        place = OneUnit(values["unit"]) if values["unit"] else None
        call_parsed(function, values, signals=signals, place=place)
    else:
        with chosen_executor(values, "cpu", Path(values["out"])) as executor:
            call_parsed(function, values, signals=signals, place=Jobs(executor, signals, args))

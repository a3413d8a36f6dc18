"""dctnet lab STUDY: the studies of the frequency laboratory. A study's module is imported when it runs."""

import importlib

from dctnet.errors import UserError, did_you_mean
from dctnet.signals import SignalRecorder

# Module with a function of the study's name, within dctnet.studies.laboratory.
STUDIES = {
    "sensitivity": "sensitivity.command",
    "gate-causes": "gate_causes.command",
    "detectors": "detectors.command",
}
_HELP = """usage: dctnet lab STUDY [options]

Which frequencies a network learns first, relies on, and detects. A network is a checkpoint of dctnet fit,
torchvision:NAME or timm:NAME with --weights FILE, or MODULE:FACTORY.

  sensitivity    frequencies that a network relies on:   dctnet lab sensitivity CKPT [--data.root DIR]
  gate-causes    why a gate keeps low frequencies:       dctnet lab gate-causes [--seeds 2]
  detectors      units that detect fine beside coarse:  dctnet lab detectors CKPT [--data.root DIR]

Each writes rows.csv, figures and report.html into --out, and goes on after an interruption when it is repeated.
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
    with SignalRecorder() as signals:
        from dctnet.cli.parsing import call

        module = importlib.import_module(f"dctnet.studies.laboratory.{STUDIES[args[0]]}")
        function = getattr(module, args[0].replace("-", "_"))
        call(function, args[1:], getattr(module, "DATA_OPTIONS", ()), "lab", signals=signals)

"""Entry point. A verb's module is imported when the verb runs, so that ``dctnet --help`` does not import torch."""

import contextlib
import errno
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

from dctnet import __version__
from dctnet.cli.help_cache import is_help, print_help
from dctnet.errors import Stopped, UserError, did_you_mean, printable
from dctnet.io.files import expand_home
from dctnet.io.streams import output_error, protect_streams, restart_in_utf8_mode
from dctnet.signals import SignalRecorder, stop_with_parent

_HELP = """usage: dctnet VERB [options]

Image classifiers on block-DCT frequency channels, and the channels worth keeping.

  fit            train:                           dctnet fit --config configs/quickstart.yaml
  validate       accuracy on val/:                dctnet validate --ckpt_path CKPT [--data.root DIR]
  test           accuracy on test/:               dctnet test --ckpt_path CKPT [--data.root DIR]
  predict        label photographs:               dctnet predict --ckpt_path CKPT --data.root PATH [--out CSV]
  export         write the network for other programs:     dctnet export CKPT --out model.onnx
  export-mask    write the kept channels:         dctnet export-mask CKPT --out mask.json [--keep K]
  demo           write a page that classifies in the browser:  dctnet demo CKPT DIR --runtime DIR
  explain        show what a network sees in a photograph:  dctnet explain CKPT PHOTO
  make-planted   make a data set with a known answer:      dctnet make-planted DIR [--design bands]
  pack           store a data set as channels:    dctnet pack SRC OUT --data.channels mask.json
  thin           JPEG files with the kept channels alone:  dctnet thin SRC OUT --channels mask.json
  verify         check every byte of a packed store:       dctnet verify DIR
  throughput     time every input pipeline:       dctnet throughput [--data.root DIR]
  benchmark      accuracy against channels kept:  dctnet benchmark --config CONFIG [--dry-run]
  report         make a benchmark's page again:   dctnet report DIR
  lab            which frequencies a network learns, uses and detects:  dctnet lab STUDY
  doctor         list installed libraries and what is missing:  dctnet doctor

dctnet VERB --help lists a verb's options.
"""

# Names of other programs for what the verbs do.
_OTHER_NAMES = {"train": "fit", "eval": "validate", "evaluate": "validate", "infer": "predict", "classify": "predict"}
# Filesystem errors: one line, exit status 2, no traceback.
_FILESYSTEM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Context for the imports of a verb, which take a fifth less time without the collector: they leave no garbage."""
    is_first = "torch" not in sys.modules  # always, but for tests that run several verbs in a process
    gc.disable()
    try:
        yield
    finally:
        if is_first:
            gc.freeze()  # later collections need not visit a million objects of modules
        gc.enable()


def _experiment(args: list[str]) -> None:
    signals = SignalRecorder()
    # Before torch is imported, which takes seconds. The other verbs have nothing to save: a signal ends them.
    with signals if args[0] == "fit" else contextlib.nullcontext():
        with _importing():
            from dctnet.cli.fit import run_experiment

        run_experiment(args, signals)


def _export(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.export.command import export

    call(export, args[1:], ("root",))


def _export_mask(args: list[str]) -> None:
    with _importing():
        from dctnet.cli.parsing import call
        from dctnet.export.mask import export_mask

    call(export_mask, args[1:], ("root",))


def _demo(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.export.demo.command import demo

    call(demo, args[1:], ("root",))


def _explain(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.studies.explain.command import explain

    call(explain, args[1:])


def _make_planted(args: list[str]) -> None:
    with _importing():
        from dctnet.cli.parsing import call
        from dctnet.data.planted import make_planted

    call(make_planted, args[1:])


def _pack(args: list[str]) -> None:
    with _importing():
        from dctnet.cli.parsing import call
        from dctnet.data.packed.writer import DATA_OPTIONS, pack

    call(pack, args[1:], DATA_OPTIONS)


def _thin(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.export.thin import thin

    call(thin, args[1:])


def _verify(args: list[str]) -> None:
    with _importing():
        from dctnet.cli.parsing import call
        from dctnet.data.packed.verify import verify

    call(verify, args[1:])


def _throughput(args: list[str]) -> None:
    with _importing():
        from dctnet.cli.parsing import call
        from dctnet.studies.throughput.study import throughput

    call(throughput, args[1:], ("root", "channels"))


def _benchmark(args: list[str]) -> None:
    from dctnet.studies.execution.job import StopSignals

    with StopSignals() as signals:
        with _importing():
            from dctnet.cli.benchmark import benchmark

        benchmark(args[1:], signals)


def _report(args: list[str]) -> None:
    with _importing():
        from dctnet.cli.parsing import call
        from dctnet.studies.report import report

    call(report, args[1:])


def _lab(args: list[str]) -> None:
    from dctnet.cli.lab import lab

    lab(args[1:])


def _doctor(args: list[str]) -> None:
    from dctnet.cli.doctor import doctor
    from dctnet.cli.parsing import call

    call(doctor, args[1:])


VERBS: dict[str, Callable[[list[str]], None]] = {
    **dict.fromkeys(("fit", "validate", "test", "predict"), _experiment),
    "export": _export,
    "export-mask": _export_mask,
    "demo": _demo,
    "explain": _explain,
    "make-planted": _make_planted,
    "pack": _pack,
    "thin": _thin,
    "verify": _verify,
    "throughput": _throughput,
    "benchmark": _benchmark,
    "report": _report,
    "lab": _lab,
    "doctor": _doctor,
}


def main(args: list[str] | None = None) -> int:
    """Runs one verb.

    Args:
        args: The command line after ``dctnet``; None reads it from ``sys.argv``.

    Returns:
        The exit status: 0; 2 for a user's mistake or a filesystem error, also of standard output, printed as one line;
        75 for a training or a benchmark that a signal stopped after it had saved; 130 for any other verb after Ctrl-C.
    """
    if args is None:
        restart_in_utf8_mode()
        args = sys.argv[1:]
    protect_streams()
    ended: SystemExit | None = None
    try:
        status: Any = _run([_expand_home(arg) for arg in args])
    except SystemExit as error:  # after --help
        ended, status = error, error.code
    if not status and (lost := output_error()):
        return _fail(f"standard output: {lost.strerror}", 2)
    if ended:
        raise ended
    return status


def _run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0
    if args[0] == "--version":
        print(f"dctnet {__version__}")
        return 0
    try:
        if args[0] not in VERBS:
            other = _OTHER_NAMES.get(args[0])
            hint = f" Did you mean {other!r}?" if other else did_you_mean(args[0], VERBS)
            raise UserError(f"no verb {args[0]!r}.{hint} Verbs: {', '.join(VERBS)}")
        if args[0] != "fit":  # whose recorder does it
            stop_with_parent()
        if is_help(args):
            print_help(args, lambda: VERBS[args[0]](args))
        else:
            VERBS[args[0]](args)
    except UserError as error:
        return _fail(str(error), 2)
    except OSError as error:
        if error.errno not in _FILESYSTEM:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        return _fail(where + str(error.strerror), 2)
    except Stopped as error:
        if error.args:  # not on ranks other than 0
            _fail(str(error), 75)
        return 75
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    return 0


def _expand_home(arg: str) -> str:
    # A shell expands ~ in "--option ~/photos", not in "--option=~/photos".
    option, equals, value = arg.partition("=") if arg.startswith("-") else ("", "", arg)
    return f"{option}{equals}{expand_home(value)}"


def _fail(message: str, status: int) -> int:
    print(f"dctnet: {printable(message)}", file=sys.stderr)
    return status

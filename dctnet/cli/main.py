"""The command line: verbs only. Nothing heavy is imported before a verb needs it."""

import errno
import sys
from collections.abc import Callable

from dctnet import __version__
from dctnet.errors import Stopped, UserError, did_you_mean, printable

_HELP = """usage: dctnet VERB [options]

Image classifiers on block-DCT frequency channels, and the channels worth keeping.

  fit            train:                dctnet fit --config configs/quickstart.yaml
  validate       accuracy on val/:     dctnet validate --ckpt_path C [--data.root DIR]
  test           accuracy on test/:    dctnet test --ckpt_path C [--data.root DIR]
  predict        label photographs:    dctnet predict --ckpt_path C --data.root PATH [--out CSV]
  export-mask    the channels kept:    dctnet export-mask C --out mask.json [--keep K]
  make-planted   a data set with a known answer:  dctnet make-planted DIR
  pack           a data set as channels, never to be decoded again:  dctnet pack SRC OUT --data.channels mask.json
  manifest       checksums of a data set:         dctnet manifest DIR
  verify         every byte of a data set with such checksums, or of a packed store:  dctnet verify DIR
  throughput     images a second of every way to feed a network, side by side:  dctnet throughput [--data.root DIR]
  benchmark      accuracy against channels kept, with seeds and baselines:  dctnet benchmark --config C [--dry-run]
  report         the page of a benchmark's folder, made anew:  dctnet report DIR
  doctor         what is installed here, what it unlocks, how to get what is missing:  dctnet doctor

dctnet VERB --help lists a verb's options.
"""

# What a disk refuses: no defect of ours, and no traceback would help.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def _experiment(verb: str) -> Callable[[list[str]], None]:
    def run(args: list[str]) -> None:
        from dctnet.cli.fit import run_experiment

        run_experiment([verb, *args])

    return run


def _export_mask(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.export.mask import export_mask

    call(export_mask, args, {"root": "data.root"})


def _make_planted(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.data.planted import make_planted

    call(make_planted, args)


def _pack(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.data.packed.writer import pack

    call(pack, args)


def _manifest(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.data.checksums import manifest

    call(manifest, args)


def _verify(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.data.checksums import verify

    call(verify, args)


def _throughput(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.studies.throughput.study import throughput

    call(throughput, args, {"root": "data.root", "channels": "data.channels"})


def _benchmark(args: list[str]) -> None:
    from dctnet.cli.benchmark import benchmark

    benchmark(args)


def _report(args: list[str]) -> None:
    from dctnet.cli.parsing import call
    from dctnet.studies.accuracy.report.report import report

    call(report, args)


def _doctor(args: list[str]) -> None:
    from dctnet.cli.doctor import doctor
    from dctnet.cli.parsing import call

    call(doctor, args)


VERBS: dict[str, Callable[[list[str]], None]] = {
    **{verb: _experiment(verb) for verb in ("fit", "validate", "test", "predict")},
    "export-mask": _export_mask,
    "make-planted": _make_planted,
    "pack": _pack,
    "manifest": _manifest,
    "verify": _verify,
    "throughput": _throughput,
    "benchmark": _benchmark,
    "report": _report,
    "doctor": _doctor,
}


def main(args: list[str] | None = None) -> int:
    """Runs one verb.

    Args:
        args: What follows ``dctnet`` on the command line; None reads it from there.

    Returns:
        The exit status: 0; 2 for a mistake of the user's, or what a disk refuses, told in one line; 75 for a training
        or a benchmark that was asked to stop; 130 for anything else after Ctrl-C.
    """
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0
    if args[0] == "--version":
        print(f"dctnet {__version__}")
        return 0
    try:
        if args[0] not in VERBS:
            raise UserError(f"no verb {args[0]!r}.{did_you_mean(args[0], VERBS)} Verbs: {', '.join(VERBS)}")
        VERBS[args[0]](args[1:])
    except UserError as error:
        print(f"dctnet: {printable(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"dctnet: {printable(where + str(error.strerror))}", file=sys.stderr)
        return 2
    except Stopped as stop:
        if not stop.args:  # rank 0 speaks for all, and its status counts
            return 0
        print(f"dctnet: {printable(str(stop))}", file=sys.stderr)
        return 75
    except KeyboardInterrupt:
        print("dctnet: stopped", file=sys.stderr)
        return 130
    return 0

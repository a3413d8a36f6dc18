"""The command line never fails because of its output: encodings, closed streams, readers that leave, full disks."""

import fcntl
import os
import subprocess
import sys

import pytest

ENCODINGS = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "ascii"},
]
# Prints as a verb does: text of any alphabet, an undecodable name, more than a pipe holds, and a user's mistake.
VERB = r"""
import sys
from dctnet.cli import main
from dctnet.cli.main import VERBS
from dctnet.errors import UserError
def verb(args):
    print("\u03bb \xd7 \u2026 \udcff")
    print("\u03bb \udcff", file=sys.stderr)
    sys.stdout.write("x" * 200_000)
    if args[1:] == ["fail"]:
        raise UserError("not \u03bb\udcff")
VERBS["fit"] = verb
sys.exit(main(sys.argv[1:]))
"""


def start(*args, env=None, **streams):
    """Starts Python, with environment variables."""
    return subprocess.Popen([sys.executable, *args], env={**os.environ, **(env or {})}, **streams)


def finish(process):
    """Output, error output and status of a process."""
    out, err = process.communicate(timeout=60)
    assert b"Traceback" not in (err or b"")
    assert b"Exception ignored" not in (err or b"")
    return out, err, process.returncode


@pytest.mark.parametrize("env", ENCODINGS, ids=str)
def test_what_an_encoding_lacks_is_escaped(env):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    out, err, status = finish(start("-c", VERB, "fit", "fail", env=env, **pipes))
    assert status == 2
    assert out.splitlines()[0].startswith(rb"\u03bb ")
    assert out.splitlines()[0].endswith(rb" \udcff")
    assert err.splitlines() == [rb"\u03bb \udcff", rb"dctnet: not \u03bb\udcff"]


@pytest.mark.parametrize("verb", [["--help"], ["--version"], ["doctor", "--help"], ["fitt"]])
@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"COLUMNS": "1"}, {"COLUMNS": "many"}], ids=str)
def test_real_verbs_print_in_any_terminal(verb, env):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    out, _, status = finish(start("-m", "dctnet", *verb, env=env, **pipes))
    assert (bool(out), status) == ((True, 0) if verb != ["fitt"] else (False, 2))


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_stops_nothing(unbuffered):
    for args, expected in ((["fit"], 0), (["fit", "fail"], 2)):
        process = start("-c", VERB, *args, env={"PYTHONUNBUFFERED": unbuffered}, stdout=subprocess.PIPE, stderr=-1)
        process.stdout.read(1)
        process.stdout.close()
        process.stdout = None
        _, err, status = finish(process)
        assert status == expected
        assert (b"dctnet: " in err) == (status == 2)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line_once_the_work_is_done(unbuffered):
    with open("/dev/full", "wb") as full:
        for program in (("-c", VERB, "fit"), ("-m", "dctnet", "--help"), ("-m", "dctnet", "doctor", "--help")):
            process = start(*program, env={"PYTHONUNBUFFERED": unbuffered}, stdout=full, stderr=subprocess.PIPE)
            _, err, status = finish(process)
            assert status == 2
            assert err.splitlines()[-1] == b"dctnet: standard output: No space left on device"
        assert finish(start("-c", VERB, "fit", "fail", stdout=full, stderr=full))[2] == 2


@pytest.mark.parametrize("closed", ["1", "2", "0 1 2"])
@pytest.mark.parametrize("args", [["--help"], ["fitt"]])
def test_closed_streams_are_as_good_as_the_null_device(closed, args):
    shut = " ".join(f"{number}>&-" for number in closed.split())
    command = f'exec "$0" -m dctnet "$@" {shut}'
    done = subprocess.run(["sh", "-c", command, sys.executable, *args], capture_output=True, timeout=60)
    assert done.returncode == (2 if args == ["fitt"] else 0)
    assert b"Traceback" not in done.stdout + done.stderr


def test_a_file_opened_later_does_not_become_standard_output(tmp_path):
    code = f"""
import sys
from dctnet.io.streams import protect_streams
protect_streams()
file = open({str(tmp_path / "a")!r}, "w")
print("to nobody", flush=True)
print("to nobody", file=sys.stderr, flush=True)
file.write(str(file.fileno()))
"""
    subprocess.run(["sh", "-c", 'exec "$0" -c "$1" 0<&- 1>&- 2>&-', sys.executable, code], check=True, timeout=60)
    assert int((tmp_path / "a").read_text()) > 2


def test_a_full_pipe_that_does_not_block_is_waited_for():
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETFL, fcntl.fcntl(write, fcntl.F_GETFL) | os.O_NONBLOCK)
    process = start("-c", VERB, "fit", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    with open(read, "rb") as pipe:
        assert len(pipe.read()) > 200_000
    assert finish(process)[2] == 0


def test_files_are_read_as_utf8_in_any_locale(tmp_path):
    (tmp_path / "é.yaml").write_text("data: {root: λ/×}\n", encoding="utf-8")
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = ("-m", "dctnet", "fit", "--config", str(tmp_path / "é.yaml"))
    _, err, status = finish(start(*program, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert status == 2
    assert err.splitlines()[-1].startswith(rb"dctnet: --data.root \u03bb/\xd7: no such folder.")


def test_streams_that_a_caller_replaced_are_left_alone(capsys):
    from dctnet.cli import main

    before = sys.stdout, sys.stderr
    assert main(["--version"]) == 0
    assert (sys.stdout, sys.stderr) == before

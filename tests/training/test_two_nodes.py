"""Two launches of torchrun, as on two nodes, train what two ranks of one launch train, and stop and resume together."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import make_photos
from tests.stress.stop_resume import same

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_backbones")]
OPTIONS = (
    "--seed_everything=0", "--data.channels=square-24", "--data.image_size=32", "--data.batch_size=3",
    "--data.num_workers=0", "--model.lr=0.02", "--trainer.accelerator=cpu", "--trainer.strategy=ddp",
    "--trainer.enable_progress_bar=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Has photographs."""
    folder = tmp_path_factory.mktemp("nodes")
    make_photos(folder / "photos", 8, 3)
    return folder


@pytest.fixture
def launch(folder):
    """Starts torchrun on each of some nodes; the processes of a node write to NAME-NODE.log."""
    started = []

    def call(name, nodes, ranks, *more):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        fit = ["-m", "dctnet", "fit", *OPTIONS, f"--data.root={folder / 'photos'}", f"--name={name}", *map(str, more)]
        fit += [f"--out_dir={folder}", f"--trainer.num_nodes={nodes}", f"--trainer.devices={ranks}"]
        for node in range(nodes):
            run = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc_per_node={ranks}"]
            run += [f"--node_rank={node}", "--master_addr=127.0.0.1", f"--master_port={port}"]
            with open(folder / f"{name}-{node}.log", "a") as log:
                started.append(subprocess.Popen([*run, *fit], stdout=log, stderr=log, start_new_session=True))
        return started[-nodes:]

    yield call
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def test_two_nodes_train_what_two_ranks_of_one_train(folder, launch):
    for name, nodes, ranks in (("two", 2, 1), ("one", 1, 2)):
        for process in launch(name, nodes, ranks, "--trainer.max_epochs=2"):
            assert process.wait(240) == 0, (folder / f"{name}-0.log").read_text()[-2000:]
    assert same(weights(folder / "two/version_0/last.ckpt"), weights(folder / "one/version_0/last.ckpt"))
    assert not (folder / "two/version_1").exists()  # the second node wrote into the same folder


def ranks_of(launcher):
    """Process ids of the ranks that a torchrun has started."""
    return [int(pid) for pid in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
def test_a_signal_to_one_node_stops_both_with_75_and_they_resume_to_the_same_bits(folder, launch):
    epochs = "--trainer.max_epochs=60"
    last = folder / "stopped/version_0/last.ckpt"
    nodes = launch("stopped", 2, 1, epochs)
    end = time.monotonic() + 200
    while not last.exists():
        assert time.monotonic() < end
        assert nodes[0].poll() is None, (folder / "stopped-0.log").read_text()[-2000:]
        time.sleep(0.02)
    os.kill(ranks_of(nodes[1])[0], signal.SIGTERM)
    for node, process in enumerate(nodes):
        assert process.wait(100) == 1  # the status of torchrun, whatever that of its ranks
        assert re.search(r"exitcode +: 75 ", (folder / f"stopped-{node}.log").read_text())
    assert "dctnet: stopped because another rank was stopped after step" in (folder / "stopped-0.log").read_text()
    # To torchrun itself, on both nodes: it passes the signal on.
    nodes = launch("stopped", 2, 1, epochs, f"--ckpt_path={last}")
    again = folder / "stopped/version_1/last.ckpt"
    while not again.exists():
        assert time.monotonic() < end + 200
        assert nodes[0].poll() is None, (folder / "stopped-0.log").read_text()[-2000:]
        time.sleep(0.02)
    for process in nodes:
        process.terminate()
    assert [process.wait(100) != 0 for process in nodes] == [True, True]
    assert "dctnet: stopped by SIGTERM after step" in (folder / "stopped-0.log").read_text()
    for name, more in (("stopped", [f"--ckpt_path={again}"]), ("whole", [])):
        for process in launch(name, 2, 1, epochs, *more):
            assert process.wait(300) == 0
    assert same(weights(folder / "stopped/version_2/last.ckpt"), weights(folder / "whole/version_0/last.ckpt"))

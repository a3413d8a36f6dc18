"""The executor of a Ray cluster: slots, failures, lost nodes, signals; a benchmark has the rows of a local one."""

import os
import signal
import time

import pytest

from dctnet.cli.main import main
from dctnet.errors import Stopped, UserError
from dctnet.studies.execution.job import Interrupted
from tests.studies.execution.conftest import SAVES, TINY_STUDY, InThread, rows_without_times, wait_until

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_backbones")]
STORE = {"object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def cluster(small_backbones):
    """A head node without cores: jobs run on the nodes that a test adds."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # by default 15: a loaded machine would hardly run them
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **STORE})
        yield cluster
        cluster.shutdown()


@pytest.fixture
def nodes(cluster):
    """Adds nodes, which are removed after the test."""
    added = []

    def add(**resources):
        added.append(cluster.add_node(**resources, **STORE))
        cluster.wait_for_nodes()
        return added[-1]

    yield add
    for node in added:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node)


@pytest.fixture
def executor(cluster):
    """Makes an executor, which leaves the cluster after the test."""
    from dctnet.studies.execution.ray import RayExecutor

    made = []

    def make(*args):
        made.append(RayExecutor(cluster.address, *args))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_cluster_without_cores_or_without_the_gpu_asked_for_is_an_error(cluster, nodes, executor):
    with pytest.raises(UserError, match="no node of the cluster has cores for a trial"):
        executor()
    nodes(num_cpus=1)
    with pytest.raises(UserError, match=f"--trainer.accelerator gpu: no node of --address {cluster.address} has a GPU"):
        executor(0, "gpu")


def test_each_job_has_a_gpu_and_its_share_of_the_cores(nodes, executor, job):
    nodes(num_cpus=4, num_gpus=2)
    made = executor()
    assert (made.jobs, made.threads) == (2, 2)
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS']); time.sleep(3)"
    threads = [InThread(made.run, job(code, name=name)) for name in ("one", "other", "last")]
    assert [thread.error() for thread in threads] == [None] * 3
    seen = {name: open(f"{name}.log").read().split() for name in ("one", "other", "last")}
    assert {gpu for gpu, _ in seen.values()} == {"0", "1"}
    assert {threads for _, threads in seen.values()} == {"2"}
    made.close()
    without = executor(0, "cpu")
    assert (without.jobs, without.threads) == (4, 1)


def test_a_failed_job_gives_its_status_and_one_on_a_lost_node_is_interrupted(cluster, nodes, executor, job):
    node = nodes(num_cpus=1)
    made = executor()
    with pytest.raises(RuntimeError, match=r"status 1: dctnet: no such folder \(.*job_code.log\)") as caught:
        made.run(job("import sys; sys.exit('dctnet: no such folder')"))
    assert not isinstance(caught.value, Interrupted)
    with pytest.raises(Interrupted, match="status 75"):
        made.run(job("import sys; sys.exit(75)"))
    waits = job("print(1, flush=True); import time; time.sleep(60)", name="waits")
    thread = InThread(made.run, waits)
    wait_until(lambda: waits.log.exists() and waits.log.read_text())
    cluster.remove_node(node, allow_graceful=False)
    assert isinstance(error := thread.error(), Interrupted), error
    assert "lost its node: " in str(error)
    assert "\n" not in str(error)
    nodes(num_cpus=1)
    made.run(job("print('ran')"))  # on the new node


def test_stop_lets_running_jobs_save_and_cancels_those_that_wait(nodes, executor, job, tmp_path):
    nodes(num_cpus=1)
    handler = signal.getsignal(signal.SIGTERM)
    made = executor(2)
    assert signal.getsignal(signal.SIGTERM) == handler
    running = job(SAVES, name="running")
    threads = [InThread(made.run, running)]
    wait_until(lambda: running.log.exists() and "started" in running.log.read_text())
    threads.append(InThread(made.run, job("print('ran')", name="waits")))
    time.sleep(1)
    made.stop()
    assert [type(thread.error()) for thread in threads] == [Stopped] * 2
    assert (tmp_path / "saved").exists()
    assert not (tmp_path / "waits.log").exists() or not (tmp_path / "waits.log").read_text()
    with pytest.raises(Stopped):
        made.run(running)


def epochs(out):
    """Number of lines in the metrics of each version of each trial."""
    return {path.parent: len(path.read_text().splitlines()) for path in out.glob("runs/*/version_*/metrics.csv")}


def test_a_benchmark_on_two_nodes_one_of_which_dies_has_the_rows_of_a_local_one(cluster, nodes, folder, start):
    lost, _ = nodes(num_cpus=1), nodes(num_cpus=1)
    process = start("ray", "--executor", "ray", "--address", cluster.address)
    wait_until(
        lambda: process.poll() is not None or sum(lines > 3 for lines in epochs(folder / "ray").values()) >= 2, 200
    )
    cluster.remove_node(lost, allow_graceful=False)
    assert process.wait(300) == 0, process.stderr.read()
    versions = sorted(path.parent.name for path in folder.glob("ray/runs/*/version_1"))
    assert len(versions) == 1  # the trial of the lost node went on elsewhere
    local = start("local", "--jobs", 2)
    assert local.wait(300) == 0, local.stderr.read()
    assert rows_without_times(folder / "ray") == rows_without_times(folder / "local")
    assert len(rows_without_times(folder / "ray")) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_trials_which_have_saved_and_resume(cluster, nodes, folder, start, number):
    nodes(num_cpus=2)
    out = f"stopped-{number.name}"
    options = ["--executor", "ray", "--address", cluster.address, "--trainer.max_epochs", 1000]
    process = start(out, *options)
    wait_until(
        lambda: process.poll() is not None or sum(lines > 3 for lines in epochs(folder / out).values()) >= 2, 200
    )
    os.killpg(process.pid, number)
    lines = process.communicate(timeout=120)[1].splitlines()
    expected = f"dctnet: stopped by {number.name} with 4 of 4 trials to go; to resume, repeat the same command"
    assert (process.returncode, lines[-1]) == (75, expected)
    logs = [path.read_text().splitlines()[-1] for path in folder.glob(f"{out}/runs/*/log.txt")]
    assert ["dctnet: stopped by SIG" in line for line in logs] == [True] * 2
    assert not (folder / out / "failures.csv").exists()
    again = start(out, *options)
    wait_until(
        lambda: again.poll() is not None or len(list(folder.glob(f"{out}/runs/*/version_1/last.ckpt"))) == 2, 200
    )
    os.killpg(again.pid, signal.SIGTERM)
    assert again.wait(120) == 75


def test_a_study_of_the_laboratory_has_the_rows_of_one_process(cluster, nodes, tmp_path):
    nodes(num_cpus=2)
    for out, where in (("here", ()), ("ray", ("--executor", "ray", "--address", cluster.address))):
        assert main(["lab", "spectral-bias", *TINY_STUDY, "--out", str(tmp_path / out), *where]) == 0
    assert (tmp_path / "ray/rows.csv").read_bytes() == (tmp_path / "here/rows.csv").read_bytes()

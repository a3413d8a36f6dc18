"""Packing on a Ray cluster: the store of one process, also if a node dies; addresses that do not answer."""

import socket
import threading
import time

import pytest

from dctnet.errors import UserError
from tests.conftest import make_photos
from tests.data.packed.conftest import contents, pack_small

pytest.importorskip("ray", reason="Ray is not installed")
RAY = {"executor": "ray", "workers": None}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers there .*ConnectionRefused"),
        ("localhost:99999", "no Ray cluster answers there"),
        ("nonsense", "must be HOST:PORT of its head node"),
        ("ray://127.0.0.1:1", "no Ray cluster answers there"),
        ("", "must be HOST:PORT of its head node"),
    ],
)
def test_an_address_that_does_not_answer_is_one_line(photos, tmp_path, address, message):
    with pytest.raises(UserError, match=f"--address {address}: no Ray cluster") as caught:
        pack_small(photos, tmp_path / "out", address=address, **RAY)
    assert message.split(" .*")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def cluster():
    """A head node without cores, so that shards are written on the nodes that a test adds."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20})
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_two_nodes_one_of_which_dies_write_the_store_of_one_process(cluster, tmp_path):
    photos, killed = make_photos(tmp_path / "photos", 30, 10), []
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)]
    cluster.wait_for_nodes()

    def kill_one():
        while len(list((tmp_path / "out").glob("*-*.json"))) < 5:
            time.sleep(0.01)
        cluster.remove_node(nodes[0], allow_graceful=False)
        killed.append((tmp_path / "out/manifest.json").exists())

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    out = pack_small(photos, tmp_path / "out", address=cluster.address, **RAY)
    thread.join(30)
    assert killed == [False]
    assert contents(out) == contents(pack_small(photos, tmp_path / "one"))
    # A photograph that cannot be decoded is the error that one process raises.
    bad = photos / "train/red/3.jpg"
    bad.write_bytes(bad.read_bytes()[:-300])
    with pytest.raises(UserError, match=rf"^{bad}: ") as caught:
        pack_small(photos, tmp_path / "bad", address=cluster.address, **RAY)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_port_of_another_service_is_one_line(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("dctnet.cluster._ANSWER", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match="no Ray cluster answers there; ray status on the head node"):
            pack_small(photos, tmp_path / "out", address=address, **RAY)

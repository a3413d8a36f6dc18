"""Connection to a Ray cluster: errors of reaching it, and of a machine that is not one of its nodes."""

import socket
import subprocess
import sys
import types

import pytest

from dctnet.cluster import connect
from dctnet.errors import UserError


def test_a_machine_that_is_not_a_node_of_the_cluster_is_one_line(monkeypatch):
    def init(**_):
        raise ConnectionError("Could not find any running Ray instance.\nTwo lines")

    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(init=init))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)  # ray status, which succeeds
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError) as caught:
            connect(address)
    assert str(caught.value) == (
        f"--address {address}: a Ray cluster answers, but this machine cannot join it (ConnectionError: Could not find "
        "any running Ray instance.); run the command on one of its nodes, or make this machine one: "
        f"ray start --address={address}"
    )


def test_without_ray_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"--executor ray needs Ray: pip install 'dctnet\[cluster\]'"):
        connect("127.0.0.1:1")

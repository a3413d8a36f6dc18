"""How a Ray cluster's cores and GPUs are divided among jobs; Ray is replaced by a list of nodes."""

import types

import pytest

from dctnet.studies.execution import ray
from dctnet.studies.execution.ray import RayExecutor


@pytest.mark.parametrize(
    ("nodes", "jobs", "expected"),
    [
        ([{"CPU": 8.0}], 0, (4, 2)),
        ([{"CPU": 8.0}], 1, (1, 8)),
        ([{}, {"CPU": 8.0}, {"CPU": 8.0}], 2, (2, 8)),  # one on each node; the head has no cores
        ([{"CPU": 8.0}, {"CPU": 8.0}], 3, (3, 4)),
        ([{"CPU": 8.0}], 20, (20, 2)),  # four at a time, the others wait
        ([{"CPU": 8.0, "GPU": 4.0}], 0, (4, 2)),
        ([{"CPU": 8.0, "GPU": 4.0}], 2, (2, 4)),
    ],
)
def test_the_cores_are_divided_among_the_jobs(monkeypatch, nodes, jobs, expected):
    alive = [{"Alive": True, "Resources": node} for node in nodes]
    module = types.SimpleNamespace(nodes=lambda: alive, remote=lambda **_: lambda kind: kind)
    monkeypatch.setattr(ray, "connect", lambda _: module)
    executor = RayExecutor("node:1", jobs)
    assert (executor.jobs, executor.threads) == expected

"""A real Ray cluster on this machine: a head that trains nothing, and nodes of one CPU each that can be killed."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests import ready
from tests.samples import ROOT

MEMORY = 80 * 2**20
"""Of each node's object store, which Thaw does not use; Ray wants 75 MB."""
FORKING = """
import json, os, subprocess
from tests import ready
ready.reach(json.loads(os.environ["READY"]))
subprocess.Popen = ready.Popen
"""
"""What Python does first in a process of Ray, so that a run's process there has torch loaded already."""


class SmallCluster:
    """`kill` is what a power cut does to a node."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes: list = []

    @property
    def address(self) -> str:
        return self._cluster.address

    def grow(self, nodes: int) -> None:
        """Have so many nodes."""
        while len(self._nodes) < nodes:
            self._nodes.append(self._cluster.add_node(num_cpus=1, object_store_memory=MEMORY))

    def kill_busy_node(self, pid: int) -> None:
        """Kill the node on which a task runs, with all of Ray's there and the process `pid` that the task started."""
        node = next(node for node in self._nodes if any("work_on" in name for name in _names_on(node)))
        there = psutil.Process(_raylet(node)).children(recursive=True)
        self._nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)
        for each in (*(process.pid for process in there), pid):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def end(self) -> None:
        self._cluster.shutdown()


def _raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def _names_on(node) -> list[str]:
    return [" ".join(process.cmdline()) for process in psutil.Process(_raylet(node)).children()]


@contextmanager
def small_cluster(nodes: int, folder: Path) -> Iterator[SmallCluster]:
    """One with so many nodes, ended at the end; `folder` is for what its processes load."""
    (folder / "sitecustomize.py").write_text(FORKING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("READY", json.dumps(ready.address()))
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")
        cluster = SmallCluster()
        try:
            cluster.grow(nodes)
            yield cluster
        finally:
            cluster.end()

"""What runs on a node of a Ray cluster for one run: it starts the run's process there, and ends it when it is told to.

Loaded by Ray on the node, where Thaw has to be installed, and `THAW_HOME` has to be the same folder.
"""

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from learner.jobs.process import CLAIM_VARIABLE, start_run
from learner.workspace import Workspace

LOOK_S = 0.2
END_S = 15
"""How long a run's process may take to write its ending."""


def work_on(run_id: int, home: str, settings: Mapping[str, str]) -> int | str:
    """Start the run's process with these settings, its claim among them, and wait; returns its exit code.

    A text says why it could not be started. A KeyboardInterrupt, by which Ray cancels a task, ends it.
    """
    workspace = Workspace(Path(home))
    if not workspace.root.is_dir():
        return f"{home} is not there on {socket.gethostname()}. All nodes must have THAW_HOME at the same path."
    code = str(Path(__file__).parents[2])  # where this file was found, so is the run's process
    path = os.pathsep.join(filter(None, [code, os.environ.get("PYTHONPATH")]))
    process = start_run(run_id, settings[CLAIM_VARIABLE], workspace, settings={**settings, "PYTHONPATH": path})
    try:
        while (exit_code := process.poll()) is None:
            time.sleep(LOOK_S)
        return exit_code
    finally:
        end(process)


def end(process: subprocess.Popen) -> None:
    """Let it write its ending; it is killed where that takes too long."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_address() -> tuple[str, int]:
    """This node's address, and a port that is free on it."""
    from ray.util import get_node_ip_address

    with socket.socket() as listening:
        listening.bind(("", 0))
        return get_node_ip_address(), listening.getsockname()[1]

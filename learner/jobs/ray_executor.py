"""`EXECUTOR=ray`: `python -m learner.jobs.ray_executor ID` hands a claimed run to a Ray cluster, and watches it.

The worker starts one such process for a run, as it would start the run's own. It asks the cluster (`RAY_ADDRESS`) for
a place, starts the run's process there (`learner.jobs.ray_task`), says on the page what the run waits for until that
has begun, and puts the run back into the queue when its node or process is lost. Ray is loaded here only.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from learner.errors import DatabaseAway, RunTakenOver, StoreError, ThawError
from learner.jobs.process import (
    CLAIM_VARIABLE,
    GIVEN_VARIABLE,
    MEETING_VARIABLE,
    NICENESS,
    PROCESSES_VARIABLE,
    RANK_VARIABLE,
    WORKER_ENDED,
    sentence_of,
)
from learner.jobs.ray_task import free_address, work_on
from learner.logs import set_up_logs
from learner.store import Store
from learner.store.claims import HEARTBEAT_S

log = logging.getLogger(__name__)

CPUS_SETTING, GPUS_SETTING = "THAW_RAY_CPUS", "THAW_RAY_GPUS"
TRY_AGAIN_S = 5.0
CONNECT_S = 3.0
END_S = 18.0
"""How long a task may take to end once it is cancelled; the worker kills this process a little later."""
STOPPED = "The run was stopped before anything was learnt, so there is no model to keep."


class _Lost(ThawError):
    """The run's process, or its node, is gone before the run was done."""


@dataclass(frozen=True)
class Place:
    """What one process of a run asks of a node."""

    cpus: int
    gpus: int
    memory: float = 0
    """GB."""

    @property
    def resources(self) -> dict[str, float]:
        """As Ray has them; what is not asked for is left out."""
        asked = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory * 1e9}
        return {name: amount for name, amount in asked.items() if amount}

    def __str__(self) -> str:
        return _amount(self.cpus, self.gpus) + (f" and {self.memory:g} GB of memory" if self.memory else "")

    def fits(self, node: dict[str, float]) -> int:
        """How many such places a node with these resources has, when nothing else is there."""
        return int(min(node.get(name, 0) // amount for name, amount in self.resources.items()))


def choose_place(nodes: list[dict[str, float]], recipe: Mapping[str, Any]) -> Place:
    """What a run asks for in a cluster with these nodes, where neither a setting nor its recipe says it.

    A GPU where there are any, and its share of the node's CPUs; else all CPUs of a node. Of the smallest such node, so
    that all of them are of use. Raises ThawError for a setting that is no number.
    """
    gpus = _whole_number(GPUS_SETTING, 0)
    if gpus is None:
        gpus = int(any(node.get("GPU", 0) >= 1 for node in nodes))
    if recipe.get("device") == "gpu":
        gpus = max(1, gpus)
    able = [node for node in nodes if node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= gpus]
    shares = [int(node["CPU"] // max(1, node.get("GPU", 0) // gpus if gpus else 1)) for node in able]
    cpus = _whole_number(CPUS_SETTING, 1) or max(1, min(shares, default=1))
    return Place(cpus, gpus, recipe.get("memory") or 0)


def what_it_waits_for(place: Place, count: int, nodes: list[dict[str, float]]) -> str:
    """A sentence on a run that asks for `count` such places in a cluster with these nodes."""
    asks = f"{place}" if count == 1 else f"{count} times {place}"
    if sum(place.fits(node) for node in nodes) >= count:
        return f"Waiting for room in the Ray cluster: the run asks for {asks}"
    has = "; ".join(_amount(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes) or "none"
    return (
        f"The Ray cluster never has room for this run as it is: it asks for {asks}, and the nodes have: {has}. It "
        f"waits for larger or more nodes; or stop it and set {CPUS_SETTING} and {GPUS_SETTING} of the worker"
    )


def _amount(cpus: int, gpus: int) -> str:
    return f"{cpus} CPU{'s' * (cpus != 1)}" + (f" and {gpus} GPU{'s' * (gpus != 1)}" if gpus else "")


def _whole_number(name: str, least: int) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < least:
        raise ThawError(f"{name} is {text!r}; it should be a whole number, {least} or more.")
    return int(text)


class _Watch:
    """Speaks for a run until a process has begun to train it: beats, says what it waits for, hears a stop."""

    def __init__(self, store: Store, run_id: int, claim: str):
        self._store, self._run_id, self._claim = store, run_id, claim
        self._message = "Waiting for the Ray cluster"
        self._news, self._over = threading.Event(), False

    @contextmanager
    def watching(self) -> Iterator[None]:
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            yield
        finally:
            self._over = True
            self._news.set()

    def say(self, message: str) -> None:
        """What the run waits for, which stands on the page until its process has begun."""
        if message != self._message:
            log.info("%s", message)
            self._message = message
            self._news.set()

    def is_ours(self) -> bool:
        """Whether the run is still to be trained, by the claim that this process was given."""
        try:
            run = self._store.runs.get(self._run_id)
        except DatabaseAway:  # nothing is known
            return True
        return run.status == "running" and run.claim == self._claim

    def _beat(self) -> None:
        while not self._over:
            with suppress(StoreError):
                run = self._store.runs.get(self._run_id)
                if (run.host, run.pid) != (socket.gethostname(), os.getpid()):
                    return
                asked = self._store.runs.report(self._run_id, {"message": self._message, "done": 0.0})
                if asked == "pause":
                    self._store.runs.end(self._run_id, "paused")
                elif asked:
                    self._store.runs.end(self._run_id, "stopped", STOPPED)
                if asked or asked is None:
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
            self._news.wait(HEARTBEAT_S)
            self._news.clear()


def run_in_cluster(store: Store, run_id: int, claim: str) -> None:
    """Train a claimed run in the cluster, and return when its process has ended.

    Raises _Lost when that was before the run was done, and ThawError for a setting that is wrong.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    watch = _Watch(store, run_id, claim)
    with watch.watching():
        _connect(watch)
        recipe = store.runs.get(run_id).recipe
        place, count = choose_place(_nodes(), recipe), int(recipe.get("workers", 1))
        group = placement_group([place.resources] * count)
        while not group.wait(HEARTBEAT_S):
            watch.say(what_it_waits_for(place, count, _nodes()))
        tasks = _start(store, run_id, claim, place, group, count)
        try:
            _wait(tasks, watch)
        finally:
            _, others = ray.wait(tasks, num_returns=len(tasks), timeout=0)  # Ray may crash where one has ended
            for task in others:
                ray.cancel(task)
            ray.wait(tasks, num_returns=len(tasks), timeout=END_S)
            remove_placement_group(group)


def _connect(watch: _Watch) -> None:
    """Reach the cluster, however long that takes."""
    import ray

    address = os.environ.get("RAY_ADDRESS", "").strip() or "auto"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    while True:
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
            signal.signal(signal.SIGTERM, _interrupt)  # Ray has put a handler before it that writes a stack
            return
        except (OSError, RuntimeError, ValueError) as error:
            where = "named by RAY_ADDRESS" if address == "auto" else f"at {address}"
            said = str(error).strip().splitlines() or [type(error).__name__]
            watch.say(f"The Ray cluster {where} cannot be reached ({said[0].rstrip('.')}). Trying again")
            time.sleep(TRY_AGAIN_S)


def _knock(address: str) -> None:
    """Raise OSError where nobody listens there; Ray itself would go on trying for minutes, deaf to signals."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_S).close()


def _nodes() -> list[dict[str, float]]:
    """Resources of each node that is there and gives out CPUs."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def _start(store: Store, run_id: int, claim: str, place: Place, group: Any, count: int) -> list[Any]:
    """One task in each place of the group; where there are several, each process knows its number and meeting point."""
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    def remote(function: Any, index: int) -> Any:
        where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
        how: dict[str, Any] = {"num_cpus": place.cpus, "num_gpus": place.gpus, "scheduling_strategy": where}
        return ray.remote(max_retries=0, **how)(function)

    settings = {name: value for name, value in os.environ.items() if name.startswith("THAW_") or name == "DATABASE_URL"}
    settings |= {CLAIM_VARIABLE: claim, GIVEN_VARIABLE: "1", "OMP_NUM_THREADS": str(place.cpus)}
    if count > 1:
        host, port = ray.get(remote(free_address, 0).remote())
        settings |= {MEETING_VARIABLE: f"tcp://{host}:{port}", PROCESSES_VARIABLE: str(count)}
    home = str(store.workspace.root)
    return [
        remote(work_on, index).remote(run_id, home, settings | {RANK_VARIABLE: str(index)}) for index in range(count)
    ]


def _wait(tasks: list[Any], watch: _Watch) -> None:
    """Until all have ended well, or the run is no longer ours. Raises _Lost as soon as one has not."""
    import ray

    waiting = list(tasks)
    while waiting:
        ended, waiting = ray.wait(waiting, timeout=HEARTBEAT_S)
        for task in ended:
            try:
                code = ray.get(task)
            except ray.exceptions.RayError as error:
                said = str(error).strip().splitlines() or [type(error).__name__]
                log.warning("%s", error)
                raise _Lost(f"The run's Ray task was lost: {said[0]}") from None
            if isinstance(code, str):
                raise _Lost(code)
            if code:
                raise _Lost(sentence_of(code, " on its Ray node"))
        if waiting and not watch.is_ours():  # it has written its ending, or another process has the run
            ray.wait(waiting, num_returns=len(waiting), timeout=END_S)
            return


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Hand the run whose id is the argument to the cluster, by the claim of the process that starts this one."""
    run_id, claim = int(sys.argv[1]), os.environ[CLAIM_VARIABLE]
    set_up_logs(run=run_id)
    signal.signal(signal.SIGTERM, _interrupt)
    os.nice(NICENESS)
    store = Store()
    try:
        store.runs.take(run_id, claim)
        _run_to_an_end(store, run_id, claim)
    except (StoreError, RunTakenOver) as error:  # whoever looks next sees to the run
        log.warning("%s", error)
        sys.exit(1)


def _run_to_an_end(store: Store, run_id: int, claim: str) -> None:
    try:
        run_in_cluster(store, run_id, claim)
    except KeyboardInterrupt:
        store.runs.requeue(run_id, WORKER_ENDED, died=False, claim=claim)
        sys.exit(130)
    except _Lost as error:
        log.warning("%s", error)
        store.runs.requeue(run_id, str(error), claim=claim)
    except StoreError:
        raise
    except ThawError as error:
        log.error("%s", error)
        store.runs.end(run_id, "failed", str(error))


if __name__ == "__main__":
    main()

"""Each device of a machine trains one run; whoever looks from another container sees the same device."""

import os
import subprocess
import sys

import pytest

from learner.errors import RunError
from learner.jobs import device
from learner.jobs.device import devices, exclusive_device, is_device_free
from tests.gpus import FIRST, SECOND, TWO_GPUS, path_with_gpus
from tests.patience import GIVE_UP_S
from tests.samples import ROOT

DIVIDED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-aaaa-0000-0000-000000000000)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 3g.20gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-22222222-bbbb-0000-0000-000000000000)
"""
PARTS = ["MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb"]
NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Lets this process see the GPUs of a listing."""

    def see(listing: str, visible: str | None = None) -> None:
        monkeypatch.setenv("PATH", path_with_gpus(tmp_path / "bin", listing))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        device._parts_of_gpus.cache_clear()

    yield see
    device._parts_of_gpus.cache_clear()


@pytest.mark.parametrize(
    ("listing", "visible", "found"),
    [
        (TWO_GPUS, None, [FIRST, SECOND]),
        (TWO_GPUS, "1", [SECOND]),
        (TWO_GPUS, "1, 0", [SECOND, FIRST]),
        (TWO_GPUS, "GPU-2222", [SECOND]),
        (TWO_GPUS, "0,7,1", [FIRST]),  # CUDA, too, goes no further than the first that is not there
        (DIVIDED, None, [*PARTS, SECOND]),
        (DIVIDED, PARTS[1], [PARTS[1]]),
    ],
)
def test_gpus_are_named_by_uuid_and_only_those_that_cuda_may_use(gpus, listing, visible, found):
    gpus(listing, visible)
    assert devices() == found


@pytest.mark.parametrize(
    ("listing", "visible"), [(TWO_GPUS, ""), (TWO_GPUS, "-1"), (TWO_GPUS, "NoDevFiles"), (NO_DRIVER, None), ("", "0")]
)
def test_without_a_gpu_the_cpu_is_the_device_by_the_name_that_all_containers_see(gpus, listing, visible, monkeypatch):
    gpus(listing, visible)
    [cpu] = devices()
    assert cpu == f"cpu-{device.BOOT_ID.read_text().strip()}"
    monkeypatch.setattr(device.socket, "gethostname", lambda: "another-container")
    assert devices() == [cpu]


USE = """
import os, sys
from learner.jobs.device import acquired_device
from learner.workspace import Workspace
lock = acquired_device(Workspace.current())
print(os.environ.get("CUDA_VISIBLE_DEVICES") if lock else "none is free", flush=True)
sys.stdin.read()
"""


def test_processes_share_out_the_gpus_one_each_and_the_last_finds_none(workspace, gpus):
    gpus(TWO_GPUS)
    started, said = [], []
    for _ in range(3):
        assert is_device_free(workspace) == (len(started) < 2)
        command = [sys.executable, "-c", USE]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        said.append(process.stdout.readline().strip())
    assert said == [FIRST, SECOND, "none is free"]
    with pytest.raises(RunError, match="This machine is training"), exclusive_device(workspace):
        pass
    started[0].kill()  # however it ends, its GPU is free again
    started[0].communicate(timeout=GIVE_UP_S)
    assert is_device_free(workspace)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ  # who only asks may use all of them later, too
    with exclusive_device(workspace):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == FIRST
    for process in started[1:]:
        process.communicate(timeout=GIVE_UP_S)

"""What is measured beside other work is what a machine does that has nothing else to do."""

import random
from dataclasses import replace

import pytest
import torch

import learner.training.benchmark
from learner.planning.cost import Workload
from learner.planning.speeds import load_speeds, save_speeds
from learner.recipe import Phase
from learner.training.benchmark import _seconds, pick_device, speed_of_run
from tests.samples import small_recipe

CPU = torch.device("cpu")
AMOUNTS = Workload(train=100, valid=20, decode_s=0.001, undecoded=120, room=10**9)


class Machine:
    """Stands in for the clocks of one with two cores, on which another program comes and goes."""

    def __init__(self, seed: int, busy: float):
        self._random, self._busy = random.Random(seed), busy
        self._wall = self._processor = 0.0

    def perf_counter(self) -> float:
        return self._wall

    def process_time(self) -> float:
        return self._processor

    def work(self, seconds: float) -> None:
        """So long on both cores; where others push their way in, much longer."""
        disturbed = self._random.random() < self._busy
        self._processor += 2 * seconds * self._random.uniform(1, 1.05)
        self._wall += seconds * (self._random.uniform(2, 12) if disturbed else 1)


@pytest.mark.parametrize("busy", [0.0, 0.3, 0.7, 1.0])
def test_what_other_programs_take_does_not_decide(monkeypatch, busy):
    for seed in range(200):
        machine = Machine(seed, busy)
        monkeypatch.setattr(learner.training.benchmark, "time", machine)
        fast, slow = (sum(one) for one in zip(*(measured(machine) for _ in range(10)), strict=True))
        assert fast < 0.85 * slow, seed
        assert 0.199 < fast < 2.11 * 10 * 0.02


def measured(machine: Machine) -> list[float]:
    return _seconds([lambda: machine.work(0.02), lambda: machine.work(0.04)], CPU)


def test_a_narrow_choice_is_looked_at_again_when_a_run_begins_and_a_clear_one_is_not(workspace, monkeypatch):
    recipe = small_recipe(phases=[Phase("All", "all")], precision="auto")
    monkeypatch.setattr(learner.training.benchmark, "precisions", lambda wanted, device: two())
    first = learner.training.benchmark.speeds_of(workspace, recipe, pick_device())
    own = replace(first[0], lowest=[1.0] * 6, above=[1.0] * 6)
    looks = []

    def measure(recipe, choice, device):
        looks.append([one.name for one in choice])
        return [own, scaled(own, 0.5)]

    monkeypatch.setattr(learner.training.benchmark, "measure", measure)
    save_speeds(workspace, recipe, [own, scaled(own, 3)])
    assert speed_of_run(workspace, recipe, CPU, AMOUNTS).precision == "bf16"
    assert looks == []
    save_speeds(workspace, recipe, [own, scaled(own, 0.9)])
    assert speed_of_run(workspace, recipe, CPU, AMOUNTS).precision == "fp32"
    assert looks == [["bf16", "fp32"]]
    assert load_speeds(workspace, recipe)[1].lowest == [0.5] * 6


def scaled(own, factor: float):
    names = ("lowest", "above")
    return replace(own, precision="fp32", **{name: [factor * value for value in getattr(own, name)] for name in names})


def two():
    from learner.models.precision import Precision

    return [Precision("bf16", "It has units."), Precision("fp32", "Not all suits them.")]

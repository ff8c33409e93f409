"""What a plan says to a person."""

from dataclasses import replace

import pytest

from learner.planning.cost import PhasePlan, RunPlan
from ui import plans

WARM_UP = PhasePlan("Warm-up", 5, True, "1 min 20 s instead of 58 min.", 80.0, 3480.0, 30.0, 4.0, 1.0, 120_000_000)
ALL = PhasePlan("All", 0, False, "Every stage learns, so there is nothing constant to keep.", None, 60.0, 0, 18, 2, 0)
PLAN = RunPlan(12.0, 50_000_000, [WARM_UP, ALL], "bf16", "This processor has units for bf16 (AMX).", "CPU, 2 threads")


@pytest.mark.parametrize(("seconds", "said"), [(0.1, "under 1 s"), (0.5, "under 1 s"), (80.4, "about 1 min 20 s")])
def test_a_forecast_never_says_0_s(seconds, said):
    assert plans.about(seconds) == said


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (
            WARM_UP,
            "Frozen stages run once (about 30 s) and are kept (cache), instead of 58 min without. 120 MB of disk.",
        ),
        (
            replace(WARM_UP, features_s=0.0, disk=0),
            "Frozen stages have run already and are kept (cache), instead of 58 min without.",
        ),
        (ALL, "Every stage learns, so there is nothing constant to keep."),
    ],
)
def test_a_phase_says_what_the_cache_does_or_why_it_does_nothing(phase, said):
    assert plans.cache_text(phase) == said


def test_the_total_names_reading_and_disk_only_where_there_is_any():
    assert plans.total_text(PLAN) == (
        "About **2 min 32 s** in all, about 12 s of it for reading the images once. 170 MB of disk."
    )
    assert plans.total_text(RunPlan(0.0, 0, [ALL], "fp32", "", "CPU")) == "About **1 min** in all."


def test_precision_and_cache_in_a_few_words():
    assert plans.precision_text(PLAN) == "Computed in bf16: this processor has units for bf16 (AMX)."
    assert plans.kept_text(PLAN) == "frozen stages kept for Warm-up (cache)"
    upper = replace(WARM_UP, name="Upper")
    assert plans.kept_text(replace(PLAN, phases=[WARM_UP, upper])) == "frozen stages kept for Warm-up and Upper (cache)"
    assert plans.kept_text(replace(PLAN, phases=[ALL])) == "nothing kept (cache)"


def test_parts_add_up_only_when_all_have_run_to_their_end():
    assert [row["True"] for row in plans.expected_and_true(PLAN, finished=False)] == ["–", "–", "–"]
    ran = replace(PLAN, phases=[replace(WARM_UP, true_s=75.0), replace(ALL, true_s=61.0)], true_decode_s=10.0)
    parts = ["10 s", "1 min 15 s", "1 min 1 s"]
    assert [row["True"] for row in plans.expected_and_true(ran, finished=True)] == [*parts, "2 min 26 s"]
    assert [row["True"] for row in plans.expected_and_true(ran, finished=False)] == parts  # it was stopped early


@pytest.mark.parametrize("facts", [None, {}, {"plan": None}, {"plan": {"seconds": 3}}, {"plan": {"phases": [{}]}}])
def test_a_run_without_a_plan_that_can_be_read_has_none(facts):
    assert RunPlan.from_facts(facts) is None


def test_a_run_keeps_its_plan():
    assert RunPlan.from_facts({"plan": PLAN.to_dict()}) == PLAN

"""Searches: which are under way, and that workers which look at one moment ask for no trial twice."""

from learner.recipe import Phase
from learner.studies.search import advance, create_search
from learner.studies.space import read_space
from learner.studies.trials import Search, result_of_search
from tests.learner.store.writing import in_processes
from tests.samples import small_recipe

BASE = small_recipe(phases=[Phase("Head", epochs=1), Phase("All", trainable="all", epochs=1, lr=[1e-5, 1e-4])])
SPACE = read_space(["phases.1.lr.0=1e-6..1e-4"])


AT_ONE_MOMENT = """
from learner.studies.search import advance
store = Store()
time.sleep(max(0, begin + 3 - time.time()))
advance(store)
"""


def test_what_is_under_way_is_told_from_what_compares_variants_or_has_ended(store):
    version = store.datasets.version("pets", None)
    store.studies.create(version.id, {"variants": []}, [])
    ended, going = (create_search(store, Search(BASE, SPACE)) for _ in range(2))
    with store.studies.changing_design(ended) as (design, _):
        design["searching"] = False
    assert store.studies.searching() == [going]


def test_an_error_while_a_design_is_changed_changes_nothing(store):
    study = create_search(store, Search(BASE, SPACE))
    try:
        with store.studies.changing_design(study) as (design, add_run):
            design["asked"].append({})
            add_run(0, BASE.to_dict())
            raise KeyError
    except KeyError:
        pass
    assert store.studies.get(study).design["asked"] == [] and store.studies.runs_of(study) == []


def test_workers_that_look_at_one_moment_ask_for_no_more_than_are_to_wait(store):
    study = create_search(store, Search(BASE, SPACE, trials=20, at_once=3))
    in_processes(4, f"import optuna\n{AT_ONE_MOMENT}")
    result = result_of_search(store, study)
    assert [run.variant for run in store.studies.runs_of(study)] == [0, 1, 2]
    assert len(result.search.asked) == 3
    advance(store)
    assert len(store.studies.runs_of(study)) == 3

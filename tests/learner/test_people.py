"""Who may enter, which spaces they have, and that a space knows nothing of another."""

import json

import pytest

from learner.audit import audit_file
from learner.errors import AccessError, RunError, StoreError
from learner.people import TOP, all_workspaces, read_people, space_of
from learner.store import Store
from learner.workspace import Workspace
from tests.learner.store.writing import TWO_IMAGES
from tests.samples import small_recipe

RULES = """
people:
  - {who: ada@school.example, role: admin}
  - {who: "*@school.example", role: trainer}
  - {who: "*@guests.example", role: viewer}
spaces:
  lab: {members: ["bob@school.example", "*@guests.example"]}
"""


@pytest.fixture
def top(tmp_path) -> Workspace:
    (tmp_path / "people.yaml").write_text(RULES)
    return Workspace(tmp_path)


def test_the_first_rule_that_fits_gives_the_role(top):
    people = read_people(top)
    roles = {
        name: person.role if (person := people.person(name)) else None
        for name in (
            "ada@school.example",
            " Bob@School.Example ",
            "eve@guests.example",
            "eve@evil.example",
            "school.example",
        )
    }
    assert list(roles.values()) == ["admin", "trainer", "viewer", None, None]


@pytest.mark.parametrize(
    "name", ["", "@school.example", "a@b@school.example", "../x@school.example", "a b@school.example"]
)
def test_what_is_no_address_enters_nowhere(top, name):
    assert read_people(top).person(name) is None


def test_everybody_has_a_space_shared_ones_are_for_members_and_an_admin_has_all(top):
    people = read_people(top)

    def spaces(name: str) -> list[str]:
        person = people.person(name)
        assert person is not None
        return people.spaces_of(person, top)

    assert spaces("bob@school.example") == ["bob@school.example", "lab"]
    assert spaces("cid@school.example") == ["cid@school.example"]
    space_of(top, "cid@school.example").root.mkdir(parents=True)
    assert spaces("ada@school.example") == ["ada@school.example", "lab", TOP, "cid@school.example"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("people: [", "cannot be read, so nobody may enter"),
        ("people: [{who: a@b, role: king}]", "is wrong, so nobody may enter: people.0.role"),
        ("peoples: []", "peoples"),
        ("spaces: {Big Lab: {members: []}}", "names a space 'Big Lab'"),
        ("spaces: {top: {members: []}}", "is not 'top'"),
    ],
)
def test_mistakes_let_nobody_in_and_say_why(top, text, message):
    top.people_file.write_text(text)
    with pytest.raises(AccessError, match=message):
        read_people(top)


def test_without_the_file_nobody_enters(tmp_path):
    with pytest.raises(AccessError, match=r"people.yaml is missing, so nobody may enter"):
        read_people(Workspace(tmp_path))


def test_spaces_lie_beside_each_other_whatever_they_are_called(top):
    folders = {
        space_of(top, name).root for name in ("a@x.example", "A@x.example", "a%40x.example", "a/../../@x.example")
    }
    assert len(folders) == 4 and {folder.parent for folder in folders} == {top.spaces}
    for folder in folders:
        folder.mkdir(parents=True)
    assert len(all_workspaces(top)) == 5 and all(one.top == top for one in all_workspaces(top))


class TestStores:
    @pytest.fixture(params=["sqlite", "postgresql"])
    def spaces(self, request, top, monkeypatch) -> tuple[Store, Store]:
        """Two spaces of one top workspace, on each kind of database, with a run each."""
        if request.param == "postgresql":
            monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_database"))
        else:
            monkeypatch.delenv("DATABASE_URL", raising=False)
        stores = tuple(Store(space_of(top, name)) for name in ("a@school.example", "b@school.example"))
        for store, name in zip(stores, ("cats", "dogs"), strict=True):
            store.datasets.add_version(name, TWO_IMAGES, [], note="", fingerprint=name)
        stores[0].submit(small_recipe("cats"))
        return stores

    def test_one_knows_nothing_of_the_other(self, spaces):
        first, second = spaces
        assert (first.datasets.names(), second.datasets.names()) == (["cats"], ["dogs"])
        assert [run.id for run in first.runs.all()] == [1] and second.runs.all() == []
        with pytest.raises(RunError, match="There is no run 1"):
            second.runs.get(1)
        assert second.submit(small_recipe("dogs")) == 1  # numbers tell nothing of others
        assert second.runs.claim() == 1 and first.runs.get(1).status == "queued"

    def test_a_viewer_reads_and_changes_nothing(self, spaces):
        store = Store(spaces[0].workspace, for_reading="You may look.")
        assert [run.id for run in store.runs.all()] == [1]
        for change in (
            lambda: store.runs.ask(1, "stop"),
            lambda: store.runs.delete(1),
            lambda: store.submit(small_recipe("cats")),
            lambda: store.queue.move(1, 0),
        ):
            with pytest.raises(StoreError, match=r"You may look\."):
                change()
        assert spaces[0].runs.get(1).status == "queued"

    def test_no_more_runs_wait_than_may(self, spaces):
        store = Store(spaces[0].workspace, most_queued=2)
        store.submit(small_recipe("cats"))
        with pytest.raises(RunError, match="2 runs may wait in this space, and 2 do"):
            store.submit(small_recipe("cats"))
        assert len(spaces[0].queue.waiting()) == 2

    def test_what_a_person_changes_is_noted_with_who_and_where(self, spaces, top):
        store = Store(spaces[0].workspace, who="a@school.example")
        store.runs.ask(1, "stop")
        lines = [json.loads(line) for line in audit_file(top).read_text().splitlines()]
        assert lines and {line["who"] for line in lines} == {"a@school.example"}
        assert {line["space"] for line in lines} == {spaces[0].workspace.root.name}
        assert any(line["what"] == "update runs" and line.get("asked") == "stop" for line in lines)

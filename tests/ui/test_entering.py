"""What the pages know of who looks at them."""

import pytest

from learner.errors import DatasetError
from learner.people import Person, Quotas
from learner.workspace import Workspace
from ui.people import Entered


def test_a_space_that_is_full_takes_nothing_more(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(bytes(2_000_000))
    Entered(Workspace(tmp_path), quotas=Quotas(disk_gb=0.1)).require_room()
    Entered(Workspace(tmp_path)).require_room()
    with pytest.raises(DatasetError, match="This space is full: it has 2 MB of the 1 MB that it may have"):
        Entered(Workspace(tmp_path), quotas=Quotas(disk_gb=0.001)).require_room()


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("trainer", True), ("admin", True)])
def test_all_but_viewers_may_change_things(tmp_path, role, may):
    place = Entered(Workspace(tmp_path), "lab", Person("a@b", role))
    assert place.may_change == may and bool(place.for_reading) != may

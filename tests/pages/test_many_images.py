"""25,000 images: every view comes, and none shows more pictures than a page of them."""

import hashlib
from pathlib import Path

import pytest

from learner.datasets.checks import LabelIssues
from learner.datasets.editing import Edit, add_edit, save
from learner.datasets.exclusions import ImageRow
from learner.datasets.rows import fingerprint_of
from learner.store import Store
from learner.workspace import Workspace
from tests.pages.reading import choose, look_at, press, tiles, unfold, words
from tests.samples import copy_workspace

IMAGES, CLASSES = 25_000, 50


@pytest.fixture(scope="module")
def many_home(tmp_path_factory) -> Path:
    """Rows and measurements alone, written straight into the database: every tenth image has a near twin."""
    store = Store(Workspace(tmp_path_factory.mktemp("many")))
    rows = []
    for number in range(IMAGES):
        label = f"class {number % CLASSES}"
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        cluster = f"c{number // 500}-{number % CLASSES}" if number % 500 < 100 else ""
        rows.append(
            ImageRow(
                f"{label}/{number}.jpg",
                f"images/{sha256[:2]}/{sha256}.jpg",
                label,
                "",
                sha256,
                640,
                480,
                cluster=cluster,
            )
        )
    contents = [
        {
            "sha256": row.sha256,
            "num_bytes": 50_000,
            "phash": row.sha256[:16],
            "tiny": bytes(32 * 32),
            "brightness": 10.0 if number % 20 == 0 else 120.0,
            "contrast": 50.0,
            "sharpness": 30.0,
            "camera": "",
            "taken_at": None,
            "treatment": "",
        }
        for number, row in enumerate(rows)
    ]
    store.datasets.add_contents(contents)
    store.datasets.add_version("many", [vars(row) for row in rows], [], "Written", fingerprint_of(rows))
    doubts = {row.sha256: (row.label, "class 7", 0.9) for row in rows[:1000]}
    LabelIssues(1, "a network", IMAGES, 0.9, doubts).save(store.workspace, "many")
    return store.workspace.root


@pytest.fixture
def many(many_home, store) -> None:
    """The data set of `many_home`, in the test's own workspace."""
    copy_workspace(many_home, store.workspace.root)


def test_every_view_comes_and_shows_a_page_of_pictures(open_page, store, many):
    app = open_page("data")
    assert "**25,000 images** in **50 classes**" in words(app)
    assert "1 to 48 of 25,000" in words(app) and len(tiles(app)) == 48
    choose(app, [tile["path"] for tile in tiles(app)])
    press(app, "Set aside")
    assert "**24,952 images**" in words(app) and len(tiles(app)) == 48
    look_at(app, "checks")
    assert tiles(app) == []
    for title, shown in (("labels may be wrong", 24), ("near duplicates in", 12 * 2), ("very dark", 24)):
        unfold(app, title)
        assert not app.error and len(tiles(app)) == shown, title
        unfold(app, title, fold=True)
    for view in ("split", "card", "versions"):
        look_at(app, view)
        assert not app.error and not app.exception and tiles(app) == [], view
    assert "**24,952 images**" in words(app)


def test_a_change_to_nearly_all_of_them_is_told_in_few_words(open_page, store, many):
    add_edit(store, "many", Edit("rename", classes=tuple(f"class {number}" for number in range(1, 49)), to="most"))
    save(store, "many")
    app = look_at(open_page("data"), "versions")
    assert "**Images: 24,000 relabelled.**" in words(app)
    assert not app.error

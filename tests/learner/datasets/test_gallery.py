"""Known sets, from a server on this machine that holds tiny archives of exactly their layouts."""

import importlib.util
import io
import re
import tarfile
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from learner.datasets import add_dataset, summarize
from learner.datasets.gallery import KNOWN, fetch
from learner.datasets.gallery_names import FLOWERS_17, FLOWERS_102
from learner.datasets.layouts import Choice, listing_of, place
from learner.datasets.sources import open_source
from learner.errors import DatasetError, ImportCancelled
from tests.learner.file_server import serving


def jpeg(number: int) -> bytes:
    picture = Image.new("RGB", (8, 8), (number * 37 % 256, number * 91 % 256, number % 256))
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def images(*names: str) -> dict[str, bytes]:
    return {name: jpeg(number) for number, name in enumerate(names)}


def mat(**variables: list[int]) -> bytes:
    file = io.BytesIO()
    savemat(file, {name: np.array([numbers], np.uint8) for name, numbers in variables.items()})
    return file.getvalue()


def published(key: str) -> list[bytes]:
    """What lies at the addresses of a known set, tiny."""
    if key == "flower-photos":
        names = [f"flower_photos/{flower}/{number}_n.jpg" for flower in ("daisy", "roses") for number in range(3)]
        return [packed(images(*names) | {"flower_photos/LICENSE.txt": b"CC-BY"})]
    if key == "flowers-17":
        names = [f"jpg/image_{number:04}.jpg" for number in range(1, 1361)]
        one = jpeg(1)
        return [packed(dict.fromkeys(names, one) | {"jpg/files.txt": b"image_0001.jpg"})]
    if key == "flowers-102":
        archive = packed(images(*(f"jpg/image_{number:05}.jpg" for number in range(1, 7))))
        return [archive, mat(labels=[77, 77, 1, 1, 102, 77]), mat(trnid=[1, 3], valid=[2], tstid=[4, 5, 6])]
    if key == "flowers-102-fastai":
        files = images(*(f"oxford-102-flowers/jpg/image_{number:05}.jpg" for number in range(1, 5)))
        lists = {
            "train": b"jpg/image_00001.jpg 76\njpg/image_00002.jpg 0\n",
            "valid": b"jpg/image_00003.jpg 76\n",
            "test": b"jpg/image_00004.jpg 0\n",
        }
        return [packed(files | {f"oxford-102-flowers/{name}.txt": text for name, text in lists.items()})]
    if key == "pets":
        names = ["Abyssinian_1", "Abyssinian_100", "great_pyrenees_12", "great_pyrenees_2", "pug_7"]
        files = images(*(f"images/{name}.jpg" for name in names))
        return [packed(files | {"images/Abyssinian_101.mat": b"x", "images/._pug_7.jpg": b"x"})]
    if key.startswith("imagenette"):
        top = f"imagenette2-{key[-3:]}"
        names = [
            f"{top}/{split}/{folder}/{folder}_{number}.JPEG"
            for split, count in (("train", 3), ("val", 1))
            for folder in ("n01440764", "n03888257")
            for number in range(count)
        ]
        return [
            packed(images(*names) | {f"{top}/noisy_imagenette.csv": b"path,noisy_labels_0\n", f"{top}/.DS_Store": b""})
        ]
    assert key == "knifey-spoony"
    names = [
        f"{kind}/{part}{number}.jpg" for kind in ("forky", "knifey") for part in ("", "test/") for number in (1, 2)
    ]
    return [packed(images(*names))]


EXPECTED = {
    "flower-photos": {("daisy", ""): 3, ("roses", ""): 3},
    "flowers-17": {(flower, ""): 80 for flower in FLOWERS_17},
    "flowers-102": {
        ("passion flower", "train"): 1,
        ("passion flower", "valid"): 1,
        ("passion flower", "test"): 1,
        ("pink primrose", "train"): 1,
        ("pink primrose", "test"): 1,
        ("blackberry lily", "test"): 1,
    },
    "flowers-102-fastai": {("76", "train"): 1, ("0", "train"): 1, ("76", "valid"): 1, ("0", "test"): 1},
    "pets": {("Abyssinian", ""): 2, ("great_pyrenees", ""): 2, ("pug", ""): 1},
    "imagenette-160": {
        ("tench", "train"): 3,
        ("parachute", "train"): 3,
        ("tench", "valid"): 1,
        ("parachute", "valid"): 1,
    },
    "knifey-spoony": {
        ("forky", "train"): 2,
        ("forky", "test"): 2,
        ("knifey", "train"): 2,
        ("knifey", "test"): 2,
    },
}
EXPECTED["imagenette-320"] = EXPECTED["imagenette-160"]


@contextmanager
def mirror(key: str, monkeypatch):
    paths = [urlsplit(url).path for url in KNOWN[key].urls]
    with serving(dict(zip((f"/mirror{path}" for path in paths), published(key), strict=True))) as base:
        monkeypatch.setenv("THAW_GALLERY_BASE", f"{base}/mirror/")
        monkeypatch.setenv("THAW_ALLOW_PRIVATE_ADDRESSES", "1")
        yield


def counted(path: Path, layout: dict) -> Counter:
    with closing(open_source(path)) as source:
        placed = place(listing_of(source), Choice.from_dict(layout)).placed
    return Counter((item.label, item.split) for item in placed)


@pytest.mark.parametrize("key", EXPECTED)
def test_a_known_set_is_downloaded_and_read_by_its_own_layout(key, tmp_path, monkeypatch):
    with mirror(key, monkeypatch):
        path, layout = fetch(key, tmp_path / "in")
    assert path.is_relative_to(tmp_path / "in")
    assert counted(path, layout) == EXPECTED[key]


def test_every_set_that_is_downloaded_was_tried():
    assert set(EXPECTED) == {key for key, known in KNOWN.items() if known.urls}


@pytest.mark.parametrize("key", ["imagenette-160", "knifey-spoony"])
def test_a_known_set_becomes_a_data_set(key, store, tmp_path, monkeypatch):
    with mirror(key, monkeypatch):
        path, layout = fetch(key, tmp_path / "in")
    version = add_dataset(store, path, key, choice=Choice.from_dict(layout))
    assert summarize(store, version).images == sum(EXPECTED[key].values())


def test_the_digits_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_GALLERY_BASE", "http://127.0.0.1:9")
    path, layout = fetch("digits", tmp_path)
    counts = counted(path, layout)
    assert sum(counts.values()) == KNOWN["digits"].images
    assert len(counts) == KNOWN["digits"].classes


def solar_package(folder: Path) -> Path:
    """A folder to import from that holds the package as pip installs it, with three photos."""
    data = folder / "elpv_dataset" / "data"
    (data / "images").mkdir(parents=True)
    (folder / "elpv_dataset" / "__init__.py").touch()
    (data / "labels.csv").write_text(
        "images/cell0001.png  1.0                 mono\n"
        "images/cell0002.png  0.3333333333333333  poly\n"
        "images/cell0003.png  0.6666666666666666  poly\n\n"
    )
    for number in (1, 2, 3):
        Image.new("L", (8, 8), number).save(data / "images" / f"cell000{number}.png")
    return folder


def test_solar_cells_come_from_the_package_and_leave_it_as_it_is(tmp_path, monkeypatch):
    package = solar_package(tmp_path / "packages")
    before = sorted(package.rglob("*.png"))
    monkeypatch.syspath_prepend(str(package))
    path, layout = fetch("elpv", tmp_path / "in")
    assert counted(path, layout) == {("defective", ""): 2, ("functional", ""): 1}
    for file in path.rglob("*.png"):
        file.unlink()
    assert sorted(package.rglob("*.png")) == before


def test_solar_cells_without_the_package_say_how_to_get_it(tmp_path):
    with pytest.raises(DatasetError, match=r"\(91 MB\) that is not installed\. Run “pip install elpv-dataset”"):
        fetch("elpv", tmp_path)


def test_what_goes_wrong_is_told_in_words_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match=r"There is no known data set 'cats'\. There are: digits, elpv, "):
        fetch("cats", tmp_path)
    with mirror("flowers-17", monkeypatch):
        with pytest.raises(DatasetError, match="has no file at this address"):
            fetch("pets", tmp_path / "in")
        with pytest.raises(ImportCancelled):
            fetch("flowers-17", tmp_path / "in", cancelled=lambda: True)
    assert list((tmp_path / "in").iterdir()) == []
    for key in ("digits", "elpv"):
        monkeypatch.syspath_prepend(str(solar_package(tmp_path / key)))
        with pytest.raises(ImportCancelled):
            fetch(key, tmp_path / "in", cancelled=lambda: True)


def test_every_known_set_says_what_a_person_wants_to_know():
    for key, known in KNOWN.items():
        assert key == known.key
        assert known.title and known.description.endswith(".") and known.license
        assert known.classes > 1 and known.images >= known.classes
        assert known.address.startswith("https://")
        assert all(url.startswith("https://") for url in known.urls)
        Choice.from_dict(known.layout)
    assert len(FLOWERS_17) == len(set(FLOWERS_17)) == 17
    assert len(FLOWERS_102) == len(set(FLOWERS_102)) == 102


def test_fastais_addresses_and_sizes_are_those_that_fastai_publishes():
    fastai = Path(next(iter(importlib.util.find_spec("fastai").submodule_search_locations)))
    published = (fastai / "data" / "download_checks.py").read_text("utf-8")
    for key in ("flowers-102-fastai", "imagenette-160", "imagenette-320"):
        known = KNOWN[key]
        assert re.search(rf"'{re.escape(known.urls[0])}':\s*\(\s*{known.num_bytes},", published)

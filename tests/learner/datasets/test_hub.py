"""Data sets from the Hugging Face hub, by a stand-in that speaks its protocol on this machine."""

import io
from pathlib import Path

import pytest
from huggingface_hub import constants
from PIL import Image

from learner.datasets.sources import hub
from learner.errors import DatasetError, ImportCancelled
from tests.learner import hub_server


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


FILES = {
    "datasets/ada/pets/train/cat/1.png": picture(1),
    "datasets/ada/pets/train/dog/2.png": picture(2),
    "datasets/ada/pets/extra/dog/3.png": picture(3),
    "datasets/ada/pets/README.md": b"# Pets",
    "datasets/ada/pets/pets.py": b"raise SystemExit('never run')",
    "datasets/ada/text/notes.md": b"words",
}


@pytest.fixture
def endpoint(monkeypatch):
    """Makes a stand-in the hub of this process."""

    def use(url: str) -> None:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")

    return use


def brought(source: str, folder: Path, **more) -> list[str]:
    path = hub.fetch(hub.named(source), folder, more.get("progress"), more.get("cancelled"))
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


def test_images_are_brought_and_programs_are_not(endpoint, tmp_path):
    told = []
    with hub_server.hub(FILES) as url:
        endpoint(url)
        files = brought("hf:ada/pets", tmp_path, progress=lambda *one: told.append(one))
    assert files == ["extra/dog/3.png", "train/cat/1.png", "train/dog/2.png"]
    assert (tmp_path / "pets" / "train" / "dog" / "2.png").read_bytes() == picture(2)
    size = sum(len(FILES[name]) for name in FILES if name.endswith(".png"))
    assert told and all(total == size and 0 <= done <= size for done, total, _ in told)


def test_a_page_s_address_a_revision_and_a_folder_name_the_same_repository(endpoint, tmp_path):
    with hub_server.hub(FILES) as url:
        endpoint(url)
        for source in ("hf:ada/pets@main/train", f"{url}/datasets/ada/pets/tree/main/train"):
            assert brought(source, tmp_path) == ["train/cat/1.png", "train/dog/2.png"]
        assert hub.named("https://example.org/datasets/ada/pets") is None
        assert hub.named("photos.zip") is None


def test_what_is_not_there_cannot_be_reached_or_is_no_name_is_told_and_leaves_nothing(endpoint, tmp_path):
    for name in ("hf:pets", "hf:", "hf:a/b c"):
        with pytest.raises(DatasetError, match="names no data set on the hub"):
            hub.named(name)
    with hub_server.hub(FILES) as url:
        endpoint(url)
        for source, reason in (
            ("hf:ada/none", "There is no data set ada/none"),
            ("hf:ada/text", "holds 1 other files"),
        ):
            with pytest.raises(DatasetError, match=reason):
                brought(source, tmp_path)
    with hub_server.closed() as url:
        endpoint(url)
        with pytest.raises(DatasetError, match="could not be fetched from"):
            brought("hf:ada/pets", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_stopped_and_offline_the_hub_is_not_asked(endpoint, tmp_path, monkeypatch):
    asked = iter([False, False, True])
    with hub_server.hub(FILES) as url:
        endpoint(url)
        with pytest.raises(ImportCancelled):
            brought("hf:ada/pets", tmp_path, cancelled=lambda: next(asked, True))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DatasetError, match="HF_HUB_OFFLINE is set"):
        brought("hf:ada/pets", tmp_path)

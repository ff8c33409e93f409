"""Data sets as other tools keep them: COCO, Roboflow, Hugging Face's ImageFolder and Parquet, WebDataset."""

import io
import json
import tarfile
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from learner.datasets import add_dataset
from learner.datasets.layouts import Layout, Proposal, listing_of, place, recognise
from learner.datasets.sources import open_source
from learner.errors import DatasetError
from learner.store import Store


def picture(shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 255 - shade, shade)).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, **files: bytes | str) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def found(path: Path) -> tuple[Proposal, Layout]:
    with closing(open_source(path)) as source:
        listing = listing_of(source)
        best = recognise(listing)[0]
        return best, place(listing, best.choice)


def told(layout: Layout) -> dict[str, tuple[str, str]]:
    return {item.path: (item.label, item.split) for item in layout.placed}


# COCO and Roboflow


def coco(images: dict[str, list[str]]) -> str:
    classes = ["things", "cat", "dog"]  # Roboflow's first one is the kind of all others
    ids = {name: number for number, name in enumerate(images)}
    return json.dumps(
        {
            "categories": [{"id": number, "name": name} for number, name in enumerate(classes)],
            "images": [{"id": ids[name], "file_name": name, "width": 8, "height": 8} for name in images],
            "annotations": [
                {"id": number, "image_id": ids[name], "category_id": classes.index(label), "bbox": [0, 0, 4, 4]}
                for number, (name, label) in enumerate((name, one) for name, some in images.items() for one in some)
            ],
        }
    )


def test_coco_files_of_roboflow_one_in_each_split(tmp_path):
    train = coco({"1.png": ["cat"], "2.png": ["dog", "dog"], "3.png": ["cat", "dog"], "4.png": []})
    write(
        tmp_path,
        **{f"train/{number}.png": picture(number) for number in range(1, 5)},
        **{"train/_annotations.coco.json": train, "valid/_annotations.coco.json": coco({"1.png": ["dog"]})},
        **{"valid/1.png": picture(9), "README.roboflow.txt": "Exported."},
    )
    best, layout = found(tmp_path)
    assert best.title == "COCO files list the classes"
    assert told(layout) == {
        "train/1.png": ("cat", "train"),
        "train/2.png": ("dog", "train"),
        "train/3.png": ("", "train"),
        "train/4.png": ("", "train"),
        "valid/1.png": ("dog", "valid"),
    }
    reasons = {item.path: item.reason for item in layout.placed}
    assert "puts it into cat and dog" in reasons["train/3.png"] and "names no class" in reasons["train/4.png"]
    assert [path for path, _ in layout.set_aside] == ["README.roboflow.txt"]


def test_coco_as_it_was_published_with_annotations_in_a_folder_of_their_own(tmp_path):
    write(
        tmp_path,
        **{"annotations/instances_train2017.json": coco({"1.png": ["cat"], "2.png": ["dog"]})},
        **{"annotations/instances_val2017.json": coco({"3.png": ["cat"]})},
        **{"train2017/1.png": picture(1), "train2017/2.png": picture(2), "val2017/3.png": picture(3)},
    )
    assert told(found(tmp_path)[1]) == {
        "train2017/1.png": ("cat", "train"),
        "train2017/2.png": ("dog", "train"),
        "val2017/3.png": ("cat", "valid"),
    }


def test_roboflows_table_of_ones_and_zeros_in_each_split(tmp_path):
    heading = "filename, cat, dog\n"
    write(
        tmp_path,
        **{
            "train/_classes.csv": f"{heading}1.png, 1, 0\n2.png, 0, 1\n",
            "valid/_classes.csv": f"{heading}1.png, 0, 1\n",
        },
        **{"train/1.png": picture(1), "train/2.png": picture(2), "valid/1.png": picture(3)},
    )
    best, layout = found(tmp_path)
    assert best.title == "The table _classes.csv lists the classes"
    assert told(layout) == {
        "train/1.png": ("cat", "train"),
        "train/2.png": ("dog", "train"),
        "valid/1.png": ("dog", "valid"),
    }


def test_other_json_is_left_alone(tmp_path):
    write(tmp_path, **{"a/1.png": picture(1), "b/2.png": picture(2), "package.json": '{"name": "x"}', "n.json": "[[[["})
    best, layout = found(tmp_path)
    assert best.choice.kind == "folders" and sorted(path for path, _ in layout.set_aside) == ["n.json", "package.json"]


# Hugging Face


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_imagefolder_with_metadata_in_each_split(tmp_path, form):
    rows = {"train": [("1.png", "cat"), ("2.png", "dog")], "test": [("1.png", "dog")]}
    for split, some in rows.items():
        table = "file_name,label\n" + "".join(f"{name},{label}\n" for name, label in some)
        lines = "".join(json.dumps({"file_name": name, "label": label, "box": [1, 2]}) + "\n" for name, label in some)
        write(tmp_path, **{f"{split}/metadata.{form}": table if form == "csv" else lines})
        write(
            tmp_path, **{f"{split}/{name}": picture(len(label) + number) for number, (name, label) in enumerate(some)}
        )
    assert told(found(tmp_path)[1]) == {
        "train/1.png": ("cat", "train"),
        "train/2.png": ("dog", "train"),
        "test/1.png": ("dog", "test"),
    }


def parquet(file: Path, labels: list[int], first: int = 0, **more: list) -> Path:
    """As `datasets` writes it, in row groups of two."""
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": picture(first + number), "path": f"{number}.png"} for number in range(len(labels))]
    table = pa.table({"image": images, "label": labels, **more})
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(about), file, row_group_size=2)
    return file


def test_a_parquet_file_gives_its_images_classes_and_groups(tmp_path):
    file = parquet(tmp_path / "pets.parquet", [0, 1, 1, 0, 1], patient=["a", "a", "b", "b", "c"])
    with closing(open_source(file)) as source:
        read = [source.read(entry) for entry in reversed(source.entries)]
    assert read == [picture(number) for number in reversed(range(5))]
    best, layout = found(file)
    assert best.title == "A column of the Parquet file tells the classes"
    assert [(item.label, item.group) for item in layout.placed] == [
        ("cat", "a"),
        ("dog", "a"),
        ("dog", "b"),
        ("cat", "b"),
        ("dog", "c"),
    ]


def test_shards_of_parquet_for_several_splits_become_one_data_set(tmp_path):
    folder = tmp_path / "pets"
    parquet(folder / "data" / "train-00000-of-00002.parquet", [0, 1, 0], 10)
    parquet(folder / "data" / "train-00001-of-00002.parquet", [1, 1], 20)
    parquet(folder / "data" / "validation-00000-of-00001.parquet", [0, 1], 30)
    write(folder, **{"README.md": "# Pets"})
    store = Store()
    version = add_dataset(store, folder, "pets")
    images = store.datasets.images(version.id)
    assert sorted((image.label, image.split) for image in images) == [
        *[("cat", "train")] * 2,
        ("cat", "valid"),
        *[("dog", "train")] * 3,
        ("dog", "valid"),
    ]


def test_parquet_that_holds_no_images_is_damaged_or_keeps_paths_only_is_told(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "text.parquet")
    with pytest.raises(DatasetError, match="no column of images; its columns are text, label"):
        open_source(tmp_path / "text.parquet")
    whole = parquet(tmp_path / "pets.parquet", [0, 1]).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"cut.parquet is a Parquet file that is damaged"):
        open_source(tmp_path / "cut.parquet")
    images = [{"bytes": None, "path": "/elsewhere/1.png"}, {"bytes": picture(), "path": None}]
    pq.write_table(pa.table({"image": images, "label": ["a", "b"]}), tmp_path / "paths.parquet")
    store = Store()
    version = add_dataset(store, tmp_path / "paths.parquet", "paths")
    assert [image.label for image in store.datasets.images(version.id)] == ["b"]


# WebDataset


def shard(file: Path, samples: dict[str, tuple[int, str, str]]) -> None:
    """A .tar with, for each key, a picture of that shade and a file of that suffix beside it."""
    with tarfile.open(file, "w") as archive:
        for key, (shade, suffix, content) in samples.items():
            for name, data in ((f"{key}.png", picture(shade)), (f"{key}.{suffix}", content.encode())):
                about = tarfile.TarInfo(name)
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))


def test_shards_of_webdataset_with_class_numbers_and_their_names(tmp_path):
    shard(tmp_path / "train-000000.tar", {"00": (1, "cls", "0"), "01": (2, "cls", "1")})
    shard(tmp_path / "train-000001.tar", {"00": (3, "cls", "1\n")})
    shard(tmp_path / "val-000000.tar", {"00": (4, "cls", "0")})
    write(tmp_path, **{"classnames.txt": "cat\ndog\n"})
    best, layout = found(tmp_path)
    assert best.title == "Files beside the images tell the classes"
    assert told(layout) == {
        "train-000000/00.png": ("cat", "train"),
        "train-000000/01.png": ("dog", "train"),
        "train-000001/00.png": ("dog", "train"),
        "val-000000/00.png": ("cat", "valid"),
    }
    assert layout.set_aside == []


def test_a_shard_of_webdataset_with_json_beside_each_image(tmp_path):
    shard(tmp_path / "s.tar", {"a": (1, "json", '{"label": "cat", "id": 7}'), "b": (2, "json", '{"label": "dog"}')})
    assert told(found(tmp_path / "s.tar")[1]) == {"a.png": ("cat", ""), "b.png": ("dog", "")}

"""Which class and split each file belongs to, from its path alone. Touches no disk."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from learner.datasets.names import label_of, natural_key, plural
from learner.datasets.sources import describe_kinds
from learner.errors import DatasetError
from learner.images import IMAGE_SUFFIXES

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
"""Folder names, in lower case, that say which split their images belong to."""

EXPECTED = (
    "Put the images of each class into one folder named after the class (photos/cats/1.jpg, photos/dogs/2.jpg), "
    "or make the folders train and valid, and test if you like, each with one folder a class inside "
    "(photos/train/cats/1.jpg, photos/valid/cats/2.jpg), and import it again."
)


@dataclass(frozen=True)
class Placed:
    """An image whose class is known."""

    source_path: str
    """As the source lists it."""
    path: str
    """The same, from the folder that holds the class or split folders."""
    label: str
    split: str
    """`train`, `valid`, `test`, or empty."""
    group: str = ""
    weight: float | None = None


@dataclass
class Layout:
    """What was found; every path of the source is in `placed` or in `set_aside`."""

    placed: list[Placed] = field(default_factory=list)
    """In natural order of their paths."""
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason)."""


def find_layout(paths: list[str], source_name: str) -> Layout:
    """Read `paths` (relative, parted by `/`) as one folder a class, or as train and valid folders of those.

    Folders that hold only one other folder are looked through. Raises DatasetError, with what was found and what is
    expected, when the paths are neither.
    """
    layout = Layout()
    images: list[tuple[str, ...]] = []
    for path in paths:
        if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES:
            images.append(tuple(path.split("/")))
        else:
            layout.set_aside.append((path, _not_an_image(path)))
    if not images:
        found = describe_kinds(paths) if paths else "nothing"
        raise DatasetError(f"{source_name} holds no images: {found} found. {EXPECTED}")

    depth = _depth_of_top(images)
    top = "".join(f"{part}/" for part in images[0][:depth])
    layout.set_aside = [(path.removeprefix(top), reason) for path, reason in layout.set_aside]
    inside = sorted((parts[depth:] for parts in images), key=lambda parts: natural_key("/".join(parts)))
    splits = _split_folders(inside)
    if splits and "train" not in splits.values():
        raise DatasetError(
            f"{source_name} has {_listed(splits)} but no train folder, so there is nothing to learn from. {EXPECTED}"
        )
    if splits:
        _place_in_splits(inside, splits, top, layout)
    else:
        _place_in_classes(inside, top, layout)
    if not layout.placed:
        raise DatasetError(f"{source_name} has no class folders: {_describe(inside)}. {EXPECTED}")
    return layout


def _depth_of_top(images: list[tuple[str, ...]]) -> int:
    """How many folders lie around the one that holds the class or split folders."""
    depth = 0
    while True:
        children = {parts[depth] for parts in images}
        file_here = any(len(parts) == depth + 1 for parts in images)
        only_folder_is_flat = all(len(parts) == depth + 2 for parts in images)
        if file_here or len(children) > 1 or only_folder_is_flat:
            return depth
        depth += 1


def _split_folders(images: list[tuple[str, ...]]) -> dict[str, str]:
    """Folder name → split. A folder counts only when its images lie in folders: `train` may also be a class."""
    found = {parts[0]: SPLIT_FOLDERS[parts[0].lower()] for parts in images if _may_be_split(parts)}
    for split in set(found.values()):
        same = [name for name in found if found[name] == split]
        if len(same) > 1:
            raise DatasetError(f"The folders {_listed(same)} both mean {split}. Put their images into one of them.")
    return found


def _may_be_split(parts: tuple[str, ...]) -> bool:
    return len(parts) > 2 and parts[0].lower() in SPLIT_FOLDERS


def _place_in_splits(images: list[tuple[str, ...]], splits: dict[str, str], top: str, layout: Layout) -> None:
    only_training = set(splits.values()) == {"train"}
    if only_training:
        layout.notes.append(
            "It has a train folder and no valid folder; each recipe draws its validation images by seed."
        )
    for parts in images:
        path = "/".join(parts)
        if parts[0] not in splits:
            layout.set_aside.append((path, f"It lies beside the {_listed(splits)} folders, in none of them."))
        elif len(parts) == 2:
            layout.set_aside.append((path, f"It lies directly in {parts[0]}, so its class is not known."))
        elif len(parts) > 3:
            layout.set_aside.append((path, _too_deep(parts[1])))
        else:
            layout.placed.append(Placed(top + path, path, label_of(parts[1]), splits[parts[0]]))


def _place_in_classes(images: list[tuple[str, ...]], top: str, layout: Layout) -> None:
    for parts in images:
        path = "/".join(parts)
        if len(parts) == 1:
            layout.set_aside.append((path, "It lies beside the class folders, so its class is not known."))
        elif len(parts) > 2:
            layout.set_aside.append((path, _too_deep(parts[0])))
        else:
            layout.placed.append(Placed(top + path, path, label_of(parts[0]), ""))


def _too_deep(label: str) -> str:
    return f"It lies in a folder inside {label}. Move it up into the class folder."


def _not_an_image(path: str) -> str:
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in (".heic", ".heif"):
        return "HEIC photos cannot be read here. Export them as JPEG."
    if suffix in (".zip", ".7z", ".rar", ".tar", ".gz"):
        return "It is an archive inside the source. Unpack it first."
    return f"It is not an image file ({suffix or 'no suffix'})."


def _describe(images: list[tuple[str, ...]]) -> str:
    """Where the images lie instead of in class folders."""
    by_depth = defaultdict(list)
    for parts in images:
        by_depth[len(parts)].append("/".join(parts))
    return "; ".join(
        f"{plural(len(paths), 'image')} "
        + ("in no folder" if depth == 1 else f"{plural(depth - 1, 'folder')} deep")
        + f", such as {paths[0]}"
        for depth, paths in sorted(by_depth.items())
    )


def _listed(names) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} and {last}" if most else last

"""A zip as people have it, made of real handwriting: scikit-learn's digits, enlarged and laid on paper."""

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = {3: "three", 5: "five", 7: "seven", 8: "eight", 9: "nine"}
PHOTOS_EACH = 60
NEW_PHOTOS = 8
"""Of digits that are not in the zip, to ask the model about."""
SIDE = 160
COPIES, SMALLER, WRONG = 6, 6, 20
OTHER_SPELLING = "Seven "
TOP = "Digits of class 4b"
SEED = 4


@dataclass
class Mess:
    """What was made, and which files are under a wrong class."""

    archive: Path
    wrong: dict[str, str] = field(default_factory=dict)
    """By the path inside the zip, what the photo shows."""
    new: list[Path] = field(default_factory=list)


def make(folder: Path) -> Mess:
    """Write the zip and a few new photos into `folder`; the same files each time."""
    from sklearn.datasets import load_digits

    digits, random = load_digits(), np.random.default_rng(SEED)
    files: dict[str, bytes] = {}
    new: list[tuple[str, bytes]] = []
    number = 2040
    for digit, name in CLASSES.items():
        drawings = digits.images[digits.target == digit][: PHOTOS_EACH + NEW_PHOTOS]
        for index, drawing in enumerate(drawings):
            number += 1
            photo = on_paper(drawing, random)
            if index >= PHOTOS_EACH:
                new.append((f"{name} {number}.jpg", as_jpeg(photo)))
                continue
            label = OTHER_SPELLING if name == "seven" and index % 4 == 3 else name
            files[f"{label}/IMG_{number}.jpg"] = as_jpeg(photo)
    wrong = mislabel(files, random)
    copy(files, random)
    files["three/IMG_2399.jpg"] = next(iter(files.values()))[:900]  # cut off while it was copied
    files["notes.txt"] = b"Collected on Monday. Some may lie in the wrong folder."
    archive = folder / f"{TOP}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path, content in files.items():
            packed.writestr(zipfile.ZipInfo(f"{TOP}/{path}", (2026, 3, 2, 9, 0, 0)), content)
        for path in list(files)[:3]:  # what a Mac adds to every zip
            place, _, name = path.rpartition("/")
            packed.writestr(f"__MACOSX/{TOP}/{place}/._{name}", b"\0\5\x16\7")
    mess = Mess(archive, wrong)
    for name, content in new:
        mess.new.append(folder / name)
        mess.new[-1].write_bytes(content)
    return mess


def on_paper(drawing: np.ndarray, random: np.random.Generator) -> Image.Image:
    """A drawing of 8 × 8 grey levels as ink on a sheet that somebody photographed in the light of a window."""
    ink = Image.fromarray((np.pad(drawing, 1) * (255 / 16)).astype("uint8"))
    sheet = Image.new("L", (SIDE, SIDE))
    sheet.paste(ink.resize((130, 130), Image.Resampling.BICUBIC), (15, 15))
    sheet = sheet.rotate(random.uniform(-9, 9), Image.Resampling.BICUBIC, translate=tuple(random.integers(-9, 10, 2)))
    covered = 1 / (1 + np.exp(-(np.asarray(sheet, dtype=float) - 105) / 14))[..., None]
    across, down = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    light = random.uniform(0.78, 0.96) + across * random.uniform(-0.1, 0.1) + down * random.uniform(-0.1, 0.1)
    paper = np.array([250, 246, 236]) * light[..., None]
    pen = np.array([[38, 44, 92], [40, 40, 46], [96, 40, 44]][random.integers(3)])
    photo = paper * (1 - covered) + pen * covered + random.normal(0, 5, (SIDE, SIDE, 1))
    return Image.fromarray(photo.clip(0, 255).astype("uint8"))


def mislabel(files: dict[str, bytes], random: np.random.Generator) -> dict[str, str]:
    """Put some photos into another class's folder; returns what they show, by the path that they have then."""
    wrong, names = {}, list(CLASSES.values())
    for path in random.choice(sorted(files), WRONG, replace=False):
        label, _, name = str(path).partition("/")
        shows = label.strip().lower()
        other = str(random.choice([one for one in names if one != shows]))
        files[f"{other}/{name}"] = files.pop(str(path))
        wrong[f"{other}/{name}"] = shows
    return wrong


def copy(files: dict[str, bytes], random: np.random.Generator) -> None:
    """Exact copies, and smaller ones as messengers send them."""
    originals = [str(path) for path in random.choice(sorted(files), COPIES + SMALLER, replace=False)]
    for path in originals[:COPIES]:
        files[path.replace(".jpg", " (1).jpg")] = files[path]
    for path in originals[COPIES:]:
        with Image.open(io.BytesIO(files[path])) as photo:
            files[path.replace(".jpg", "-small.jpg")] = as_jpeg(photo.resize((SIDE * 5 // 8,) * 2), 70)


def as_jpeg(photo: Image.Image, quality: int = 90) -> bytes:
    """The bytes of a JPEG file."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()

"""The checks that compare rows and measurements: no file is opened, and 25,000 images take a moment."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from sqlalchemy import select

from learner.datasets.checks.finding import Finding, Remedy
from learner.datasets.editing import BY_HAND, Edit
from learner.datasets.exclusions import ImageRow
from learner.datasets.names import alike_names, joined, natural_key, plural
from learner.store import Content, Image, Store, VersionInfo

DARK, BRIGHT, FLAT, BLURRED = 40.0, 225.0, 4.0, 8.0
"""Mean grey level, mean grey level, contrast and sharpness (see `store.Content`) beyond which an image is doubtful;
it must also differ clearly from what is usual in its data set, since some data sets are dark or smooth throughout."""
TINY_SIDE = 64
"""Pixels of the longest side below which an image is tiny, where the others are at least twice as large."""
ODD_ASPECT = 3.0
FEW = 10
"""Images of a class below which its accuracy says little."""
IMBALANCE = 3.0
"""Images of the largest class over those of the smallest."""
MOST, FEWEST = 0.95, 0.1
"""A class is all of one kind from the first share on; the others are not where they have at most the second."""
BELONGS_TO_NONE = "It belongs to no class."


@dataclass(frozen=True)
class Measured:
    """What the checks need of `store.Content`."""

    num_bytes: int
    brightness: float
    contrast: float
    sharpness: float
    camera: str


@dataclass(frozen=True)
class Facts:
    """All that is known about a version, whatever edits are made to it."""

    measured: Mapping[str, Measured] = field(default_factory=dict)
    """By sha256."""
    set_aside: Sequence[tuple[str, str]] = ()
    """(path, reason) of files that were not taken in."""


def facts_of(store: Store, version: VersionInfo) -> Facts:
    """Read once a version; small enough to be kept while a person works on it (25,000 images: about 10 MB)."""
    columns = (Content.num_bytes, Content.brightness, Content.contrast, Content.sharpness, Content.camera)
    query = select(Content.sha256, *columns).where(
        Content.sha256.in_(select(Image.sha256).where(Image.version_id == version.id))
    )
    with store.datasets.session() as session:
        measured = {
            sha256: Measured(num_bytes, brightness, contrast, sharpness, camera)
            for sha256, num_bytes, brightness, contrast, sharpness, camera in session.execute(query)
        }
    return Facts(measured, [(row.path, row.reason) for row in store.datasets.set_aside(version.id)])


def find(rows: Sequence[ImageRow], facts: Facts) -> list[Finding]:
    """Every finding in `rows`, the serious ones first."""
    used = [row for row in rows if not row.excluded]
    findings = [
        *_without_class(rows),
        *_exact(rows),
        *_near(used, facts),
        *_similar_names(used),
        *_few(used),
        *_shortcuts(used, facts),
        *_by_measure(used, facts),
        *_by_size(used),
        *_imbalance(used),
        *_not_taken(facts),
    ]
    return sorted(findings, key=lambda finding: not finding.serious)


def _aside(paths: Iterable[str], reason: str, noun: str = "image") -> Remedy | None:
    paths = tuple(paths)
    if not paths:
        return None
    return Remedy(f"Set {_these(len(paths), noun)} aside", (Edit("exclude", paths, to=reason),))


def _these(number: int, noun: str) -> str:
    return f"this {noun}" if number == 1 else f"these {number:,} {noun}s"


def _one(paths: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple((path,) for path in paths)


def _is_are(number: int, what: str) -> str:
    return f"{plural(number, 'image')} {'is' if number == 1 else 'are'} {what}"


def _without_class(rows: Sequence[ImageRow]) -> list[Finding]:
    used = {row.sha256 for row in rows if not row.excluded}
    waiting = [
        row.path
        for row in rows
        if not row.label and row.reason not in (BELONGS_TO_NONE, BY_HAND) and row.sha256 not in used
    ]
    if not waiting:
        return []
    title = f"{plural(len(waiting), 'image')} {'belongs' if len(waiting) == 1 else 'belong'} to no class"
    why = "They are used for nothing until somebody says what they show. Choose some and give them a class."
    return [Finding("no_class", title, why, False, _one(waiting), _aside(waiting, BELONGS_TO_NONE))]


def _exact(rows: Sequence[ImageRow]) -> list[Finding]:
    same: dict[str, list[ImageRow]] = defaultdict(list)
    for row in rows:
        same[row.sha256].append(row)
    copies = [group for group in same.values() if len(group) > 1]
    contrary = [group for group in copies if len({row.label for row in group if row.label}) > 1]
    findings = []
    open_ = [group for group in contrary if sum(not row.excluded for row in group) != 1]
    if open_:
        paths = tuple(tuple(row.path for row in group) for group in open_)
        used = [row.path for group in open_ for row in group if not row.excluded]
        title = f"{plural(len(open_), 'image is', 'images are')} in several classes at once"
        why = (
            "The very same file stands under different classes, so one of them is wrong. All copies are set aside; "
            "take back the one that is right."
            if not used
            else "The very same file is used under different classes, so one of them is wrong."
        )
        notes = tuple((row.path, row.label) for group in open_ for row in group)
        reason = "The same image is also in another class."
        findings.append(Finding("contradiction", title, why, bool(used), paths, _aside(used, reason, "copy"), notes))
    agreeing = [group for group in copies if group not in contrary]
    extra = [row.path for group in agreeing for row in _but_best([row for row in group if not row.excluded])]
    if extra:
        groups = tuple(tuple(row.path for row in group if not row.excluded) for group in agreeing)
        groups = tuple(group for group in groups if len(group) > 1)
        why = "The same file is here more than once. Copies teach nothing, and on both sides of a split they flatter."
        title = f"{plural(len(extra), 'exact copy', 'exact copies')}"
        remedy = Remedy(f"Set {plural(len(extra), 'copy', 'copies')} aside", (Edit("exclude", tuple(extra), to=COPY),))
        findings.append(Finding("exact", title, why, True, groups, remedy))
    done = [row.path for group in agreeing for row in group if row.excluded and len(group) > 1]
    if done:
        title = f"{plural(len(done), 'exact copy was', 'exact copies were')} set aside already"
        why = "The same file came in more than once; one of each is used. There is nothing to do."
        groups = tuple(tuple(row.path for row in group) for group in agreeing if any(row.excluded for row in group))
        findings.append(Finding("exact_done", title, why, False, groups))
    return findings


COPY = "A copy of another image."
NEAR_COPY = "Nearly the same as another image."


def _but_best(group: list[ImageRow], facts: Facts | None = None) -> list[ImageRow]:
    """All but the one to keep: from the test set before valid before train, then the largest, then the sharpest."""
    order = ("test", "valid", "train", "")

    def rank(row: ImageRow) -> tuple:
        measured = facts.measured.get(row.sha256) if facts else None
        sharpness = measured.sharpness if measured else 0.0
        return order.index(row.split), -row.width * row.height, -sharpness, natural_key(row.path)

    return sorted(group, key=rank)[1:]


def _near(used: Sequence[ImageRow], facts: Facts) -> list[Finding]:
    clusters: dict[str, list[ImageRow]] = defaultdict(list)
    for row in used:
        if row.cluster:
            clusters[row.cluster].append(row)
    near = [group for group in clusters.values() if len({row.sha256 for row in group}) > 1]
    findings = []
    labels = [group for group in near if len({row.label for row in group}) > 1]
    if labels:
        paths = [row.path for group in labels for row in group]
        title = f"{plural(len(labels), 'group')} of near duplicates with different classes"
        why = "These images are nearly the same, yet their classes differ: at least one of them is wrong."
        notes = tuple((row.path, row.label) for group in labels for row in group)
        remedy = _aside(paths, "Nearly the same image is also in another class.")
        findings.append(Finding("near_labels", title, why, True, _paths(labels), remedy, notes))
    across = [group for group in near if "train" in _sides(group) and len(_sides(group)) > 1]
    if across:
        learnt = [row.path for group in across for row in group if row.split in ("train", "")]
        title = f"{plural(len(across), 'group')} of near duplicates on both sides of the split"
        why = (
            "Images to learn from are nearly the same as images to check with, so the accuracy would flatter. Keep "
            "those that check."
        )
        notes = tuple((row.path, row.split or "train") for group in across for row in group)
        remedy = _aside(learnt, "Nearly the same image is used for checking.")
        findings.append(Finding("near_splits", title, why, True, _paths(across), remedy, notes))
    plain = [group for group in near if group not in labels and group not in across]
    if plain:
        extra = [row.path for group in plain for row in _but_best(group, facts)]
        title = f"{plural(len(extra), 'near duplicate')} in {plural(len(plain), 'group')}"
        why = (
            "One photo saved twice, resized or barely moved. The split keeps each group on one side, so the accuracy "
            "is honest either way; without them training is a little quicker."
        )
        remedy = _aside(extra, NEAR_COPY)
        findings.append(Finding("near", title, why, False, _paths(plain), remedy))
    return findings


def _sides(group: Sequence[ImageRow]) -> set[str]:
    """The sides that are certain: undecided images are learnt from where the others are for checking."""
    fixed = {row.split for row in group}
    return {split or "train" for split in fixed} if fixed & {"valid", "test"} else {"train"}


def _paths(groups: Iterable[Sequence[ImageRow]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row.path for row in group) for group in groups)


def _similar_names(used: Sequence[ImageRow]) -> list[Finding]:
    counts = Counter(row.label for row in used)
    findings = []
    for names in alike_names(counts):
        most = max(names, key=lambda name: (counts[name], name))
        others = tuple(name for name in names if name != most)
        title = f"{joined(sorted(names, key=natural_key))} look like one class"
        why = "Their names differ only in case or spaces. If they mean the same, merge them."
        remedy = Remedy(f"Merge into {most}", (Edit("rename", classes=others, to=most),))
        findings.append(Finding("names", title, why, False, (), remedy))
    return findings


def _few(used: Sequence[ImageRow]) -> list[Finding]:
    counts = Counter(row.label for row in used)
    small = sorted((label for label in counts if counts[label] < FEW), key=natural_key)
    if not small:
        return []
    paths = tuple(row.path for row in used if row.label in small)
    told = ", ".join(f"{label} {counts[label]}" for label in small[:12]) + (" …" if len(small) > 12 else "")
    title = f"{plural(len(small), 'class', 'classes')} with fewer than {FEW} images"
    why = f"{told}. Their accuracy will say little: add photos, merge them into others, or set them aside."
    return [Finding("few", title, why, False, _one(paths), _aside(paths, "Its class has too few images."))]


def _imbalance(used: Sequence[ImageRow]) -> list[Finding]:
    counts = Counter(row.label for row in used)
    if len(counts) < 2 or max(counts.values()) < IMBALANCE * min(counts.values()):
        return []
    weights = class_weights(counts)
    ordered = sorted(counts, key=lambda label: -counts[label])
    told = [*ordered[:3], *ordered[-3:]] if len(ordered) > 6 else ordered
    figures = ", ".join(f"{label} {weights[label]:.2f}" for label in told)
    title = f"{ordered[0]} has {counts[ordered[0]] / counts[ordered[-1]]:.1f} times as many images as {ordered[-1]}"
    why = (
        "A network learns the large classes first, and accuracy hides how it does on the small ones. Balanced class "
        f"weights would count each image of a class so many times: {figures}."
    )
    return [Finding("imbalance", title, why, False)]


def class_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """Balanced weights: images ÷ (classes × images of the class), as scikit-learn's `class_weight="balanced"`."""
    total = sum(counts.values())
    return {label: total / (len(counts) * number) for label, number in counts.items()}


def _shortcuts(used: Sequence[ImageRow], facts: Facts) -> list[Finding]:
    kinds: list[tuple[str, Callable[[ImageRow], str]]] = [
        ("camera", lambda row: facts.measured[row.sha256].camera if row.sha256 in facts.measured else ""),
        ("size", lambda row: f"{row.width} × {row.height} px"),
        ("file format", lambda row: row.file.rpartition(".")[2].upper()),
    ]
    by_label: dict[str, list[ImageRow]] = defaultdict(list)
    for row in used:
        by_label[row.label].append(row)
    findings = []
    for kind, value_of in kinds:
        values = {label: Counter(map(value_of, rows)) for label, rows in by_label.items()}
        total = sum(values.values(), Counter())
        for label in sorted(values, key=natural_key):
            (value, number), size = values[label].most_common(1)[0], len(by_label[label])
            others = len(used) - size
            if not value or size < FEW or not others or number < MOST * size:
                continue
            elsewhere = total[value] - number
            if elsewhere > FEWEST * others:
                continue
            title = f"Nearly every {label} has the same {kind}: {value}"
            why = (
                f"{number:,} of {size:,}, but only {elsewhere:,} of {others:,} other images. The network may learn the "
                f"{kind} instead of what the photos show. Add photos of {label} with another {kind}."
            )
            paths = [row.path for row in by_label[label] if value_of(row) == value]
            findings.append(Finding("shortcut", title, why, True, _one(paths)))
    return findings


def _by_measure(used: Sequence[ImageRow], facts: Facts) -> list[Finding]:
    known = [(row, facts.measured[row.sha256]) for row in used if row.sha256 in facts.measured]
    if not known:
        return []
    light, focus = (median(getattr(m, name) for _, m in known) for name in ("brightness", "sharpness"))
    large = [(row, m) for row, m in known if max(row.width, row.height) >= TINY_SIDE]
    tests = [
        ("flat", known, lambda m: m.contrast < FLAT, "nearly one colour", "There is hardly anything to be seen."),
        (
            "dark",
            known,
            lambda m: m.contrast >= FLAT and m.brightness < min(DARK, light / 2),
            "very dark",
            "Perhaps little can be made out.",
        ),
        (
            "bright",
            known,
            lambda m: m.contrast >= FLAT and m.brightness > max(BRIGHT, light + 50),
            "very bright",
            "Perhaps they are overexposed.",
        ),
        (
            "blurred",
            large,
            lambda m: m.contrast >= FLAT and m.sharpness < min(BLURRED, 0.3 * focus),
            "blurred",
            "They are far less sharp than the others here.",
        ),
    ]
    findings = []
    for key, among, doubtful, what, why in tests:
        paths = [row.path for row, measured in among if doubtful(measured)]
        if paths:
            why = f"{why} Look at them, and set aside those that would only confuse."
            remedy = _aside(paths, f"It is {what}.")
            findings.append(Finding(key, _is_are(len(paths), what), why, False, _one(paths), remedy))
    return findings


def _by_size(used: Sequence[ImageRow]) -> list[Finding]:
    if not used:
        return []
    side = median(max(row.width, row.height) for row in used)
    aspect = median(row.width / row.height for row in used)
    tiny = [row for row in used if max(row.width, row.height) < min(TINY_SIDE, side / 2)]
    odd = [row for row in used if max(row.width / row.height / aspect, aspect * row.height / row.width) > ODD_ASPECT]
    sized = partial("{0.width} × {0.height} px".format)
    findings = []
    for key, rows, what, why in (
        ("tiny", tiny, "tiny", f"They are enlarged a lot to match the others (typically {side:.0f} px)."),
        ("aspect", odd, "far longer or taller than the others", "They are squeezed into a square for training."),
    ):
        if rows:
            paths = [row.path for row in rows]
            notes = tuple((row.path, sized(row)) for row in rows)
            remedy = _aside(paths, f"It is {what}.")
            findings.append(Finding(key, _is_are(len(rows), what), why, False, _one(paths), remedy, notes))
    return findings


def _not_taken(facts: Facts) -> list[Finding]:
    if not facts.set_aside:
        return []
    title = f"{plural(len(facts.set_aside), 'file')} could not be taken in"
    why = "Each is listed below with its reason. The originals are untouched: mend them and add them again."
    return [Finding("unreadable", title, why, False)]

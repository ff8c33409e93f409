"""What a network suspects of a version, on disk and as findings; `learner.advice.label_issues` finds it out."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from learner.atomic import read_json, write_json
from learner.datasets.checks.finding import Finding, Remedy
from learner.datasets.checks.quick import BELONGS_TO_NONE
from learner.datasets.editing import Edit
from learner.datasets.exclusions import ImageRow
from learner.datasets.names import dataset_folder, plural
from learner.wording import percent
from learner.workspace import Workspace


@dataclass(frozen=True)
class LabelIssues:
    """What `learner.advice.label_issues` found, about contents rather than rows, so that it outlives edits."""

    version: int
    backbone: str
    images: int
    accuracy: float
    """Share of the images whose class the others foretold, 0 to 1."""
    labels: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    """sha256 → (class that was doubted, class suggested, probability of the suggested one), most doubtful first."""
    outliers: dict[str, float] = field(default_factory=dict)
    """sha256 → likeness to its nearest neighbours, 0 to 1, least alike first."""
    confirmed: dict[str, str] = field(default_factory=dict)
    """sha256 → the class that a person found right, or found the image to belong to; it is doubted no more."""

    def save(self, workspace: Workspace, name: str) -> None:
        write_json(_file(workspace, name), asdict(self))

    @classmethod
    def load(cls, workspace: Workspace, name: str) -> "LabelIssues | None":
        """The newest of a data set; None where nobody has asked yet or the file is damaged."""
        try:
            content = read_json(_file(workspace, name))
            content["labels"] = {sha256: tuple(doubt) for sha256, doubt in content["labels"].items()}
            return cls(**content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def confirm(workspace: Workspace, name: str, rows: Iterable[ImageRow]) -> None:
    """A person looked at `rows` and found them right as they are: later checks do not doubt them either."""
    issues = LabelIssues.load(workspace, name)
    if issues:
        right = {row.sha256: row.label for row in rows}
        replace(issues, confirmed={**issues.confirmed, **right}).save(workspace, name)


def issue_findings(rows: Sequence[ImageRow], issues: LabelIssues) -> list[Finding]:
    """The findings that still hold for `rows`: a label that was changed or confirmed since is no longer doubted."""
    used = {row.sha256: row for row in rows if not row.excluded and issues.confirmed.get(row.sha256) != row.label}
    doubted = [
        (used[sha256], suggested, probability)
        for sha256, (label, suggested, probability) in issues.labels.items()
        if sha256 in used and used[sha256].label == label
    ]
    findings = []
    if doubted:
        paths, suggestions = zip(*((row.path, suggested) for row, suggested, _ in doubted), strict=True)
        number = len(doubted)
        findings.append(
            Finding(
                "wrong_label",
                f"{plural(number, 'label')} may be wrong",
                f"A quick model ({issues.backbone}) that had not seen these images expected another class; it was "
                f"right about {percent(issues.accuracy)} of all. Look at each: relabel what is wrong, and leave "
                "the rest.",
                True,
                tuple((row.path,) for row, _, _ in doubted),
                Remedy(
                    f"Relabel {'it' if number == 1 else f'all {number:,}'} as suggested",
                    (Edit("relabel", paths, each=suggestions),),
                ),
                tuple((row.path, f"{row.label} → {label} {percent(p)}") for row, label, p in doubted),
            )
        )
    strange = [used[sha256].path for sha256 in issues.outliers if sha256 in used]
    if strange:
        findings.append(
            Finding(
                "outlier",
                f"{plural(len(strange), 'image is', 'images are')} unlike anything else here",
                "They may belong to no class, or be the rare cases that matter most. Look at them.",
                False,
                tuple((path,) for path in strange),
                Remedy(
                    f"Set {'this image' if len(strange) == 1 else f'these {len(strange):,} images'} aside",
                    (Edit("exclude", tuple(strange), to=BELONGS_TO_NONE),),
                ),
            )
        )
    return findings


def _file(workspace: Workspace, name: str) -> Path:
    return dataset_folder(workspace, name) / "suspicions.json"  # no cache: what a person confirmed is in it

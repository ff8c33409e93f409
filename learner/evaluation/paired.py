"""Two runs on the same images: which photos the second got right that the first had wrong, and the other way round.

Needs no torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from learner.evaluation.intervals import Discordance
from learner.evaluation.results import sha256_of

if TYPE_CHECKING:
    import pandas as pd

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Paired:
    """Predictions of two runs for the images that both were checked on and that have the same label in both."""

    table: "pd.DataFrame"
    """A row an image: the second run's columns, and `predicted_before` and `probability_before` of the first."""
    relabelled: int
    """Images that both were checked on, but with another label: they prove nothing and are left out."""
    only_first: int
    only_second: int

    @property
    def fixed(self) -> "pd.DataFrame":
        """Rows that only the second has right, those first that the first was surest of."""
        return self._changed(now_right=True).sort_values("probability_before", ascending=False)

    @property
    def broken(self) -> "pd.DataFrame":
        """Rows that only the first has right, those first that the second is surest of."""
        return self._changed(now_right=False).sort_values("probability", ascending=False)

    @property
    def counts(self) -> Discordance:
        before, now = self._right()
        return Discordance(
            both=int((before & now).sum()),
            broken=int((before & ~now).sum()),
            fixed=int((~before & now).sum()),
            neither=int((~before & ~now).sum()),
        )

    def _right(self) -> tuple["pd.Series", "pd.Series"]:
        return self.table["predicted_before"] == self.table["label"], self.table["predicted"] == self.table["label"]

    def _changed(self, now_right: bool) -> "pd.DataFrame":
        before, now = self._right()
        return self.table[(before != now) & (now == now_right)]


def pair_predictions(first: "pd.DataFrame", second: "pd.DataFrame") -> Paired:
    """Match two runs' predictions (`learner.evaluation.results.load_predictions`) by the images' content."""
    before = first.assign(sha256=first["file"].map(sha256_of)).drop_duplicates("sha256")
    now = second.assign(sha256=second["file"].map(sha256_of)).drop_duplicates("sha256")
    seen = before[["sha256", "label", "predicted", "probability"]]
    both = now.merge(seen, on="sha256", suffixes=("", "_before"))
    same = both["label"] == both["label_before"]
    return Paired(
        table=both[same].reset_index(drop=True),
        relabelled=int((~same).sum()),
        only_first=len(before) - len(both),
        only_second=len(now) - len(both),
    )


def verdict(counts: Discordance, first: str, second: str, p_value: float | None = None) -> str:
    """What the data supports, in a sentence; `p_value` is one that was raised for there being several comparisons."""
    p = counts.p_value if p_value is None else p_value
    low, high = counts.interval
    if p < SIGNIFICANT and low > 0:
        return f"{second} beats {first}: so many more photos fixed than broken is hardly chance."
    if p < SIGNIFICANT and high < 0:
        return f"{first} beats {second}: so many more photos broken than fixed is hardly chance."
    return f"These photos do not show that either is better: the difference between {first} and {second} may be chance."

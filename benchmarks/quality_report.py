"""What quality.py says: a table a set, ranks over sets, and Thaw's differences to the others."""

from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np

from benchmarks.competitors import Competitor
from benchmarks.report import figure, share, table
from benchmarks.scores import Difference, hits, losses, mean_ranks, over_all, paired_difference
from benchmarks.sets import SETS
from benchmarks.trials import Trial

Trials = dict[str, dict[str, list[Trial]]]
"""By set and competitor, one a split."""


def by_set(trials: Sequence[Trial]) -> Trials:
    """Sets and competitors in the order they come in; splits by seed."""
    found: Trials = {}
    for trial in trials:
        found.setdefault(trial.set_name, {}).setdefault(trial.competitor, []).append(trial)
    for competitors in found.values():
        for some in competitors.values():
            some.sort(key=lambda trial: trial.seed)
    return found


def paragraphs(trials: Sequence[Trial], roster: Mapping[str, Competitor], how: str, reference: str | None) -> list[str]:
    """The section's text; `how` says what was held back, `reference` is the competitor that others differ from."""
    found = by_set(trials)
    names = [name for name in roster if any(name in competitors for competitors in found.values())]
    parts = [how, "\n".join(f"- *{roster[name].what}*: {roster[name].about}" for name in names)]
    for name, competitors in found.items():
        parts += [set_heading(name, next(iter(competitors.values()))), set_table(competitors, names, roster)]
    parts.append(
        "Each figure is the mean over the splits. *accuracy*, *log loss* (nats) and *calibration* (expected "
        "calibration error in 15 bins of equal width) are of the held-back images; *time* runs from the folder of "
        "images to the probabilities, starts of processes and all, when the trial was made."
    )
    parts += rank_paragraphs(found, names, roster)
    if reference in names:
        parts += difference_paragraphs(found, names, roster, reference)
    return parts


def set_heading(name: str, trials: Sequence[Trial]) -> str:
    first, splits = trials[0], len(trials)
    return (
        f"**{name}**: {SETS[name].what}; {first.learnt:,} images to learn from and {len(first.images):,} held back at "
        f"{first.decided_by['size']} px, {splits} split{'s' if splits > 1 else ''}."
    )


def set_table(competitors: Mapping[str, list[Trial]], names: Sequence[str], roster: Mapping[str, Competitor]) -> str:
    lines = []
    for name in (name for name in names if name in competitors):
        some = competitors[name]
        scored = [trial.scores for trial in some]
        lines.append(
            [
                roster[name].what,
                share(mean(one.accuracy for one in scored)),
                figure(mean(one.log_loss for one in scored), 3),
                figure(mean(one.calibration_error for one in scored), 3),
                figure(mean(trial.seconds for trial in some)),
            ]
        )
    return table(("", "accuracy", "log loss", "calibration", "time (s)"), lines)


def rank_paragraphs(found: Trials, names: Sequence[str], roster: Mapping[str, Competitor]) -> list[str]:
    """Over the sets that all competitors were judged on; nothing to say of one competitor."""
    whole = [competitors for competitors in found.values() if set(names) <= set(competitors)]
    if len(names) < 2 or not whole:
        return []
    means = [[[mean(getattr(trial.scores, key) for trial in competitors[name]) for name in names]
              for competitors in whole] for key in ("accuracy", "log_loss")]  # fmt: skip
    ranks = [mean_ranks([[-value for value in row] for row in means[0]]), mean_ranks(means[1])]
    lines = [[roster[name].what, *(figure(some[index], 2) for some in ranks)] for index, name in enumerate(names)]
    return [
        f"**Ranks**, 1 for the best, mean over {len(whole)} set{'s' if len(whole) > 1 else ''}:",
        table(("", "by accuracy", "by log loss"), lines),
    ]


def difference_paragraphs(
    found: Trials, names: Sequence[str], roster: Mapping[str, Competitor], reference: str
) -> list[str]:
    lines = []
    for other in (name for name in names if name != reference):
        both = {name: some for name, some in found.items() if {other, reference} <= set(some)}
        pairs = {name: differences(some[reference], some[other]) for name, some in both.items()}
        lines += [[roster[other].what, name, *cells(*pair)] for name, pair in pairs.items()]
        if len(pairs) > 1:
            accuracy, log_loss = (over_all(some) for some in zip(*pairs.values(), strict=True))
            lines.append([roster[other].what, f"all {len(pairs)} sets", *cells(accuracy, log_loss)])
    if not lines:
        return []
    return [
        f"**{roster[reference].what}, less each other one**, on the same images: more is better in accuracy (points), "
        "less in log loss.",
        table(("less", "set", "accuracy", "95 % interval", "log loss", "95 % interval"), lines),
        "The intervals are percentiles of 2,000 bootstrap resamples. What is drawn again are the held-back images (of "
        "cards, whole decks) pooled over splits, each with all its differences, as one image is held back in several "
        "splits. Student's interval over five splits would rest on four degrees of freedom and take splits that share "
        "images for independent. So they say what other images of the kind would change, and not what other seeds of "
        "training would beyond those that were run. *all sets*: the mean over sets, each counting the same.",
    ]


def differences(mine: Sequence[Trial], others: Sequence[Trial]) -> tuple[Difference, Difference]:
    """In accuracy and log loss, over the splits that both were judged on."""
    theirs = {trial.seed: trial for trial in others}
    pairs = [(trial, theirs[trial.seed]) for trial in mine if trial.seed in theirs]
    groups = [group for trial, _ in pairs for group in trial.groups]
    assert all(trial.images == other.images for trial, other in pairs)

    def difference(measure) -> Difference:
        each = [measure(a.prob_array, a.truth_index) - measure(b.prob_array, b.truth_index) for a, b in pairs]
        return paired_difference(np.concatenate(each), groups)

    return difference(hits), difference(losses)


def cells(accuracy: Difference, log_loss: Difference) -> list[str]:
    low, high = (f"{100 * value:+.1f}" for value in accuracy.interval())
    loss_low, loss_high = (f"{value:+.3f}" for value in log_loss.interval())
    return [f"{100 * accuracy.mean:+.1f}", f"{low} to {high}", f"{log_loss.mean:+.3f}", f"{loss_low} to {loss_high}"]

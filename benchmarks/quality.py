"""How well Thaw learns by itself, beside what a person could use instead, on small sets of real images.

Each competitor begins with the same VGG16 weights and learns from the same three quarters of a set; the quarter that is
held back, by class and by group, judges it and is never given to it with labels. Five splits a set. Hours for all of
it: --keep lets it go on where it stopped, and takes up new competitors. Prints tables.

python benchmarks/quality.py [--sets landscapes cards] [--splits 5] [--competitors logistic thaw] [--recipe default]
                             [--keep FOLDER] [--inner] [--weights FILE] [--write]
"""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import environments, sets, trials
from benchmarks.competitors import Competitor, roster
from benchmarks.home import Home, vgg16_weights
from benchmarks.quality_report import paragraphs
from benchmarks.report import BenchmarkError, figure, parser, publish, share
from benchmarks.sets.splits import split

REFERENCE = ("thaw", "thaw_default_before")
"""Whose differences to the others are told: the first of these that takes part."""


def main() -> None:
    options = arguments()
    everyone = roster(options.recipe)
    done, failed = [], []
    with Home() as scratch:
        weights, origin = vgg16_weights(options.weights, scratch.folder)
        chosen, left_out = available({name: everyone[name] for name in everyone if name in options.competitors})
        for exercise in exercises(options):
            for name, competitor in chosen.items():
                what = f"{exercise.set_name}, split {exercise.seed}, {name}"
                try:
                    trial = kept_or_run(exercise, name, competitor, weights, options)
                except BenchmarkError as error:  # the others took long, and are worth seeing
                    print(f"{what}: {error}", file=sys.stderr, flush=True)
                    failed.append(what)
                    continue
                done.append(trial)
                told = f"{share(trial.scores.accuracy)}, log loss {figure(trial.scores.log_loss, 3)}"
                print(f"{what}: {told}, {figure(trial.seconds)} s", file=sys.stderr, flush=True)
    if done:
        reference = next((name for name in REFERENCE if name in chosen), None)
        text = paragraphs(done, everyone, how(options, origin), reference)
        publish("quality", "Learning by itself", [*text, *left_out], options.write and not failed)
    if failed:
        raise BenchmarkError(f"These failed, and say why above: {'; '.join(failed)}. Nothing was written.")


def exercises(options: Namespace) -> list[trials.Exercise]:
    """Every set's first split, then their second ones, and so on; sets are made where they are missing."""
    found = []
    photos_of = {name: sets.photos(name, options.images) for name in options.sets}
    for seed in range(options.splits):
        for name, photos in photos_of.items():
            used = sets.SETS[name]
            size = options.size or used.size
            parts = split(photos, seed, options.inner)
            found.append(trials.Exercise(name, photos, size, used.mirror, seed, options.inner, parts))
    return found


def available(chosen: Mapping[str, Competitor]) -> tuple[dict[str, Competitor], list[str]]:
    """The competitors whose environments are there or can be made, and a sentence for each of the others."""
    able, sentences = {}, []
    for name, competitor in chosen.items():
        try:
            if competitor.environment:
                environments.python_of(competitor.environment)
            able[name] = competitor
        except BenchmarkError as error:
            sentences.append(f"{competitor.what} was left out. {error}")
            print(sentences[-1], file=sys.stderr, flush=True)
    if not able:
        raise BenchmarkError("No competitor is left.")
    return able, sentences


def kept_or_run(
    exercise: trials.Exercise, name: str, competitor: Competitor, weights: Path | None, options: Namespace
) -> trials.Trial:
    keep = trials.Keep(options.keep, options.any_code) if options.keep else None
    decided = trials.decided_by(exercise, name, competitor, weights)
    found = keep.find(decided, competitor.code) if keep else None
    if found:
        return found
    trial = trials.run(exercise, name, competitor, weights)
    if keep:
        keep.save(trial)
    return trial


def how(options: Namespace, origin: str) -> str:
    judged = (
        "The held-back quarter is left alone: of the other three, a quarter judges, by class and by whole groups, "
        "drawn anew for each split."
        if options.inner
        else "A quarter of each set, by class and by whole groups, is held back anew for each split and judges; no "
        "competitor sees its labels, and nothing is chosen by it."
    )
    return (
        f"{judged} Sets of more than {options.images:,} images are cut to so many, drawn by their content. Every "
        f"competitor begins with VGG16 (weights: {origin}), sees images of the set's size in batches of 16, and is "
        "told nothing of groups; fastai and Keras are told whether mirror images keep their class."
    )


def arguments() -> Namespace:
    made = parser(__doc__)
    every = list(roster())
    made.add_argument("--sets", nargs="+", default=list(sets.SETS), choices=list(sets.SETS), help="default: all")
    made.add_argument("--splits", type=int, default=5, help="how many splits of each set; default: 5")
    made.add_argument("--competitors", nargs="+", default=every, choices=every, help="default: all")
    made.add_argument("--recipe", default="default", help="of `thaw`: a shipped recipe's name or a file")
    made.add_argument("--keep", type=Path, help="a folder of results; those that are in it are not computed again")
    made.add_argument(
        "--any-code", action="store_true", help="take kept results of Thaw even where its code has changed since"
    )
    made.add_argument(
        "--inner", action="store_true", help="for decisions: judge by a quarter of the images to learn from instead"
    )
    made.add_argument("--images", type=int, default=sets.MOST_IMAGES, help="of a set at most; default: %(default)s")
    made.add_argument("--size", type=int, help="pixels of an image's side, for a quick look; default: the set's own")
    made.add_argument("--weights", type=Path, help="VGG16 as safetensors with timm's names; default: what Thaw finds")
    options = made.parse_args()
    if options.splits < 1 or options.images < 1:
        made.error("--splits and --images are 1 or more")
    if options.write and options.inner:
        made.error("--inner is for decisions: what is written was judged by the held-back quarter")
    return options


if __name__ == "__main__":
    main()

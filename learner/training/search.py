"""The search of a run with a time budget: try what its recipe leaves open, and choose.

Frozen features come first, since they are cheap: backbones, image sizes and random changes are held against each other
by the log loss of training images that were left out of the fit. Then, while there is time, short trials of thawing.
Whatever is chosen is trained after that as any recipe is; no validation image is looked at before.
Optuna suggests what to try and keeps the journal, in the store; a search that was killed goes on from there.
"""

import logging
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import optuna
from optuna.storages.journal import JournalStorage
from optuna.trial import TrialState

from learner.datasets import dataset_folder, split_by, summarize
from learner.models.weights import backbones_at_hand, choose_backbone
from learner.planning.cost import plan_run
from learner.recipe import SOLVABLE, Augment, Head, Phase, Recipe, choose_image_size
from learner.store import Run, Store
from learner.training.prepare import Images, drawn
from learner.training.progress import REPORT_EVERY_S, ProgressReporter, StopAsked
from learner.training.search_journal import (
    Journal,
    Setting,
    augment_of,
    best_of,
    error_of,
    figures_of,
    gain_of,
)
from learner.training.search_trials import Bench, Checked, OutOfTime
from learner.wording import count, duration

log = logging.getLogger(__name__)

SHARE_OF_FEATURES = 0.5
"""Of the budget at most, for all trials on frozen features but the first."""
MEASURING_S = 8.0
"""What it takes to build another network and to measure this machine with it."""
AT_THE_END_S, PASSES_AT_THE_END = 12.0, 3
"""The end of a run takes about so long, and so many passes over the validation images besides."""
SLACK = 1.25
"""Times what is expected that has to fit into the time: measurements are short, and machines do other things, too."""
FIRST_RUNG, MOST_IMAGES = 300, 1000
"""Training images that a trial begins with, and that it has at most."""
BEHIND = 2.0
"""Standard errors of the difference by which a trial may be behind the best after the first rung, to go on."""
LARGER = 1.43
"""Of image sizes, the next one is about so much larger: twice the pixels."""
VIEWS = 2
"""Changed copies of an image."""
RATES = (3e-6, 1e-4)
"""Between which the rate of stages that thaw is tried; the head's is `HEAD_FACTOR` times as high."""
HEAD_FACTOR = 10
FIRST_THAWS = ((1, 1e-5), (1, 3e-5), (2, 1e-5))
"""How many stages and at which rate, before Optuna suggests others; if none of these helps, none is expected to."""
MOST_THAWS = 5
THAW_FIGURES = ("gain", "gain_interval", "accuracy_gain", "accuracy_gain_interval", "images", "point")
"""Of what `Interpolate` finds, those that a trial's row keeps."""
SOLVE = Phase("Solve the head", solve=True)


def choose_recipe(store: Store, run: Run, progression: ProgressReporter) -> Recipe:
    """Choose within the run's budget, write down what was tried and why, and make the choice the run's recipe.

    Raises StopAsked when asked to stop or to pause, and what `learner.training.prepare.prepare` raises.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return _Search(store, run, progression).choose()


class _Search:
    def __init__(self, store: Store, run: Run, progression: ProgressReporter):
        self.store, self.run, self.progression = store, run, progression
        self.asked = Recipe.from_dict(run.recipe)
        version = store.datasets.version_by_id(run.dataset_version_id)
        summary = summarize(store, version)
        self.classes, self.typical_side = summary.classes, max(summary.median_width, summary.median_height)
        train, valid = split_by(self.asked, store.datasets.images(version.id))
        self.images = Images(dataset_folder(store.workspace, version.name), train, valid, [])
        self.version = version.number
        self.storage = JournalStorage(Journal(store, run.id))
        found = run.facts.get("search", {})
        self.rows: list[dict[str, Any]] = found.get("trials", [])
        self.reasons: list[str] = []
        # What passed while nothing ran does not count.
        waited = store.runs.seconds_since_start(run.id)
        self._began = time.monotonic() - found.get("spent_s", waited)
        self._told_at = 0.0
        self._bench: tuple[tuple[str, int], Bench] | None = None
        self._augment: Augment | None = None
        self._label = ""
        self._head = self.asked.head if self.asked.head.kind in SOLVABLE else Head(kind="multiscale")

    # Time

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def left_s(self) -> float:
        return self.asked.budget - self.spent_s

    def tell(self, what: str) -> None:
        """Say what is done, at most every `REPORT_EVERY_S`. Raises StopAsked."""
        if time.monotonic() - self._told_at >= REPORT_EVERY_S:
            self._told_at = time.monotonic()
            done = min(1.0, self.spent_s / self.asked.budget)
            self.progression.say(f"Trying {self._label}: {what}", done, max(0.0, self.left_s))
        if self.progression.asked:
            raise StopAsked

    # All of it

    def choose(self) -> Recipe:
        setting, strength = self._choose_features()
        recipe = self._recipe(setting, [SOLVE])
        phases = self._choose_thawing(setting, recipe, strength)
        recipe = replace(self._recipe(setting, phases), budget=0)
        self._note()
        self.store.runs.decide_recipe(self.run.id, recipe.to_dict())
        log.info("Chosen after %.0f s: %s", self.spent_s, " ".join(self.reasons))
        return recipe

    def _recipe(self, setting: Setting, phases: list[Phase]) -> Recipe:
        augment = self.asked.augment
        if augment.auto:
            augment = (self._augment or Augment()) if setting.changes else Augment()
        views = VIEWS if self.asked.augment.auto else self.asked.views
        return replace(
            self.asked,
            version=self.version,
            backbone=setting.backbone,
            image_size=setting.image_size,
            head=self._head,
            augment=augment,
            views=views,
            phases=phases,
        )

    def _note(self, row: dict[str, Any] | None = None) -> None:
        if row is not None:
            self.rows.append({"number": len(self.rows) + 1} | row)
        found = {"budget_s": self.asked.budget, "spent_s": self.spent_s, "trials": self.rows, "reasons": self.reasons}
        self.store.runs.add_facts(self.run.id, search=found)

    def _study(self, name: str) -> tuple[optuna.Study, bool]:
        """The study of that name, and whether it is new. A trial that a kill cut off is to be done again."""
        study = optuna.create_study(
            storage=self.storage,
            study_name=name,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=self.asked.seed),
        )
        is_new = not study.trials
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)
        return study, is_new

    # Frozen features

    def _choose_features(self) -> tuple[Setting, float]:
        """The setting whose head does best on images that it was not fitted on, and its strength of regularisation."""
        study, is_new = self._study("frozen features")
        if is_new:
            for setting in self._settings():
                study.enqueue_trial(asdict(setting))
        self._augment = augment_of(study)
        self._try_settings(study)
        best, _ = best_of(study)
        changed = replace(best, changes=True)
        if self.asked.augment.auto and not any(trial.params == asdict(changed) for trial in study.trials):
            study.enqueue_trial(asdict(changed))
        self._try_settings(study)
        best, checked = best_of(study)
        if reason := study.user_attrs.get("augment_reason"):
            self.reasons.append(reason)
        tried = len(study.get_trials(states=(TrialState.COMPLETE,)))
        self.reasons.append(
            f"{best.words}: of {count(tried, 'setting')} of frozen features, none that costs more has a log loss "
            f"lower by more than chance. It is {checked.losses.mean():.3f}, on {count(len(checked.losses), 'image')} "
            "that the head was not fitted on."
        )
        return best, checked.strength

    def _settings(self) -> list[Setting]:
        """What is tried first, the usual before all others."""
        asked = self.asked
        if asked.backbone != "auto":
            backbones = [asked.backbone]
        else:
            usual, _ = choose_backbone("auto", asked.weights, self.store.workspace)
            others = backbones_at_hand(self.store.workspace) if asked.weights == "auto" else []
            backbones = [usual, *(arch for arch in others if arch != usual)]
        sizes = [choose_image_size(asked.image_size, self.typical_side)]
        if asked.image_size == "auto":
            sizes.append(round(LARGER * sizes[0] / 32) * 32)
        changes = not asked.augment.auto and asked.augment.changes_anything
        places = [(backbones[0], size) for size in sizes] + [(arch, sizes[0]) for arch in backbones[1:]]
        return [Setting(arch, size, changes) for arch, size in places]

    def _try_settings(self, study: optuna.Study) -> None:
        """Try all that wait in the study."""
        settings = [asdict(setting) for setting in self._settings()]
        choices: dict[str, list[Any]] = {name: sorted({one[name] for one in settings}) for name in settings[0]}
        choices["changes"] = [False, True]
        while study.get_trials(states=(TrialState.WAITING,)):
            trial = study.ask()
            setting = Setting(**{name: trial.suggest_categorical(name, among) for name, among in choices.items()})
            self._label = setting.words
            done = study.get_trials(states=(TrialState.COMPLETE,))
            row: dict[str, Any] = {"kind": "features", "what": setting.words}
            if done and self._is_too_long(setting, best_of(study)[0]):
                study.tell(trial, state=TrialState.PRUNED)
                self._note(row | {"state": "left out", "note": "There was no time for it."})
                continue
            began = time.monotonic()
            bench = self._bench_for(setting)
            if setting.changes and self.asked.augment.auto and self._augment is None:
                decided = bench.decide_augment()
                self._augment = decided.augment
                study.set_user_attr("augment", asdict(decided.augment))
                study.set_user_attr("augment_reason", decided.reason)
            checked = self._check(bench, setting, study, trial)
            seconds = time.monotonic() - began
            if checked is None:
                study.tell(trial, state=TrialState.PRUNED)
                self._note(row | {"state": "ended early", "note": "It was clearly behind.", "seconds": seconds})
                continue
            for name, values in (("losses", checked.losses.tolist()), ("hits", checked.hits.tolist())):
                trial.set_user_attr(name, values)
            trial.set_user_attr("strength", checked.strength)
            study.tell(trial, float(checked.losses.mean()))
            self._note(row | figures_of(checked) | {"state": "done", "note": "", "seconds": seconds})

    def _check(self, bench: Bench, setting: Setting, study: optuna.Study, trial: optuna.Trial) -> Checked | None:
        """A setting's head on the images; None where it was clearly behind on the first of them."""
        recipe = self._recipe(setting, [SOLVE])
        images = drawn(self.images.train, MOST_IMAGES)
        if len(images) > FIRST_RUNG:
            first = bench.check_head(recipe, drawn(images, FIRST_RUNG))
            trial.set_user_attr("first", first.losses.tolist())
            done = study.get_trials(states=(TrialState.COMPLETE,))
            if done:
                best = min(done, key=lambda one: float(np.mean(one.user_attrs["first"])))
                behind = first.losses - np.array(best.user_attrs["first"])
                if behind.mean() > BEHIND * error_of(behind):
                    return None
        return bench.check_head(recipe, images)

    def _bench_for(self, setting: Setting) -> Bench:
        key = (setting.backbone, setting.image_size)
        if self._bench is None or self._bench[0] != key:
            self._bench = None  # one network in memory is enough
            self.tell("measuring this machine")
            recipe = replace(self._recipe(setting, [SOLVE]), augment=Augment())
            self._bench = key, Bench(self.store, recipe, self.images, self.classes, self.tell)
        return self._bench[1]

    # What things cost

    def _forward_s(self, setting: Setting) -> float:
        """Seconds of the frozen network for one image; of a backbone that was not measured yet, as of the present."""
        assert self._bench is not None  # one setting was tried
        return sum(self._bench[1].built.speed.at(setting.image_size).forward)

    def _features_s(self, setting: Setting) -> float:
        return min(len(self.images.train), MOST_IMAGES) * self._pictures(setting) * self._forward_s(setting)

    def _pictures(self, setting: Setting) -> int:
        """Of an image: itself, and its changed copies."""
        return 1 + setting.changes * self._recipe(setting, [SOLVE]).views

    def _is_too_long(self, setting: Setting, best: Setting) -> bool:
        if self._bench is None:  # the search was killed, and goes on
            self._bench_for(best)
        expected_s = self._features_s(setting)
        if self._bench is not None and self._bench[0] != (setting.backbone, setting.image_size):
            expected_s += MEASURING_S
        expected_s *= SLACK
        if self.spent_s + expected_s > SHARE_OF_FEATURES * self.asked.budget and expected_s > 0:
            return True
        return expected_s + self._end_s(self._recipe(best, [SOLVE]), best) > self.left_s

    def _end_s(self, recipe: Recipe, setting: Setting) -> float:
        """What training by that recipe would take from here on, to the last file."""
        assert self._bench is not None
        built = self._bench[1].built
        stages = built.backbone.stages
        cuts = frozenset(phase.first_trainable_group(stages) for phase in recipe.phases)
        workload = replace(built.workload, undecoded=0, kept=cuts)
        speed = built.speed.at(recipe.side)
        plan = plan_run(recipe.with_epochs(len(self.images.train)), speed, workload)
        pictures = self._pictures(setting)
        more = max(0, len(self.images.train) - MOST_IMAGES) * pictures  # of these there are no features yet
        passes = (PASSES_AT_THE_END + pictures) * len(self.images.valid) + more
        return SLACK * (plan.expected_s + passes * self._forward_s(setting)) + AT_THE_END_S

    # Thawing

    def _choose_thawing(self, setting: Setting, recipe: Recipe, strength: float) -> list[Phase]:
        """The phases to train: the head is solved, and what short trials show to help thaws."""
        bench = self._bench_for(setting)
        stages = bench.built.backbone.stages
        study, is_new = self._study("thawing")
        if is_new:
            for depth, rate in FIRST_THAWS:
                study.enqueue_trial({"stages": min(depth, len(stages)), "rate": rate})
        while len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))) < MOST_THAWS:
            if not study.get_trials(states=(TrialState.WAITING,)) and gain_of(study) <= 0:
                break
            trial = study.ask()
            depth = trial.suggest_int("stages", 1, min(2, len(stages)))
            phase = _thaw(stages[-depth], trial.suggest_float("rate", *RATES, log=True))
            whole = replace(recipe, phases=[SOLVE, phase])
            end_s = self._end_s(whole, setting)
            if SLACK * self._trial_s(whole) + end_s > self.left_s:
                study.tell(trial, state=TrialState.FAIL)
                break
            self._label = f"{phase.learning_text}, {phase.lr[0]:.0e}"  # type: ignore[index]  # two rates
            row: dict[str, Any] = {"kind": "thawing", "what": self._label}
            began = time.monotonic()
            try:
                length = replace(phase, epochs=phase.epochs_for(round(0.8 * len(self.images.train)), recipe.batch_size))
                found = bench.thaw(recipe, length, strength, began + self.left_s - end_s)
            except OutOfTime:
                study.tell(trial, state=TrialState.PRUNED)
                self._note(row | {"state": "ended early", "note": "Its time was over."})
                break
            row |= {"seconds": time.monotonic() - began}
            if found is None:
                study.tell(trial, state=TrialState.PRUNED)
                self._note(row | {"state": "failed", "note": "The loss stopped being a number."})
                continue
            study.tell(trial, -found["gain"])
            self._note(row | {name: found[name] for name in THAW_FIGURES} | {"state": "done", "note": ""})
        return self._thawed(study, setting, recipe, stages)

    def _trial_s(self, recipe: Recipe) -> float:
        """Expected seconds of a trial of thawing: the phase on four fifths, and the features that it starts from."""
        assert self._bench is not None
        built = self._bench[1].built
        recipe = replace(recipe, refit=False).with_epochs(len(self.images.train))
        plan = plan_run(recipe, built.speed.at(recipe.side), replace(built.workload, undecoded=0))
        return plan.phases[-1].expected_s

    def _thawed(self, study: optuna.Study, setting: Setting, recipe: Recipe, stages: list[str]) -> list[Phase]:
        done = study.get_trials(states=(TrialState.COMPLETE,))
        if done and gain_of(study) > 0:
            best = study.best_trial
            phase = _thaw(stages[-best.params["stages"]], best.params["rate"])
            self.reasons.append(
                f"{phase.learning_text.capitalize()} thaw: of {count(len(done), 'trial')} that one lowered the log "
                f"loss of images that it had not learnt from by most, {gain_of(study):.3f}."
            )
            return [SOLVE, phase]
        if done:
            self.reasons.append(f"Nothing thaws: none of {count(len(done), 'trial')} of it lowered the log loss.")
            return [SOLVE]
        usual = _thaw(stages[-FIRST_THAWS[0][0]], FIRST_THAWS[0][1])
        if self._end_s(replace(recipe, phases=[SOLVE, usual]), setting) <= self.left_s:
            self.reasons.append(
                f"{usual.learning_text.capitalize()} thaw, untried: there was no time for a trial of it as well. Where "
                "it does not help, the model stays as it was before."
            )
            return [SOLVE, usual]
        self.reasons.append(f"Nothing thaws: in {duration(self.asked.budget)} there is no time for it.")
        return [SOLVE]


def _thaw(lowest: str, rate: float) -> Phase:
    rates = [rate, HEAD_FACTOR * rate]
    return Phase("Fine-tuning", trainable=lowest, epochs="auto", lr=rates, average=True, interpolate=True)

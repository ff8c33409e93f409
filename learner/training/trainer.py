"""A prepared run under way: its Learner, where it stands in its phases, and the result at their end."""

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from safetensors.torch import load_file

from learner.errors import RunError, RunStopped
from learner.evaluation.inspect import ModelOutputs, compute_outputs, reference_images, write_model, write_results
from learner.exports import export_learner
from learner.models.checkpoint import load_weights, read_spec, save_model
from learner.models.logistic import Solution
from learner.models.network import Network
from learner.planning.speeds import forget_speeds
from learner.recipe import Phase
from learner.store import Image, Run, Store
from learner.training.averaging import Interpolate
from learner.training.callbacks import FrozenStagesEval, Gradients, Reporter, Samples, StopWhenNotFinite
from learner.training.phases import build_learner, fit_phase, prepare_phase
from learner.training.position import EpochTotals, Position, best_of, rank_of
from learner.training.prepare import Images, PreparedRun
from learner.training.progress import ProgressReporter
from learner.training.refit import NoValidation, RefitPhase, refit_phases
from learner.training.resume import (
    link_or_copy,
    remove_point,
    restore_best,
    restore_random,
    save_point,
)
from learner.training.solve import HeadProblem, SolveHead

log = logging.getLogger(__name__)

PHASE_SEEDS = 7919
"""Between the seeds of one phase and the next: a prime, so that runs with neighbouring seeds share none."""


@dataclass(frozen=True)
class _Stretch:
    """A phase of the recipe, or of the refit, which follow each other."""

    index: int
    """Of all of them, like `Position.phase`."""
    phase: Phase
    images: Images
    """What it learns from and is checked on."""
    refit: RefitPhase | None = None
    """Where it is one of the refit."""


class Training:
    """The Learner of a prepared run, and where it stands in the run's phases."""

    def __init__(self, store: Store, run: Run, prepared: PreparedRun, progression: ProgressReporter):
        self.store, self.run, self.progression = store, run, progression
        self.recipe, self.plan, self.images = prepared.recipe, prepared.plan, prepared.images
        self.prepared, self.data = prepared, prepared.data
        self.best_model = store.workspace.checkpoint(run.id)
        self.checked_model = store.workspace.checked_model(run.id)
        self.together = prepared.images.together
        self.using = self.images
        """Those that `data` is of."""
        self.has_refit = False
        """Whether the refit has come to its end."""
        self.position = Position(batch_size=prepared.recipe.batch_size)
        self.learn = build_learner(prepared.network, self.data.dls, prepared.loss)

    # The phases

    def run_phases(self, point: dict[str, Any] | None) -> bool:
        """All phases from where the run stands; False where somebody asked it to end before.

        `point` is the resume point where that lies within a phase. Raises RunError when the loss is no number, and
        StopAsked when asked to stop while images are prepared.
        """
        stretch = self._stretch()
        if stretch is not None:
            self._use(stretch.images, self.data.spec.image_size)
        self.progression.expect(self.plan, self.position.phase, self.position.epoch + self._share_of_epoch())
        reporter = Reporter(self.progression, self.position, self._keep_best, self._remember)
        finite = StopWhenNotFinite()
        samples = Samples([self.images.valid.index(image) for image in self.images.samples])
        self.learn.add_cbs([reporter, FrozenStagesEval(), finite, Gradients(self.recipe.clip_norm), samples])
        if self.progression.asked:
            return False
        decoded_s = self.data.feed.decode(self.plan.decode_s, self.progression)
        self.plan.true_decode_s = self.plan.true_decode_s or decoded_s
        while stretch is not None:
            log.info("Phase %d, %s: %s", stretch.index + 1, stretch.phase.name, asdict(stretch.phase))
            self._run_phase(stretch, reporter, point)
            point = None
            if finite.has_failed and stretch.refit:
                self.store.runs.add_facts(self.run.id, refit={"failed": "The loss stopped being a number."})
                return True
            if finite.has_failed:
                raise RunError(
                    "The loss stopped being a number, which mostly means that the learning rate is too high. Try a "
                    f"tenth of it in phase {stretch.index + 1}, {stretch.phase.name}. The best checkpoint of the "
                    "epochs before is kept."
                )
            if self.progression.stops_now or not reporter.is_phase_over:
                return False
            self._end_phase(stretch)
            stretch = self._stretch()
            if self.progression.asked and stretch is not None:
                return False
        self.has_refit = self.recipe.refits and self.position.phase > len(self.recipe.phases)
        return True

    def _stretch(self) -> _Stretch | None:
        """What is trained at the present position; None where all is done."""
        index, phases = self.position.phase, self.recipe.phases
        if index < len(phases):
            return _Stretch(index, phases[index], self.images)
        if not self.recipe.refits or not self._phase_end(-1).exists():  # where an older run was taken up, it is not
            return None
        assert self.position.best_epoch is not None  # an epoch has ended
        epochs, facts = self.store.runs.epochs(self.run.id), self.store.runs.get(self.run.id).facts
        learnt, together = len(self.images.train), len(self.together.train)
        refit = refit_phases(self.recipe, epochs, self.position.best_epoch, facts, learnt, together)
        del self.plan.refit[len(refit) :]
        if index - len(phases) >= len(refit):
            return None
        one = refit[index - len(phases)]
        return _Stretch(index, one.phase, self.together, one)

    def _run_phase(self, stretch: _Stretch, reporter: Reporter, point: dict[str, Any] | None) -> None:
        """One phase, or the rest of it, with what it trains on, and what that cost beside what was expected."""
        index, phase, refit = stretch.index, stretch.phase, stretch.refit
        plan, stages = self.plan.stretches[index], self.prepared.backbone.stages
        began, earlier_s = time.monotonic(), plan.true_s or 0.0
        epochs = [epoch for epoch in self.store.runs.epochs(self.run.id) if epoch.phase == index]
        reporter.begin_phase(phase, plan, epochs, refit.epochs if refit else None)
        if self.recipe.refits and index == 0:
            self._phase_start(index)  # where the refit will begin
        if refit and point is None:
            self._begin_refit_phase(index)
        self._use(stretch.images, phase.image_size or self.recipe.side)
        if phase.image_size:
            self.data.feed.decode(plan.features_s, self.progression, index)
        self.data.feed.begin(index, plan, self.progression, phase.solve)
        log.info("Feature cache %s: %s", "on" if plan.cached else "off", plan.reason)
        prepare_phase(self.learn, phase, stages)
        self.learn.weight_average.begin_phase(phase.average, point and point.get("average"))
        callbacks = self._callbacks_of(stretch)
        if point is None:
            # By phase, so that a run that starts again from a phase's end does what the whole one did.
            set_seed((self.recipe.seed + PHASE_SEEDS * (index + 1)) % 2**32, reproducible=True)
        else:
            self._restore(point)
        if not reporter.is_phase_over:
            fit_phase(self.learn, self.recipe, phase, stages, self.position.epoch, callbacks)
        plan.true_s = earlier_s + time.monotonic() - began
        self.store.runs.add_facts(self.run.id, plan=self.plan.to_dict())

    def _begin_refit_phase(self, index: int) -> None:
        """Stand where the phase begins, the first one at the run's own start."""
        if not self.checked_model.exists():
            link_or_copy(self.best_model, self.checked_model)
        self.learn.model.load_state_dict(load_weights(self._phase_start(index)))

    def _callbacks_of(self, stretch: _Stretch) -> list[Callback]:
        """What this phase needs besides what all have."""
        index, refit = stretch.index, stretch.refit
        found: list[Callback] = [NoValidation()] if refit else []
        if stretch.phase.solve:
            classes, strength = self.data.spec.classes, refit.strength if refit else None
            problem = HeadProblem(self.recipe, stretch.images.train, classes, self.data.feed, strength)
            expected_s = self.plan.stretches[index].train_s

            def find(network: Network) -> Solution:
                return problem.solve(network, self.progression, index, expected_s)

            found.append(SolveHead(find, partial(self._note, "solved", index)))
        elif stretch.phase.interpolate and (not refit or refit.point is not None):
            start, point = load_weights(self._phase_start(index)), refit.point if refit else None
            found.append(Interpolate(start, partial(self._note, "interpolated", index), point))
        return found

    def _note(self, name: str, index: int, found: dict[str, Any]) -> None:
        """Add to the run's facts what was found in that phase; see docs/formats.md. A refit finds nothing new."""
        if index >= len(self.recipe.phases):
            return
        others = self.store.runs.get(self.run.id).facts.get(name, {})
        self.store.runs.add_facts(self.run.id, **{name: others | {str(index): found}})

    def _phase_start(self, index: int) -> Path:
        """The model as it was when that phase began; the first phase's is written when that begins."""
        if index not in (0, len(self.recipe.phases)):  # the refit begins where the first phase does
            return self._phase_end(index - 1)
        path = self._phase_end(-1)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            save_model(self.learn.model, self.data.spec, path)
        return path

    def _restore(self, point: dict[str, Any]) -> None:
        """The optimizer and all that is random, as the resume point has them."""
        self.learn.opt.load_state_dict(point["optimizer"])
        if point["scaler"]:
            self.learn.loss_scaling.state = point["scaler"]
        if self.position.totals.batch:  # within an epoch, whose loader had begun
            self.learn.start_batch.restore = partial(restore_random, point["random"])
        else:
            restore_random(point["random"])

    def _end_phase(self, stretch: _Stretch) -> None:
        """Keep the model as it is now, from which other runs can start, and stand at the next phase's beginning."""
        index = stretch.index
        self.learn.weight_average.apply(self.learn.model)
        path = self._phase_end(index)
        path.parent.mkdir(exist_ok=True)
        save_model(self.learn.model, self.data.spec, path)
        self.progression.skip(index, stretch.phase.length - self.position.epoch)
        self.position.phase, self.position.epoch, self.position.totals = index + 1, 0, EpochTotals()
        if index + 1 < len(self.plan.stretches):
            self._remember()

    def _use(self, images: Images, image_size: int) -> None:
        if images is not self.using or image_size != self.data.spec.image_size:
            self.using, self.data = images, self.prepared.data_of(images, image_size)
            self.learn.dls = self.data.dls

    def _keep_best(self) -> None:
        with self.learn.weight_average.applied():
            save_model(self.learn.model, self.data.spec, self.best_model)

    def _remember(self) -> None:
        save_point(self._resume_point, self.learn, self.position, self.best_model)
        self.store.files.keep_soon(self.run.id)

    # The result

    def write_result(self, is_finished: bool) -> None:
        """Look at every validation image with the best model, and write the result.

        Raises RunStopped where nothing was learnt.
        """
        if not self.best_model.exists():
            raise RunStopped("The run was stopped before anything was learnt, so there is no model to keep.")
        if is_finished and not self.plan.was_accurate:
            forget_speeds(self.store.workspace, self.recipe)
        self.learn.model.load_state_dict(load_weights(self.best_model))
        self._use(self.images, read_spec(self.best_model).image_size)
        self.progression.say("Looking at every validation image once more, with the best checkpoint")
        valid = self._outputs(self.images.valid)
        self.progression.say("Looking at training images once more, to know what is like them")
        train = self._outputs(reference_images(self.images.train))
        self.progression.say("Writing the result")
        folder = self.best_model.parent
        write_results(folder, self.learn.model, self.data.spec, valid, train, self.images.folder)
        if self.has_refit:
            self._write_refit(folder)
        else:
            self.checked_model.unlink(missing_ok=True)
        self.progression.say("Writing learner.pkl")
        export_learner(self.best_model, folder)
        self.progression.say("Done", done=1.0)
        if is_finished:
            remove_point(self._resume_point)

    def _write_refit(self, folder: Path) -> None:
        """Put the refit's model in the place of the one whose figures were written, with the same temperature."""
        spec = read_spec(self.best_model)
        self.checked_model.unlink(missing_ok=True)
        link_or_copy(self.best_model, self.checked_model)
        self.learn.model.load_state_dict(load_weights(self._phase_end(self.position.phase - 1)))
        valid, train = (self._outputs(images) for images in (self.images.valid, reference_images(self.images.train)))
        write_model(folder, self.learn.model, spec, valid, train, self.images.folder)
        self.store.runs.add_facts(self.run.id, refit={"images": len(self.together.train)})

    def _outputs(self, images: list[Image]) -> ModelOutputs:
        batches = self.data.feed.look_at(self.images.files(images))
        return compute_outputs(self.prepared.network, (x for x, _ in batches), images)

    # Where it stands

    def go_to_position(self, point: dict[str, Any] | None) -> dict[str, Any] | None:
        """Load the network as it was when the run was left; returns its resume point, if that lies within a phase."""
        self.store.runs.require(self.run.id)
        if point is not None:
            self.position = point["position"]
            self.position.use_batch_size(self.recipe.batch_size)
            self.learn.model.load_state_dict(point["model"])
            restore_best(self._resume_point, self.position, self.best_model)
            if self.position.phase < len(self.recipe.phases):
                self._forget_refit()
        else:
            if self.run.parent is not None:
                self._take_over_phases()
            self._go_to_last_phase_end()
        accuracy = self.position.best[1] if self.position.best else None
        at = self.position.epochs_done + self._share_of_epoch()
        self.store.runs.rewind(self.run.id, at, accuracy, self.position.best_epoch)
        if at:
            log.info("It goes on after %.2f epochs", at)
        return point if self.position.epoch or self.position.totals.batch else None

    def _forget_refit(self) -> None:
        """Of what stands before it, there is none yet."""
        shutil.rmtree(self._phase_end(len(self.recipe.phases)).parent, ignore_errors=True)
        self.checked_model.unlink(missing_ok=True)

    def _take_over_phases(self) -> None:
        """Make the ends of the parent's phases this run's own, so that the parent may be deleted."""
        run = self.run
        assert run.parent is not None and run.parent_phase is not None
        for phase in range(-1, run.parent_phase + 1):
            own, theirs = self._phase_end(phase), self.store.workspace.phase_end(run.parent, phase)
            if own.exists() or (phase < 0 and not theirs.exists()):  # only some runs need where they began
                continue
            if not theirs.exists():
                raise RunError(f"What run {run.parent} had kept is gone, so run {run.id} cannot start from there.")
            own.parent.mkdir(exist_ok=True)
            link_or_copy(theirs, own)
        facts = self.store.runs.get(run.parent).facts
        for name in ("solved", "interpolated"):
            for phase in range(run.parent_phase + 1):
                if found := facts.get(name, {}).get(str(phase)):
                    self._note(name, phase, found)

    def _go_to_last_phase_end(self) -> None:
        """Stand at the beginning of the first phase whose end is not kept, with the network as it was then."""
        done = 0
        while done < len(self.recipe.phases) and self._phase_end(done).exists():
            done += 1
        epochs = [epoch for epoch in self.store.runs.epochs(self.run.id) if epoch.phase < done]
        self.position = Position(phase=done, epochs_done=len(epochs), batch_size=self.recipe.batch_size)
        if done < len(self.recipe.phases):
            self._forget_refit()
        if not epochs:
            self.best_model.unlink(missing_ok=True)
            return
        if self.checked_model.exists():
            self.best_model.unlink(missing_ok=True)
            link_or_copy(self.checked_model, self.best_model)
        end = self._phase_end(done - 1)
        if not self.best_model.exists():  # of a run that starts here, the best so far is what it starts from
            link_or_copy(end, self.best_model)
            epochs = epochs[-1:]
        best = best_of(epochs, self.recipe.phases)
        self.position.best, self.position.best_epoch = rank_of(best.accuracy, best.valid_loss), best.epoch
        while (stretch := self._stretch()) and stretch.refit and self._phase_end(stretch.index).exists():
            self.position.phase += 1
            self.position.epochs_done += stretch.refit.epochs
        self.learn.model.load_state_dict(load_file(self._phase_end(self.position.phase - 1)))

    def _share_of_epoch(self) -> float:
        return self.position.totals.batch / max(len(self.learn.dls.train), 1)

    def _phase_end(self, phase: int) -> Path:
        own, workspace = len(self.recipe.phases), self.store.workspace
        if phase >= own:
            return workspace.refit_end(self.run.id, phase - own)
        return workspace.phase_end(self.run.id, phase)

    @property
    def _resume_point(self) -> Path:
        return self.store.workspace.resume_point(self.run.id)

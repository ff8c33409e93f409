"""A foreign model as a finished run: its row, its checkpoint, its results on the data set's validation images."""

import copy
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from learner.datasets import split_by
from learner.errors import ModelError
from learner.evaluation.inspect import make_results
from learner.evaluation.results import load_result
from learner.importing import PHASE
from learner.importing.foreign import Foreign, network_of
from learner.jobs.process import Tell
from learner.models.checkpoint import ModelSpec, save_model
from learner.models.layers import layers_of
from learner.models.network import Network, body_of, head_of
from learner.models.precision import Precision
from learner.recipe import Augment, Phase, Recipe
from learner.store import Store, VersionInfo
from learner.wording import count


def write_run(
    store: Store, file: Path, foreign: Foreign, dataset: str, version: VersionInfo, classes: list[str], tell: Tell
) -> int:
    """Returns the run's id. `classes` are the data set's, whose order the run's model takes over. Raises ModelError."""
    model, stages, num_features, map_size = network_of(_in_order(foreign, classes), len(classes))
    spec = ModelSpec(
        foreign.arch,
        stages,
        classes,
        foreign.image_size,
        foreign.mean,
        foreign.std,
        num_features,
        head=asdict(foreign.head),
        map_size=list(map_size),
        augment=asdict(Augment()),
    )
    recipe = Recipe(
        dataset,
        version.number,
        backbone=foreign.arch,
        weights="random",
        head=foreign.head,
        image_size=foreign.image_size,
        refit=False,
        precision="fp32",
        phases=[Phase(PHASE, trainable="head", epochs=1)],
    )
    recipe.check(stages)
    train, valid = split_by(recipe, store.datasets.images(version.id))
    run_id = store.runs.submit(recipe.to_dict(), version.id, running=True)
    folder = store.run_folder(run_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Who trains with this recipe again begins from this body, not from nothing.
        recipe = replace(recipe, weights=f"run:{run_id}")
        store.runs.decide_recipe(run_id, recipe.to_dict())
        (folder / "recipe.yaml").write_text(recipe.to_yaml(), "utf-8")
        (folder / "log.txt").write_text(f"Imported from {file.name}.\n", "utf-8")
        for path in (store.workspace.checkpoint(run_id), store.workspace.phase_end(run_id, 0)):
            path.parent.mkdir(exist_ok=True)
            save_model(model, spec, path)
        copied = copy.deepcopy(model)
        network = Network(body_of(copied), head_of(copied), Precision("fp32", "It was imported."))
        reason = f"Imported from {file.name}, which {foreign.made_by} wrote."
        store.runs.add_facts(
            run_id,
            recipe=recipe.to_dict(),
            backbone=foreign.arch,
            weights={"kind": "import", "location": file.name, "reason": reason, "tried": []},
            stages=stages,
            stage_parameters=[sum(p.numel() for p in stage.parameters()) for stage in model[0].children()],
            layers=layers_of(network, foreign.image_size),
            rates=[[0.0] * (len(stages) + 1)],
            classes=classes,
            image_size=foreign.image_size,
            statistics={"mean": foreign.mean, "std": foreign.std},
            train_images=len(train),
            valid_images=len(valid),
            sample_images=[],
            device=f"CPU, {count(torch.get_num_threads(), 'thread')}",
            notes=[*foreign.notes, _note(foreign, dataset)],
        )
        make_results(store, store.runs.get(run_id), partial(_say, store, run_id, tell))
        _note_figures(store, run_id, folder, len(stages) + 1)
        store.runs.end(run_id, "finished")
    except BaseException as error:
        store.runs.forget(run_id)
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            why = error.strerror or str(error)
            raise ModelError(f"{folder} cannot be written: {why}. Make room, and try again.") from error
        raise
    store.files.keep_changes(run_id)
    return run_id


def _say(store: Store, run_id: int, tell: Tell, text: str) -> None:
    """To the person, and to whoever would take the run over from a process that is silent."""
    store.runs.report(run_id, {"message": text})
    tell(text)


def _note_figures(store: Store, run_id: int, folder: Path, groups: int) -> None:
    """One epoch, so that lists and comparisons show what the model came with."""
    result = load_result(folder)
    assert result is not None  # `make_results` wrote it
    store.runs.add_epoch(
        run_id,
        is_best=True,
        epoch=1,
        phase=0,
        train_loss=None,
        valid_loss=result["figures"]["log_loss"]["value"],
        accuracy=result["accuracy"],
        error_rate=1 - result["accuracy"],
        lrs=[0.0] * groups,
        seconds=0.0,
        samples=[],
    )


def _note(foreign: Foreign, dataset: str) -> str:
    if not foreign.has_classifier:
        return (
            "The file has no classifier, so this run's head is new and has learnt nothing: its accuracy is chance. "
            "Train from its body: choose this run under Weights."
        )
    return (
        f"Whether the model had learnt from photos of {dataset} that it is checked on here, Thaw cannot know; then its "
        "figures flatter."
    )


def _in_order(foreign: Foreign, classes: list[str]) -> Foreign:
    """With its outputs in the order of `classes`."""
    if not foreign.has_classifier:
        return foreign
    rows = torch.tensor([foreign.classes.index(name) for name in classes])
    if foreign.layers is not None:
        weight, bias = foreign.layers[-1]
        return replace(foreign, layers=[*foreign.layers[:-1], (weight[rows], bias[rows])])
    state = dict(foreign.head_state or {})
    last = [name for name, tensor in state.items() if tensor.ndim == 2][-1].rpartition(".")[0]
    for name in (f"{last}.weight", f"{last}.bias"):
        if name in state:
            state[name] = state[name][rows]
    return replace(foreign, head_state=state)

"""A phase trains the stages it names, and every bit of those below stays."""

import hashlib

import pytest
import torch
from safetensors.torch import load_file, save_file

from learner.features.loaders import Decoder, LabelledFile, Order, make_dataloaders
from learner.features.preprocess import Preprocess
from learner.models.backbones import build
from learner.models.heads import build_head
from learner.models.network import Network
from learner.models.precision import Precision
from learner.recipe import Head, Phase, Recipe
from learner.training.callbacks import FrozenStagesEval
from learner.training.phases import build_learner, fit_phase, prepare_phase
from tests.learner.training.running import RATES, run_well
from tests.samples import SMALL, small_recipe
from tests.samples import SMALL_STAGES as STAGES


@pytest.fixture
def learn(photos):
    """The Learner that a run trains, on the photos."""
    train, valid = (
        [
            LabelledFile(path, path.parent.name, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted((photos / split).rglob("*.jpg"))
        ]
        for split in ("train", "valid")
    )
    backbone = build(SMALL, "random")
    dls = make_dataloaders(
        train,
        valid,
        ["cat", "dog"],
        Decoder(32),
        Preprocess(32, backbone.mean, backbone.std),
        views=None,
        batch_size=8,
        device=torch.device("cpu"),
        order=Order(0),
    )
    learn = build_learner(
        Network(backbone.body, build_head(Head(), backbone.num_features, 2, (1, 1)), Precision("fp32", "")), dls
    )
    learn.add_cb(FrozenStagesEval())
    return learn


def run_phase(learn, phase: Phase) -> None:
    prepare_phase(learn, phase, STAGES)
    fit_phase(learn, Recipe("pets"), phase, STAGES)


def state(learn) -> dict[str, dict[str, torch.Tensor]]:
    """A copy of every tensor, batch-norm statistics included, by stage and name."""
    parts = [*learn.model[0].named_children(), ("head", learn.model[1])]
    return {part: {name: t.clone() for name, t in module.state_dict().items()} for part, module in parts}


def changed(before, after) -> set[str]:
    """The parts of which any tensor is no longer the same bit for bit."""
    return {part for part in before if any(not torch.equal(before[part][n], after[part][n]) for n in before[part])}


def test_there_is_one_parameter_group_a_stage_and_one_for_the_head(learn):
    learn.create_opt()
    groups = [{id(p) for p in group} for group in learn.opt.param_lists]
    parts = [*learn.model[0], learn.model[1]]
    assert len(groups) == len(STAGES) + 1
    assert groups == [{id(p) for p in part.parameters()} for part in parts]
    assert sum(map(len, groups)) == len(list(learn.model.parameters()))


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        (lambda learn: learn.freeze(), 5),
        (lambda learn: learn.freeze_to(3), 3),
        (lambda learn: learn.freeze_to(-2), 4),
        (lambda learn: learn.unfreeze(), 0),
    ],
    ids=["freeze", "freeze_to(3)", "freeze_to(-2)", "unfreeze"],
)
def test_freezing_counts_in_stages_as_fastai_users_expect(learn, freeze, frozen):
    learn.freeze_to(2)
    freeze(learn)
    parts = [*learn.model[0], learn.model[1]]
    learns = [{p.requires_grad for p in part.parameters()} for part in parts]
    assert learns == [{False}] * frozen + [{True}] * (len(parts) - frozen)


def test_a_phase_changes_its_stages_and_leaves_every_bit_of_those_below(learn):
    start = state(learn)
    run_phase(learn, Phase("a", trainable="head", epochs=1, lr=0.01))
    head_trained = state(learn)
    assert changed(start, head_trained) == {"head"}

    run_phase(learn, Phase("b", trainable="layer3", epochs=1, lr=RATES))
    upper_trained = state(learn)
    assert changed(head_trained, upper_trained) == {"layer3", "layer4", "head"}

    run_phase(learn, Phase("c", trainable="all", epochs=1, lr=RATES))
    all_trained = state(learn)
    assert changed(upper_trained, all_trained) == {*STAGES, "head"}

    run_phase(learn, Phase("d", trainable="head", epochs=1, lr=0.01))
    assert changed(all_trained, state(learn)) == {"head"}


def test_batch_norm_statistics_move_in_stages_that_learn_only(learn):
    def statistics(state):
        return {f"{part} {n}": t for part, tensors in state.items() for n, t in tensors.items() if "running" in n}

    before = statistics(state(learn))
    run_phase(learn, Phase("b", trainable="layer4", epochs=1, lr=0.01))
    after = statistics(state(learn))
    assert any(name.startswith("layer1 ") for name in before)
    for name in before:
        moved = not torch.equal(before[name], after[name])
        assert moved == name.startswith(("layer4 ", "head ")), name


def test_a_whole_run_that_trains_only_the_head_keeps_the_given_weights_bit_for_bit(pets, tmp_path):
    given = build(SMALL, "random")
    for tensor in given.body.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(1.01)
    file = tmp_path / "given.safetensors"
    save_file({given.timm_names[name]: tensor for name, tensor in given.body.state_dict().items()}, file)
    run_id = run_well(pets, small_recipe(weights=str(file)))
    kept = load_file(pets.checkpoint(run_id))
    for name, tensor in given.body.state_dict().items():
        assert torch.equal(kept[f"0.{name}"], tensor), name

"""Which precision a machine gets, and what computes in it."""

import pytest
import torch
from torch import nn

from learner.errors import RecipeError
from learner.features.preprocess import Preprocess
from learner.models.backbones import build
from learner.models.heads import build_head
from learner.models.network import Network, lowered
from learner.models.precision import Precision, precision_for_inference, precisions
from learner.recipe import Head, Phase
from learner.training.process import execute
from tests.samples import SMALL, small_recipe

CPU = torch.device("cpu")


def names(wanted: str = "auto", device: torch.device = CPU) -> list[str]:
    return [precision.name for precision in precisions(wanted, device)]


@pytest.fixture
def processor(monkeypatch):
    """Makes the processor one with just these features."""

    def pretend(*features: str) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(features, True))

    return pretend


def test_a_processor_with_units_for_bf16_is_measured_in_both(processor):
    for feature, words in (("amx_bf16", "(AMX)"), ("avx512_bf16", "(AVX512-BF16)")):
        processor(feature)
        assert names() == ["bf16", "fp32"]
        assert words in precisions("auto", CPU)[0].reason


def test_a_processor_without_them_gets_fp32_and_the_reason(processor):
    processor("avx2")
    assert names() == ["fp32"]
    assert "no units for shorter number formats" in precisions("auto", CPU)[0].reason


def test_a_gpu_gets_the_best_it_was_made_for(monkeypatch):
    cuda = torch.device("cuda", 0)
    for bf16, capability, expected in ((True, (8, 0), "bf16"), (False, (7, 5), "fp16"), (False, (6, 1), "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, bf16=bf16: bf16)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        assert names("auto", cuda) == [expected]


def test_what_the_recipe_asks_for_is_taken(processor):
    processor("amx_bf16", "avx512_fp16")
    assert [names(wanted) for wanted in ("fp32", "bf16", "fp16")] == [["fp32"], ["bf16"], ["fp16"]]


def test_fp16_on_a_processor_that_cannot_is_refused_with_the_way_out(processor):
    processor("amx_bf16")
    with pytest.raises(RecipeError, match=r"precision: fp16 needs a GPU or a processor with AVX512-FP16\. Use auto"):
        precisions("fp16", CPU)


def test_a_model_is_used_in_what_it_was_trained_in_where_that_is_fast(processor):
    processor("amx_bf16")
    assert [precision_for_inference(name, CPU).name for name in ("bf16", "fp32", "fp16")] == ["bf16", "fp32", "fp32"]
    processor("avx2")
    assert precision_for_inference("bf16", CPU).name == "fp32"


# What computes in it


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    backbone = build(SMALL, "random")
    return Network(backbone.body, build_head(Head(), backbone.num_features, 2, (1, 1)), Precision("bf16", ""))


def test_stages_compute_in_bf16_and_head_and_logits_in_fp32(network):
    seen = {}
    network[0][4].register_forward_hook(lambda _m, _i, output: seen.update(stage=output.dtype))
    network[1].register_forward_pre_hook(lambda _m, inputs: seen.update(head=inputs[0].dtype))
    logits = network(torch.rand(2, 3, 32, 32))
    assert (seen["stage"], seen["head"], logits.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    logits.sum().backward()
    assert {p.dtype for p in network.parameters()} == {p.grad.dtype for p in network.parameters()} == {torch.float32}


def test_weights_stored_low_give_the_same_bits_as_weights_cast_each_time(network):
    network.eval()
    twin = lowered(network)
    convolutions = [module for module in twin[0].modules() if isinstance(module, nn.Conv2d)]
    assert convolutions and all(module.weight.dtype == torch.bfloat16 for module in convolutions)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(twin(x), network(x))
    assert {p.dtype for p in network.parameters()} == {torch.float32}  # the original is as it was


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_run_in_low_precision_learns_what_one_in_fp32_does(pets, precision):
    if precision == "fp16" and not torch.cpu.get_capabilities().get("avx512_fp16"):
        with pytest.raises(RecipeError):
            precisions(precision, CPU)
        return
    finals = []
    for name in ("fp32", precision):
        phases = [Phase("Warm-up", "head", 2, lr=0.01), Phase("Fine-tuning", "layer3", 3, lr=[1e-4, 1e-3])]
        run_id = pets.submit(small_recipe(precision=name, phases=phases), running=True)
        assert execute(pets, run_id) == "finished", pets.runs.get(run_id).reason
        assert pets.runs.get(run_id).facts["plan"]["precision"] == name
        finals.append(pets.runs.epochs(run_id)[-1])
    exact, low = finals
    assert low.train_loss == pytest.approx(exact.train_loss, abs=0.1)
    assert low.train_loss < 0.6  # two classes by chance: 0.69


def test_preprocessing_is_torchvisions_arithmetic():
    pixels = torch.randint(0, 256, (2, 5, 5, 3), dtype=torch.uint8)
    from torchvision.transforms.v2 import functional

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = functional.normalize(functional.to_dtype(pixels.permute(0, 3, 1, 2), scale=True), mean, std)
    x = Preprocess(5, mean, std)(pixels)
    assert torch.allclose(x, expected, atol=1e-6)
    assert x.is_contiguous(memory_format=torch.channels_last)

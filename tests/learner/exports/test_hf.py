"""Models as the Hugging Face hub keeps timm's: opened by timm and Transformers, and pushed to a stand-in of the hub."""

import pytest
import timm
from huggingface_hub import constants
from PIL import Image

from learner.errors import ModelError
from learner.exports import write
from learner.exports.proving import prove
from learner.inference.predictor import Predictor
from learner.recipe import Head
from learner.training.process import execute
from tests.learner import hub_server
from tests.samples import SMALL, small_recipe

pytestmark = pytest.mark.usefixtures("provers_here")


@pytest.mark.parametrize(
    ("arch", "head"),
    [
        (SMALL, Head(kind="linear")),
        (SMALL, Head(kind="solved")),
        ("tf_efficientnet_lite0", Head(kind="solved")),
        ("vgg11", Head(kind="linear")),
        ("vgg11", Head(kind="fc", widths=[8])),
        ("vgg11", Head(kind="fc", widths=[16, 8])),
    ],
    ids=str,
)
def test_timm_opens_the_folder_by_its_name_and_gives_the_same_answers(make_contents, tmp_path, arch, head):
    contents = make_contents(arch, head)
    folder = write(contents, "hf", tmp_path, "huggingface")
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors", "thaw.json"]
    assert prove("hf", folder, contents).largest < 1e-4


@pytest.mark.parametrize(
    ("arch", "head", "why"),
    [
        ("small_cnn", Head(kind="linear"), "timm has no such layers"),
        (SMALL, Head(), "timm has no such layers"),
        (SMALL, Head(kind="multiscale"), "takes something else"),
        ("vgg11", Head(kind="solved"), "no maximum over the feature map"),
        ("vgg11", Head(kind="fc", pool="flatten", widths=[8]), "after a map of 7 × 7"),
        ("vgg11", Head(kind="fc", widths=[8, 8, 8]), "two hidden layers"),
        (SMALL, Head(kind="fc", widths=[8]), "one layer there"),
    ],
    ids=str,
)
def test_a_head_that_timm_does_not_have_is_told_with_the_way_out(make_contents, tmp_path, arch, head, why):
    with pytest.raises(ModelError, match=why) as told:
        write(make_contents(arch, head), "hf", tmp_path, "huggingface")
    assert "head.kind=linear" in str(told.value)


@pytest.fixture
def linear(pets):
    """A finished run whose head timm has too, and its store."""
    run_id = pets.submit(small_recipe(head={"kind": "linear"}, precision="fp32"), running=True)
    assert execute(pets, run_id) == "finished"
    return pets, run_id


@pytest.fixture
def endpoint(monkeypatch, tmp_path):
    """Makes a stand-in the hub of this process."""

    def use(url: str, token: str) -> None:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_TOKEN", token)
        for name, value in {
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        }.items():
            monkeypatch.setattr(constants, name, value)

    return use


def test_what_is_pushed_is_opened_by_timm_and_transformers_by_its_name_with_the_run_s_answers(
    linear, endpoint, thaw, monkeypatch, photos
):
    from transformers import pipeline

    store, run_id = linear
    monkeypatch.setenv("THAW_HOME", str(store.workspace.root))
    files, requests = {}, []
    with hub_server.taking(files, "secret", requests) as url:
        endpoint(url, "secret")
        said = thaw("export", run_id, "--format", "hf", "--push", "ada/pets")
        assert said.code == 0 and said.out.startswith(f"{url}/ada/pets\n"), said.err
        model = timm.create_model("hf-hub:ada/pets", pretrained=True).eval()
        photo = next((photos / "valid").rglob("*.jpg"))
        look = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
        probs = model(look(Image.open(photo))[None]).softmax(1)[0].tolist()
        answers = pipeline("image-classification", "ada/pets")(Image.open(photo))
    [own] = Predictor.open(str(run_id), store).predict([photo])
    expected = dict(zip(own.classes, own.probs, strict=True))
    assert dict(zip(["cat", "dog"], probs, strict=True)) == pytest.approx(expected, abs=1e-4)
    assert {one["label"]: one["score"] for one in answers} == pytest.approx(expected, abs=1e-4)
    assert any("lfs/objects/batch" in request for request in requests)
    card = files["ada/pets/README.md"].decode()
    assert 'timm.create_model("hf-hub:ada/pets"' in card and "library_name: timm" in card and "accuracy" in card
    assert sorted(name for name in files if name.startswith("ada/")) == [
        "ada/pets/README.md",
        "ada/pets/config.json",
        "ada/pets/model.safetensors",
        "ada/pets/thaw.json",
    ]


def test_any_head_can_be_pushed_as_safetensors_with_the_lines_that_open_it(trained, endpoint, thaw, monkeypatch):
    store, run_id = trained
    monkeypatch.setenv("THAW_HOME", str(store.workspace.root))
    files = {}
    with hub_server.taking(files, "secret") as url:
        endpoint(url, "secret")
        assert thaw("export", run_id, "--format", "safetensors", "--push", "pets").code == 0
        refused = thaw("export", run_id, "--format", "web", "--push", "pets")
        endpoint(url, "wrong")
        denied = thaw("export", run_id, "--format", "safetensors", "--push", "pets")
    names = sorted(name.removeprefix("ada/pets/") for name in files if name.startswith("ada/"))
    assert names == ["README.md", "model.json", "model.py", "model.safetensors"]
    assert "from model import predict" in files["ada/pets/README.md"].decode()
    assert refused.code == 2 and "Push hf or safetensors instead" in refused.err
    assert denied.code == 2 and "HF_TOKEN" in denied.err and "Traceback" not in denied.err

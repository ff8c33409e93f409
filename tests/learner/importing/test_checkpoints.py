"""timm's and torchvision's checkpoints and fastai's pickles become runs that say what they said."""

import pickle

import pytest
import timm
import torch
import torchvision

from learner.errors import ModelError
from learner.importing import Asked, import_model, read_foreign
from learner.importing.foreign import network_of
from learner.inference.predictor import Predictor
from tests.samples import SMALL

NOISE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_checkpoint_of_timm_says_what_timm_says(tmp_path):
    torch.manual_seed(0)
    theirs = timm.create_model(SMALL, num_classes=5).eval()
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "best.pth")
    found = read_foreign(tmp_path / "best.pth", Asked("pets", arch=SMALL, image_size=64))
    assert found.outputs == 5
    assert network_of(found, 5)[0](NOISE).numpy() == pytest.approx(theirs(NOISE).numpy(), abs=1e-5)


@torch.no_grad()
def test_a_checkpoint_of_torchvision_with_its_flat_head_says_what_torchvision_says(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.vgg11(num_classes=3).eval()
    torch.save(theirs.state_dict(), tmp_path / "vgg11.pth")
    found = read_foreign(tmp_path / "vgg11.pth", Asked("pets", arch="vgg11"))
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert (found.head.pool, found.head.widths, found.image_size) == ("flatten", [4096, 4096], 224)
    assert network_of(found, 3)[0](images).numpy() == pytest.approx(theirs(images).numpy(), abs=1e-5)


def test_a_classifier_that_no_head_here_is_like_is_refused(tmp_path):
    torch.save(timm.create_model("mobilenetv3_small_050", num_classes=3).state_dict(), tmp_path / "m.pth")
    with pytest.raises(ModelError, match="of a kind that no head here is: its answers differ"):
        read_foreign(tmp_path / "m.pth", Asked("pets", arch="mobilenetv3_small_050", image_size=64))


def test_what_a_checkpoint_does_not_say_is_asked_for_and_what_is_not_tensors_is_not_opened(tmp_path):
    torch.save(timm.create_model(SMALL, num_classes=2).state_dict(), tmp_path / "m.pth")
    with pytest.raises(ModelError, match=r"Name timm's architecture: --arch"):
        read_foreign(tmp_path / "m.pth", Asked("pets"))
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Program(f"open({str(tmp_path / 'EVIL')!r}, 'w')")))
    with pytest.raises(ModelError, match=r"damaged or holds more than tensors|cannot be read"):
        read_foreign(tmp_path / "evil.pth", Asked("pets", arch=SMALL))
    assert not (tmp_path / "EVIL").exists()
    with pytest.raises(ModelError, match=r"must end in one of \.keras"):
        read_foreign(tmp_path, Asked("pets"))


class Program:
    """What runs when it is unpickled."""

    def __init__(self, code: str):
        self.code = code

    def __reduce__(self) -> tuple:
        return exec, (self.code,)


def test_a_learner_becomes_a_run_with_the_same_answers_but_only_after_a_yes(trained, pets, photos):
    store, run_id = trained
    file = store.run_folder(run_id) / "learner.pkl"
    with pytest.raises(ModelError, match=r"can run any program hidden in it.*--trust-pickle"):
        import_model(pets, file, Asked("pets"))
    new = import_model(pets, file, Asked("pets", arch=SMALL, trusts_pickle=True))
    assert store.runs.get(run_id).best_accuracy == pets.runs.get(new).best_accuracy
    assert any("a process of its own" in note for note in pets.runs.get(new).notes)
    pictures = sorted((photos / "valid").rglob("*.jpg"))[:4]
    theirs, ours = Predictor.open(str(file), store, trust_pickle=True), Predictor.open(str(new), pets)
    for one, other in zip(theirs.predict(pictures), ours.predict(pictures), strict=True):
        assert one.label == other.label


def test_what_a_pickle_runs_can_change_no_file(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("whole")
    code = f"import os; open({str(victim)!r}, 'w').write('gone')"
    torch.save(Program(code), tmp_path / "evil.pkl")
    with pytest.raises(ModelError, match=r"could not be opened as a fastai learner: (PermissionError|OSError)"):
        read_foreign(tmp_path / "evil.pkl", Asked("pets", trusts_pickle=True))
    assert victim.read_text() in ("whole", "")  # without Landlock it can be emptied, but nothing written

"""Write the `learner.pkl` beside this with the release of fastai before ours, as pip still installs it.

`python tests/pickles/write.py 2.8.11` after ours went up; tests/learner/exports/test_old_pickle.py opens it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent
SIDE = 32


def main() -> None:
    """Start anew with that release in front of the one that is installed."""
    version = sys.argv[1]
    with tempfile.TemporaryDirectory() as packages:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages]
        subprocess.run([*pip, f"fastai=={version}"], check=True)
        paths = f"import sys; sys.path[:0] = [{packages!r}, {str(ROOT)!r}]"
        subprocess.run(
            [sys.executable, "-c", f"{paths}; from tests.pickles.write import write; write({version!r})"], check=True
        )


def write(version: str) -> None:
    """A small network that nobody trained, with what it says of three photos."""
    import random
    from dataclasses import asdict
    from io import BytesIO

    import fastai
    import fastai.vision.augment
    import torch
    from torch import nn
    from torchvision.transforms.functional import pad

    from learner.exports.contents import Contents, GoldenPhoto
    from learner.exports.learner_pkl import write_learner
    from learner.inference.predictor import Predictor
    from learner.models.backbones import build
    from learner.models.checkpoint import ModelSpec
    from learner.models.heads import build_head
    from learner.recipe import Head
    from tests.samples import make_photo

    assert fastai.__version__ == version, fastai.__version__
    fastai.vision.augment.tvpad = pad  # 2.8.11 forgot to import it; nothing of it is in a pickle
    torch.manual_seed(0)
    classes, head, backbone = ["zebra", "ant", "cat"], Head(kind="linear"), build("small_cnn", "random")
    spec = ModelSpec(
        "small_cnn",
        backbone.stages,
        classes,
        SIDE,
        list(backbone.mean),
        list(backbone.std),
        backbone.num_features,
        head=asdict(head),
        temperature=0.05,
    )
    model = nn.Sequential(backbone.body, build_head(head, backbone.num_features, len(classes), (1, 1))).eval()
    golden = []
    for index, name in enumerate(classes):
        png = BytesIO()
        make_photo(index, len(classes), (64, 48), random.Random(name)).save(png, "PNG")
        [said] = Predictor(model, spec, device=torch.device("cpu")).predict([BytesIO(png.getvalue())])
        by_class = dict(zip(said.classes, said.probs, strict=True))
        golden.append(GoldenPhoto(f"{index}.png", name, png.getvalue(), [by_class[each] for each in classes], None))
    FOLDER.mkdir(exist_ok=True)
    write_learner(Contents(model, spec, None, golden), FOLDER / f"learner-fastai-{version}.pkl")


if __name__ == "__main__":
    main()

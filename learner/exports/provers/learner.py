"""Open a `learner.pkl` with plain fastai and ask it about its own photos; prints JSON."""

import json
import sys

import fastai
import timm
from fastai.learner import load_learner

learn = load_learner(sys.argv[1])
about = learn.thaw
photos = []
for photo in about["golden"]:
    _, _, probs = learn.predict(photo["png"])
    photos.append({"file": photo["file"], "probs": probs.tolist(), "expected": photo["probs"]})
versions = {"fastai": fastai.__version__, "timm": timm.__version__}
print(json.dumps({"classes": list(learn.dls.vocab), "photos": photos, "versions": versions}))

"""The server that one writes by hand: FastAPI around fastai's `load_learner(…).predict`.

python plain_server.py LEARNER.pkl PORT
"""

import sys
from threading import Lock

import uvicorn
from fastai.vision.all import PILImage, load_learner
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

learn = load_learner(sys.argv[1])
one_at_a_time = Lock()  # a Learner answers no two questions at once
app = FastAPI()


@app.post("/v1/predict")
async def predict(request: Request):
    photo = await request.body()

    def ask():
        with one_at_a_time, learn.no_bar():
            label, _, probs = learn.predict(PILImage.create(photo))
        return {"label": label, "probabilities": probs.tolist()}

    return await run_in_threadpool(ask)


@app.get("/ready")
def ready():
    return "ready"


uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")

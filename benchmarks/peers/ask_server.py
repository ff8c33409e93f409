"""A load on a served model: `locust -f ask_server.py -u USERS --host ADDRESS`. Settings are environment variables.

PICTURES  a folder of JPEGs, of which each request sends one
RATE      requests a second of all users together; 0: each asks again as soon as it is answered
MOMENTS   `random`, or `even`: one as long after the other
TIMES     a file that gets a line for each answer: when it came (s), how long it took (s), the status
"""

import itertools
import os
import random
import time
from pathlib import Path

from locust import HttpUser, events, task

PHOTOS = [path.read_bytes() for path in sorted(Path(os.environ["PICTURES"]).glob("*.jpg"))]
RATE = float(os.environ["RATE"])
TIMES = Path(os.environ["TIMES"])
EVEN = os.environ["MOMENTS"] == "even"
NEXT, PLACE = itertools.count(), itertools.count()


@events.request.add_listener
def keep(response_time, response, **_):
    with TIMES.open("a", encoding="utf-8") as file:
        file.write(f"{time.time()} {response_time / 1000} {response.status_code}\n")


class Caller(HttpUser):
    """One program that asks."""

    def on_start(self):
        self.due = time.time()
        if RATE:
            self.due += next(PLACE) / RATE if EVEN else self.gap()
            time.sleep(max(0, self.due - time.time()))

    def gap(self):
        mean = self.environment.runner.target_user_count / RATE
        return mean if EVEN else random.expovariate(1 / mean)

    def wait_time(self):
        if not RATE:
            return 0
        self.due += self.gap()
        return max(0, self.due - time.time())

    @task
    def ask(self):
        photo = PHOTOS[next(NEXT) % len(PHOTOS)]
        self.client.post("/v1/predict", data=photo, headers={"Content-Type": "image/jpeg"})

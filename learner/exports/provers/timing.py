"""Ask a model about many images, and time it one by one and in batches: for the programs beside this one."""

import time
from statistics import median

import numpy

BATCH, ALONE, LONGEST_S = 16, 30, 10.0


def measure(ask, pixels_file, answers_file, batch=BATCH):
    """`ask(images)` gives probabilities, distances and flags; the answers go to a file, the milliseconds come back."""
    pixels = numpy.load(pixels_file)
    probs, far = [], []
    for start in range(0, len(pixels), batch):
        some, distance, _ = ask(pixels[start : start + batch])
        probs.append(some)
        far.append(distance)
    numpy.savez(answers_file, probs=numpy.concatenate(probs), distances=numpy.concatenate(far))
    alone = [pixels[place : place + 1] for place in range(min(ALONE, len(pixels)))]
    several = [numpy.resize(pixels[:BATCH], (BATCH, *pixels.shape[1:]))] * 3
    return {"alone_ms": median_ms(ask, alone), "batch_ms": median_ms(ask, several) / BATCH if batch > 1 else None}


def median_ms(ask, batches):
    """Of what `ask` takes for each."""
    taken, begun = [], time.perf_counter()
    ask(batches[0])  # whatever is slow only once
    for batch in batches:
        start = time.perf_counter()
        ask(batch)
        taken.append(1000 * (time.perf_counter() - start))
        if time.perf_counter() - begun > LONGEST_S:
            break
    return median(taken)

"""What the formats of a run's model cost and lose: accuracy and speed on its validation images, beside its own model.

`python -m benchmarks.formats RUN … --rounds 3 --to FILE.json` prints a table. The rounds go through all formats in
turn, so that what else the machine does meets each alike; speeds are medians over the rounds, each timed beside
the run's own model.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

from learner.exports import export
from learner.exports.formats import FORMATS
from learner.exports.measured import Measured
from learner.jobs.process import use_patient_threads
from learner.store import Store

KINDS = [kind for kind, format_ in FORMATS.items() if format_.is_measured and kind != "coreml"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--to", type=Path)
    options = parser.parse_args()
    use_patient_threads()
    store, rows = Store(), []
    for run_id in options.runs:
        seen: dict[str, list[tuple[int, Measured]]] = {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                with tempfile.TemporaryDirectory() as folder:
                    made = export(store, run_id, kind, Path(folder))
                    assert made.proof.on_validation is not None
                    seen[kind].append((made.bytes, made.proof.on_validation))
        rows += [row(store.runs.get(run_id).recipe["backbone"], kind, found) for kind, found in seen.items()]
    for each in rows:
        print(" | ".join(f"{name} {value}" for name, value in each.items()))
    if options.to:
        options.to.write_text(json.dumps(rows, indent=2), "utf-8")


def row(backbone: str, kind: str, found: list[tuple[int, Measured]]) -> dict[str, object]:
    """Of one format, over the rounds."""
    size, first = found[0]
    before, now = first.accuracies
    alone = [each.export.alone_ms for _, each in found]
    batch = [each.export.batch_ms for _, each in found if each.export.batch_ms is not None]
    return {
        "backbone": backbone,
        "format": kind,
        "MB": round(size / 1e6, 1),
        "accuracy": round(100 * now, 1),
        "run": round(100 * before, 1),
        "difference": [round(100 * each, 1) for each in first.discordance.interval],
        "same class": f"{first.same_class} of {first.images}",
        "same none": f"{first.same_none} of {first.images}",
        "largest": round(first.largest, 3),
        "alone ms": round(median(alone), 1),
        "batch ms": round(median(batch), 1) if batch else None,
        "run alone ms": round(median(each.original.alone_ms for _, each in found), 1),
        "run batch ms": round(median(each.original.batch_ms or 0 for _, each in found), 1),
    }


if __name__ == "__main__":
    main()

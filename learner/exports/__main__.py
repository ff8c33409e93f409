"""Make and prove what the page offers: `python -m learner.exports RUN KIND COVERAGE`."""

import json
import signal
import sys

from learner.errors import ThawError
from learner.exports import export
from learner.exports.proofs import download_file, keep_proof, proof_file, remove_export
from learner.questions.answers import say_progress
from learner.store import Store


def main() -> None:
    """A person who stops it leaves nothing behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    run_id, kind, coverage = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    store = Store()
    answer = proof_file(store.workspace, run_id, kind)
    answer.parent.mkdir(parents=True, exist_ok=True)
    try:
        remove_export(store.workspace, run_id, kind)
        target = download_file(store.workspace, run_id, kind)
        made = export(store, run_id, kind, target, coverage, lambda text: say_progress(answer, text))
        keep_proof(store.workspace, run_id, made.proof)
    except ThawError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    finally:
        answer.with_suffix(".txt").unlink(missing_ok=True)


if __name__ == "__main__":
    main()

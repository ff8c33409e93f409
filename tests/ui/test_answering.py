"""How often models may be asked."""

from pathlib import Path

from learner.inference import batches
from learner.store import Store
from learner.workspace import Workspace
from ui.predict.answering import RATE, TOO_OFTEN, Asker

MOST = int(RATE.partition("/")[0])


def test_a_space_that_asks_very_often_is_told_to_wait_and_others_are_not(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Asker, "_do", lambda *_: None)
    asker = Asker()
    busy, other = (Store(Workspace(tmp_path / name)) for name in ("busy", "other"))
    asked = [batches.begin(busy.workspace, str(number), "camera") for number in range(MOST + 1)]
    for batch in asked:
        asker.begin(busy, batch, 1, "model")
    assert [asker.failure(batch, "model") for batch in asked] == [""] * MOST + [TOO_OFTEN]
    theirs = batches.begin(other.workspace, "theirs", "camera")
    asker.begin(other, theirs, 1, "model")
    assert asker.failure(theirs, "model") == ""

"""What monitoring asks: does the process answer, can it work, and how much is there to do."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text

from learner.datasets import add_dataset
from learner.operations.figures import STATUSES
from learner.store import Store
from learner.store.database import NEWEST_REVISION
from learner.workspace import Workspace
from tests.patience import GIVE_UP_S, until
from tests.samples import ROOT, make_photos, small_recipe
from tests.serving import processes, serve

ADDRESSES = ["/health", "/ready", "/metrics"]


def figures(client: httpx.Client) -> dict[str, float]:
    """Every figure by its name, those of runs by `thaw_runs <status>`."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.parametrize("path", ADDRESSES)
def test_the_addresses_answer_and_nobody_keeps_what_they_said(client, path):
    until(lambda: client.get("/ready").status_code == 200)  # tables are made as the server begins
    for method in ("GET", "HEAD"):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert client.get(path, headers={"Host": "evil.example"}).status_code == 421
    assert client.post(path).status_code == 405


def test_figures_follow_what_there_is(client, workspace, tmp_path):
    until(lambda: client.get("/ready").status_code == 200)
    store = Store(workspace)
    add_dataset(store, make_photos(tmp_path / "photos", {"cat": 3, "dog": 4}), "pets")
    add_dataset(store, make_photos(tmp_path / "more", {"cat": 5, "dog": 5}, seed=3), "pets")  # a second version
    first = store.submit(small_recipe())
    store.submit(small_recipe(), running=True)
    store.runs.delete(store.submit(small_recipe()))
    worker = store.workers.start()
    upload = client.post("/api/uploads").json()["id"]
    told = until(lambda: (found := figures(client))["thaw_uploads_in_progress"] == 1 and found)
    assert told["thaw_runs queued"] == 1 and 0 < told["thaw_queue_oldest_seconds"] < GIVE_UP_S
    assert told["thaw_runs running"] == 1
    assert {name.removeprefix("thaw_runs ") for name in told if name.startswith("thaw_runs ")} == set(STATUSES)
    assert (told["thaw_queue_length"], told["thaw_workers_alive"], told["thaw_uploads_in_progress"]) == (1, 1, 1)
    assert (told["thaw_datasets"], told["thaw_images"], told["thaw_database_up"]) == (1, 10, 1)
    assert told["thaw_disk_free_bytes"] > 0 < told["thaw_disk_used_bytes"]
    assert told["process_resident_memory_bytes"] > 0

    client.delete(f"/api/uploads/{upload}")
    store.workers.end(worker)
    store.runs.ask(first, "stop")
    after = until(lambda: (found := figures(client))["thaw_runs stopped"] == 1 and found)
    assert (after["thaw_queue_length"], after["thaw_queue_oldest_seconds"]) == (0, 0)
    assert (after["thaw_workers_alive"], after["thaw_uploads_in_progress"]) == (0, 0)


def test_an_open_page_is_counted(client, served):
    from websockets.sync.client import connect

    before = figures(client)["thaw_page_sessions"]
    with connect(f"{served[0].replace('http', 'ws')}/_stcore/stream", open_timeout=GIVE_UP_S):
        until(lambda: figures(client)["thaw_page_sessions"] == before + 1)
    until(lambda: figures(client)["thaw_page_sessions"] == before)


def test_figures_are_asked_for_once_in_some_seconds_however_many_ask(pets, monkeypatch):
    from ui.web import health

    asked = []
    monkeypatch.setattr(health, "figures_of", lambda store: asked.append(store) or None)
    collector = health.Figured()
    for _ in range(10):
        list(collector.collect())
    assert len(asked) == 1
    monkeypatch.setattr(health, "KEPT_S", 0.0)
    collector._until = 0.0
    for _ in range(3):
        list(collector.collect())
    assert len(asked) == 4


def test_the_process_has_not_loaded_torch(client, workspace):
    """In a process that starts from nothing, as those of other tests are forked from one that has it."""
    code = "import sys, ui.web; assert not {'torch', 'fastai', 'timm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=GIVE_UP_S)


# Not ready


@pytest.fixture(params=["sqlite", "postgresql"])
def own(request, tmp_path, monkeypatch):
    """A client of a server with a workspace of its own, and the address of its database."""
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "thaw"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if request.param == "postgresql":
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_database"))
    with processes() as start:
        address, process = serve(start)
        with httpx.Client(base_url=address, timeout=GIVE_UP_S) as client_:
            until(lambda: client_.get("/ready").status_code == 200)
            url = Workspace.current().database_url.replace("postgresql:", "postgresql+psycopg:")
            yield client_, url, psutil.Process(process.pid)


def test_tables_of_another_step_and_a_database_that_only_reads_are_not_ready(own):
    client, url, _ = own
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def set_step(step: str) -> httpx.Response:
        with engine.connect() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :step"), {"step": step})
        return client.get("/ready")

    old, newer = set_step("0003"), set_step("9999")
    assert (old.status_code, newer.status_code) == (503, 503)
    assert f"at step 0003, and this Thaw needs step {NEWEST_REVISION}" in old.text
    assert "A newer Thaw has changed the tables" in newer.text and "Update Thaw" in newer.text
    assert set_step(NEWEST_REVISION).status_code == 200
    assert client.get("/health").status_code == 200
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            name = connection.execute(text("SELECT current_database()")).scalar()
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :d AND pid <> :own"),
                {"d": name, "own": connection.execute(text("SELECT pg_backend_pid()")).scalar()},
            )
        told = "The database cannot be written: cannot execute UPDATE in a read-only transaction.\n"
        assert until(lambda: (found := client.get("/ready")).text == told and found).status_code == 503
    engine.dispose()


def test_a_database_that_is_held_damaged_or_gone_is_not_ready_and_the_process_still_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "thaw"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with processes() as start:
        address, _ = serve(start)
        with httpx.Client(base_url=address, timeout=GIVE_UP_S) as client:
            until(lambda: client.get("/ready").status_code == 200)
            file = tmp_path / "thaw" / "thaw.db"
            with closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                held = client.get("/ready")
            assert (held.status_code, "Another program has held the database" in held.text) == (503, True)
            assert client.get("/ready").status_code == 200

            (tmp_path / "thaw" / ".restoring").mkdir()
            assert "A backup is being restored" in client.get("/ready").text
            (tmp_path / "thaw" / ".restoring").rmdir()

            for path in (tmp_path / "thaw").glob("thaw.db*"):
                path.write_bytes(b"garbage " * 1000)
            damaged = client.get("/ready")
            assert (damaged.status_code, "is damaged" in damaged.text) == (503, True)
            assert (
                until(lambda: (found := figures(client))["thaw_database_up"] == 0 and found)["thaw_page_sessions"] == 0
            )
            assert "Traceback" not in damaged.text
            assert client.get("/health").text == "ok\n"

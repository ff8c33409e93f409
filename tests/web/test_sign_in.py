"""Where people sign in, every address asks who sends a request, and gives nothing of a space that is not theirs."""

import re
from collections.abc import Iterator
from functools import cache

import httpx
import pytest
from streamlit.runtime import Runtime
from streamlit.web.server.starlette.starlette_app import create_streamlit_routes

import streamlit_app
from learner.datasets import add_dataset
from learner.people import space_of
from learner.store import Store
from learner.workspace import Workspace
from tests.patience import GIVE_UP_S, until
from tests.samples import make_photos
from tests.serving import free_port, processes, serve
from tests.web.signing_in import cookie_of, write_settings
from ui.web import routes
from ui.web.guard import needs_no_sign_in

OPEN = {
    "/_stcore/health",
    "/_stcore/host-config",
    "/_stcore/stream",
    "/auth/login",
    "/auth/logout",
    "/oauth2callback",
    "/health",
}
"""Addresses that have nothing of anybody's."""
BOB, CID, EVE = "bob@school.example", "cid@school.example", "eve@school.example"


@cache
def every_route() -> list[tuple[str, str]]:
    """(method, path with plain parts in the place of parameters) of all routes: Streamlit's and ours."""
    runtime = streamlit_app.app._create_runtime()
    Runtime._instance = None  # it never starts; tests of pages make their own
    found = []
    for route in [*create_streamlit_routes(runtime), *routes]:
        methods = (getattr(route, "methods", None) or {"GET"}) - {"HEAD", "OPTIONS"}
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        found += [(method, path) for method in sorted(methods) if path]
    return sorted(set(found))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("signed-in") / "thaw")


@pytest.fixture(scope="module")
def address(place) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, processes() as start:
        port = free_port()
        secrets = write_settings(place.root, f"http://127.0.0.1:{port}")
        patch.setenv("THAW_HOME", str(place.root))
        patch.delenv("DATABASE_URL", raising=False)
        patch.setenv("STREAMLIT_SECRETS_FILES", str(secrets))
        patch.setenv("THAW_PROBE_TOKEN", "a token for programs")
        yield serve(start, port)[0]


def asked(address: str, method: str, path: str, cookies: dict[str, str] | None = None, **how) -> httpx.Response:
    with httpx.Client(base_url=address, headers={"X-Thaw": "1"}, cookies=cookies, timeout=GIVE_UP_S) as client:
        return client.request(method, path, **how)


def test_routes_are_open_only_where_that_is_said():
    assert {path for _, path in every_route() if needs_no_sign_in(path)} == OPEN & {path for _, path in every_route()}


@pytest.mark.parametrize(("method", "path"), [one for one in every_route() if one[1] not in OPEN])
def test_a_stranger_gets_nothing_from_any_other_address(address, method, path):
    answer = asked(address, method, path)
    assert answer.status_code == 401 and answer.json() == {"error": "Sign in first."}


@pytest.mark.parametrize(("method", "path"), [one for one in every_route() if one[1] not in OPEN])
@pytest.mark.parametrize("space", [CID, "lab", "top", "nowhere"])
def test_no_address_says_whether_a_space_of_others_is_there(address, method, path, space):
    answer = asked(address, method, path, cookie_of("dan@school.example"), params={"space": space})
    assert answer.status_code == 404 and answer.json() == {"error": f"There is no space {space!r} for you here."}


@pytest.mark.parametrize(
    ("cookies", "status"),
    [
        (cookie_of(BOB, secret="another secret that is as long as it is"), 401),
        (cookie_of("mallory@evil.example"), 404),
        (cookie_of(BOB, email_verified=False), 404),
        (cookie_of(BOB, is_logged_in=False), 404),
        ({"_streamlit_user": "no cookie of ours"}, 401),
    ],
)
def test_who_is_not_vouched_for_or_not_named_enters_nowhere(address, cookies, status):
    assert asked(address, "POST", "/api/uploads", cookies).status_code == status


class TestTwoPeople:
    @pytest.fixture(scope="class")
    def picture(self, place, tmp_path_factory) -> str:
        """The content of a photo in Bob's own space."""
        store = Store(space_of(place, BOB))
        add_dataset(store, make_photos(tmp_path_factory.mktemp("bobs"), {"cat": 2, "dog": 2}), "pets")
        return store.datasets.images(store.datasets.version("pets").id)[0].sha256

    def test_pictures_are_shown_to_those_of_the_space_only(self, address, picture):
        path = f"/api/pictures/thumbnail/{picture}.jpg"
        own = asked(address, "GET", path, cookie_of(BOB), params={"data": "pets", "space": BOB})
        assert own.status_code == 200 and own.headers["content-type"] == "image/jpeg"
        admin = asked(address, "GET", path, cookie_of("ada@school.example"), params={"data": "pets", "space": BOB})
        assert admin.status_code == 200
        for space in (BOB, CID, ""):
            other = asked(address, "GET", path, cookie_of(CID), params={"data": "pets", "space": space})
            assert other.status_code == 404  # although the thumbnail has been made

    def test_an_upload_that_another_began_is_unknown(self, address, place):
        upload = asked(address, "POST", "/api/uploads", cookie_of(BOB)).json()["id"]
        mine = {"params": {"name": "a.jpg"}, "content": b"x"}
        assert asked(address, "PUT", f"/api/uploads/{upload}/files", cookie_of(CID), **mine).status_code == 400
        assert asked(address, "PUT", f"/api/uploads/{upload}/files", cookie_of(BOB), **mine).status_code == 204
        assert asked(address, "POST", f"/api/uploads/{upload}/done", cookie_of(CID)).status_code == 400
        assert asked(address, "DELETE", f"/api/uploads/{upload}", cookie_of(CID)).status_code == 400
        assert asked(address, "DELETE", f"/api/uploads/{upload}", cookie_of(BOB)).status_code == 204

    def test_a_viewer_brings_pictures_to_predict_and_nothing_else(self, address):
        def sent(query: dict[str, str]) -> httpx.Response:
            upload = asked(address, "POST", "/api/uploads", cookie_of(EVE), params={"space": "lab"}).json()["id"]
            file = {"params": {"name": "a.jpg", "space": "lab"}, "content": b"x"}
            asked(address, "PUT", f"/api/uploads/{upload}/files", cookie_of(EVE), **file)
            return asked(
                address, "POST", f"/api/uploads/{upload}/done", cookie_of(EVE), params={"space": "lab"} | query
            )

        refused = sent({})
        assert refused.status_code == 400 and "Your role is viewer" in refused.json()["error"]
        assert "batch" in sent({"for": "predict"}).json()


@pytest.mark.parametrize("path", ["/ready", "/metrics"])
def test_programs_that_watch_the_server_have_a_token(address, path):
    for token, status in (("a token for programs", 200), ("another", 401), ("a token", 401)):
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=GIVE_UP_S) as client:
            until(lambda client=client, status=status: client.get(path).status_code == status)  # 503 while it begins
            assert client.get("/api/pictures/x/x.jpg").status_code == 401  # for nothing else


def test_guessing_is_slowed_down(address):
    codes = [asked(address, "GET", "/oauth2callback").status_code for _ in range(130)]
    assert codes[0] != 429 and codes[-1] == 429

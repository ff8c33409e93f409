"""What a real browser asks for and lets in: nothing but this server, and no page in another site's hands."""

import http.server
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from learner.datasets import add_dataset
from tests.finished import finish
from tests.samples import make_photos

PICTURE = "![x](http&#58;&#47;&#47;127.0.0.1&#58;9&#47;x.png)"
"""A class that Markdown reads as a picture at another server."""
VIEWS = [
    *(f"data?view={view}" for view in ("pictures", "checks", "split", "card", "versions")),
    "train",
    "runs",
    *(f"results?view={view}" for view in ("overview", "mistakes", "compare", "help")),
    "predict",
]


@pytest.fixture
def address(store, serve, tmp_path) -> str:
    add_dataset(store, make_photos(tmp_path / "photos", {PICTURE: 8, "dog": 8}, size=(48, 40)), "pets")
    paths = [image.path for image in store.datasets.images(store.datasets.version("pets").id)]
    finish(store, dict.fromkeys(paths[::3], PICTURE))
    return serve()


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A page of another site that shows the page named after `#` in a frame."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(
                b"<iframe id=f width=900 height=600></iframe><script>f.src=location.hash.slice(1)</script>"
            )

        def log_message(self, *_):
            """Tests are quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_no_page_asks_another_server_for_anything(page, address):
    asked: list[str] = []
    told: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    for view in VIEWS:
        page.goto(f"{address}/{view}")
        expect(page.locator("h1")).to_be_visible()
        expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
        assert page.locator('img[src*="127.0.0.1:9"]').count() == 0, view
        assert "data:image/svg" in page.locator('link[rel*="icon"]').first.get_attribute("href"), view
    ours = urlsplit(address).netloc
    others = {url for url in asked if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != ours}
    assert not others
    assert not [text for text in told if "Content Security Policy" in text or "Content-Security-Policy" in text]


def test_a_site_whose_name_points_here_gets_no_page(page, address):
    answer = page.goto(address.replace("127.0.0.1", "evil.example") + "/data")
    assert answer.status == 421
    expect(page.locator("body")).to_contain_text("THAW_HOSTS")


def test_another_site_cannot_show_a_page_in_a_frame(page, address, elsewhere):
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto(f"{elsewhere}/#{address}/data")
    assert page.frames[1].url.startswith("chrome-error:")

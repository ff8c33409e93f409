"""People sign in with a real OpenID Connect provider, and each sees what is theirs."""

import re

import pytest
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Page, expect

from learner.people import space_of
from learner.store import Store
from tests.web.signing_in import write_settings

PEOPLE = ("bob@school.example", "cid@school.example", "eve@school.example", "mallory@evil.example")


@pytest.fixture
def provider():
    """The address of a provider that knows these people by their addresses."""
    users = [User(sub=name, claims={"email": name, "email_verified": True}) for name in PEOPLE]
    with run_server_in_thread(user_claims=users) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def sign_in(page: Page, address: str, name: str) -> None:
    page.context.clear_cookies()
    page.goto(f"{address}/data")
    expect(page.get_by_text("Sign in to see your data sets and runs")).to_be_visible()
    page.get_by_role("button", name="Sign in").click()
    page.locator("input[name=sub]").fill(name)
    page.get_by_role("button", name=re.compile("^(Authorize|Continue|Sign in)", re.IGNORECASE)).first.click()


def test_each_signs_in_and_sees_only_what_is_theirs(serve, workspace, page, provider, monkeypatch, port):
    secrets = write_settings(workspace.root, f"http://127.0.0.1:{port}", provider)
    monkeypatch.setenv("STREAMLIT_SECRETS_FILES", str(secrets))
    address = serve()

    sign_in(page, address, "bob@school.example")
    expect(page.get_by_text("No data sets yet.")).to_be_visible()
    page.get_by_role("button", name=re.compile("sample", re.IGNORECASE)).first.click()
    expect(page.get_by_text("Version 1.")).to_be_visible()
    assert Store(space_of(workspace, "bob@school.example")).datasets.names()

    sign_in(page, address, "cid@school.example")
    expect(page.get_by_text("No data sets yet.")).to_be_visible()
    page.goto(f"{address}/data?space=bob@school.example")
    expect(page.get_by_text("There is no space 'bob@school.example' for you here.")).to_be_visible()

    sign_in(page, address, "eve@school.example")
    expect(page.get_by_text("Your role is viewer")).to_be_visible()

    sign_in(page, address, "mallory@evil.example")
    expect(page.get_by_text("mallory@evil.example may not enter here")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").click()  # the provider asks, too
    expect(page.get_by_text("Sign in to see your data sets and runs")).to_be_visible()

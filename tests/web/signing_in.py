"""A server that asks people to sign in, and the cookies of people who have."""

import json
from pathlib import Path

from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

SECRET = "a secret of these tests, forty characters"
RULES = """
people:
  - {who: ada@school.example, role: admin}
  - {who: eve@school.example, role: viewer}
  - {who: "*@school.example", role: trainer}
spaces:
  lab: {members: ["bob@school.example", "eve@school.example"]}
"""


def write_settings(home: Path, address: str, provider: str = "http://127.0.0.1:1", rules: str = RULES) -> Path:
    """`people.yaml` in the workspace, and Streamlit's secrets beside it; returns their path."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "people.yaml").write_text(rules)
    secrets = home.with_name("secrets.toml")
    secrets.write_text(
        f'[auth]\nredirect_uri = "{address}/oauth2callback"\ncookie_secret = "{SECRET}"\nclient_id = "thaw"\n'
        f'client_secret = "known to both"\nserver_metadata_url = "{provider}/.well-known/openid-configuration"\n'
    )
    return secrets


def cookie_of(email: str, secret: str = SECRET, **claims) -> dict[str, str]:
    """The cookie that Streamlit sets once the provider has vouched for that address."""
    said = json.dumps({"email": email, "is_logged_in": True, "origin": "any"} | claims)
    return {USER_COOKIE_NAME: create_signed_value(secret, USER_COOKIE_NAME, said).decode()}

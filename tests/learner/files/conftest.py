"""A bucket of its own for each test, reached through a proxy, and stores of several machines that share it."""

import uuid
from collections.abc import Callable, Iterator

import boto3
import pytest

from learner.store import Store
from learner.workspace import Workspace
from tests.s3 import KEYS, Proxy, proxy_before, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(scope="session")
def s3_proxy(s3) -> Iterator[Proxy]:
    with proxy_before(s3) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3, s3_proxy, monkeypatch) -> Iterator[Proxy]:
    """THAW_FILES names an empty bucket; yields the proxy before it."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": s3_proxy.url}.items():
        monkeypatch.setenv(name, value)
    name = f"thaw-{uuid.uuid4().hex}"
    client(s3).create_bucket(Bucket=name)
    monkeypatch.setenv("THAW_FILES", f"s3://{name}/files")
    s3_proxy.forget()
    yield s3_proxy
    s3_proxy.forget()


def client(url: str):
    return boto3.client("s3", endpoint_url=url, aws_access_key_id="testing", aws_secret_access_key="testing")


@pytest.fixture
def machine(bucket, workspace, tmp_path, monkeypatch) -> Callable[[str], Store]:
    """Opens the store of a machine with a folder of its own, which shares the database and the bucket with others."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'shared.db'}")

    def opened(name: str) -> Store:
        monkeypatch.setenv("THAW_HOME", str(tmp_path / name))
        return Store(Workspace(tmp_path / name))

    return opened

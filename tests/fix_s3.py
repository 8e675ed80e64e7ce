"""A bucket on a real S3 server, the hook that reaches it, and a count of the calls that it makes."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.fix_proxy import Faults, Proxy

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook

AWS = {"conn_type": "aws", "login": "test", "password": "test"}


@pytest.fixture(scope="session")
def parsed_once() -> Iterator[None]:
    """Have botocore parse its description of each service once, and not for each client: most of these tests' time."""
    from botocore.loaders import create_loader

    loader = create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", lambda *_, **__: loader)
        yield


@pytest.fixture
def s3_hook(s3_endpoint: str, connection: Callable[..., str]) -> S3Hook:
    """Return a hook on the server, through the connection ``aws_default``."""
    from tradewind.amazon.s3.hooks import S3Hook

    connection("aws_default", {**AWS, "extra": {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}})
    return S3Hook()


@pytest.fixture
def bucket(s3_hook: S3Hook) -> str:
    """Return an empty bucket of a random name."""
    name = f"test-{secrets.token_hex(6)}"
    s3_hook.create_bucket(name)
    return name


@pytest.fixture
def calls(s3_hook: S3Hook) -> Counter[str]:
    """Count the hook's calls by the operation's name."""
    seen: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        seen[model.name] += 1

    s3_hook.client().meta.events.register("before-call.s3", count)
    return seen


@pytest.fixture
def through(
    s3_endpoint: str, s3_hook: S3Hook, connection: Callable[..., str]
) -> Iterator[Callable[[Faults, int], tuple[S3Hook, Proxy]]]:
    """Return a function that makes a hook which reaches the server through a proxy with faults."""
    from tradewind.amazon.s3.hooks import S3Hook

    proxies: list[Proxy] = []

    def make(faults: Faults, seed: int) -> tuple[S3Hook, Proxy]:
        url = urlsplit(s3_endpoint)
        assert url.hostname
        assert url.port
        proxy = Proxy((url.hostname, url.port), faults, seed)
        proxies.append(proxy)
        proxy.__enter__()
        connection("faulty", {**AWS, "extra": {"endpoint_url": proxy.url, "region_name": "us-east-1"}})
        return S3Hook("faulty"), proxy

    yield make
    for proxy in proxies:
        proxy.__exit__()

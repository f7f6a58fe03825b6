"""What is special about values in S3."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from support.stores import FakeS3, ManualClock, Process

from potassium.store import S3Config, Store


@pytest.fixture
def store(fake_s3: FakeS3, clock: ManualClock) -> Iterator[Store]:
    store = Store(config=config_of(fake_s3.port), clock=clock)
    yield store
    store.close()


def config_of(port: int, **options: str) -> S3Config:
    url = f"http://127.0.0.1:{port}"
    return S3Config("id", "secret", "values", region="us-east-1", endpoint_url=url, **options)  # type: ignore[arg-type]


def test_the_configuration_is_that_of_potassium_0_5(fake_s3: FakeS3) -> None:
    """By name and in order; what else there is has to be named."""
    config = S3Config(aws_access_key_id="id", aws_secret_access_key="secret", bucket="values")  # noqa: S106
    assert config == S3Config("id", "secret", "values", "json")


def test_an_object_is_the_value_under_its_key(store: Store, fake_s3: FakeS3) -> None:
    """As Potassium 0.5 has it, so what that has written is read; an old value never expires."""
    store.set("a/b c", {"a": [1]}, ttl=None)
    assert fake_s3.objects["/values/a/b%20c"][0] == b'{"a":[1]}'
    _body, headers = fake_s3.objects["/values/a/b%20c"]
    fake_s3.objects["/values/old"] = b'["old"]', headers
    assert store.get("old") == ["old"]


def test_keys_may_have_a_prefix(fake_s3: FakeS3) -> None:
    store = Store(config=config_of(fake_s3.port, prefix="cache/"))
    store.set("key", 1)
    assert [*fake_s3.objects] == ["/values/cache/key"]
    assert store.get("key") == 1
    store.delete("key")
    assert fake_s3.objects == {}
    store.close()


def test_what_has_expired_is_emptied_when_it_is_asked_for(
    store: Store, fake_s3: FakeS3, clock: ManualClock
) -> None:
    """Once; what S3 then keeps is for a lifecycle rule to delete."""
    store.set("key", "x" * 1000, ttl=10)
    clock.now += 11
    assert store.get("key") is None
    empty = fake_s3.objects["/values/key"]
    assert empty[0] == b""
    assert store.get("key") is None
    assert fake_s3.objects["/values/key"] is empty


def test_what_is_written_while_the_old_value_is_emptied_stays(
    store: Store, fake_s3: FakeS3, clock: ManualClock
) -> None:
    """Two servers ask for an old value at a time, and one of them has a new one already."""
    other = Store(config=config_of(fake_s3.port), clock=clock)
    store.set("key", "old", ttl=10)

    def late() -> float:
        if not written:
            written.append(True)
            other.set("key", "new", ttl=None)
        return clock.now + 11

    written: list[bool] = []
    reader = Store(config=config_of(fake_s3.port), clock=late)
    assert reader.get("key") is None  # it had asked before
    assert other.get("key") == "new"
    for one in (other, reader):
        one.close()


def test_credentials_may_be_those_of_the_environment(
    fake_s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    url = f"http://127.0.0.1:{fake_s3.port}"
    store = Store(config=S3Config(bucket="values", endpoint_url=url))
    store.set("key", 1)
    assert store.get("key") == 1
    store.close()


def test_moto_keeps_arrays_and_empties_what_has_expired(
    s3_server: Process, clock: ManualClock
) -> None:
    """The same with a server that others have written."""
    store = Store(config=config_of(s3_server.port, prefix="arrays/"), clock=clock)
    store.set("key", np.arange(4), ttl=10)
    np.testing.assert_array_equal(store.get("key"), np.arange(4))
    clock.now += 11
    assert store.get("key") is None
    url = f"http://127.0.0.1:{s3_server.port}/values/arrays/key"
    assert httpx.get(url, trust_env=False).content == b""
    store.close()


def test_the_region_is_that_of_the_configuration(
    fake_s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or that of the environment, or us-east-1: requests are signed for it."""
    url = f"http://127.0.0.1:{fake_s3.port}"
    regions = []
    for region, environment in (("eu-west-1", "eu-west-2"), (None, "eu-west-2"), (None, None)):
        monkeypatch.delenv("AWS_REGION", raising=False)
        if environment is not None:
            monkeypatch.setenv("AWS_REGION", environment)
        store = Store(config=S3Config("id", "secret", "values", region=region, endpoint_url=url))
        store.set("key", 1)
        store.close()
        regions.append(fake_s3.signed_for)
    assert regions == ["eu-west-1", "eu-west-2", "us-east-1"]

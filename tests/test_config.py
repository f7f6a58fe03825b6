"""Groups of options."""

import dataclasses
from base64 import b64encode
from math import inf, nan
from typing import Any

import pytest

from potassium import Batch, Jobs, Limits, Potassium, UsageError, Webhooks, Workers
from potassium.config import default_workers
from potassium.config.jobs import LARGEST_OUTPUT
from potassium.serving.composition import parts_of


@pytest.mark.parametrize("field", ["queue_size", "body_size", "body_memory", "json_values"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "8", None, True])
def test_limits_are_whole_numbers_above_zero(field: str, value: object) -> None:
    """An invalid limit fails when it is written, and the message names it."""
    with pytest.raises(UsageError, match=field):
        Limits(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["body_timeout", "timeout", "grace_period", "hang_timeout"])
@pytest.mark.parametrize("value", [0, -1, "8", True, float("inf"), float("nan")])
def test_times_are_seconds_above_zero(field: str, value: object) -> None:
    """An invalid time fails when it is written, and the message names it."""
    with pytest.raises(UsageError, match=field):
        Limits(**{field: value})  # type: ignore[arg-type]


def test_priorities_are_on_or_off() -> None:
    """``priorities`` says whether there are levels; it is not a level itself."""
    with pytest.raises(UsageError, match="priorities"):
        Limits(priorities="high")  # type: ignore[arg-type]


def test_shares_are_on_or_off() -> None:
    """``fair`` says whether the places are shared out; it is not a share itself."""
    with pytest.raises(UsageError, match="fair"):
        Limits(fair=0.5)  # type: ignore[arg-type]


def test_a_limit_that_there_is_not_is_named() -> None:
    """A typo fails when it is written."""
    with pytest.raises(TypeError, match="quue_size"):
        Limits(quue_size=1)  # type: ignore[call-arg]


def test_limits_do_not_change() -> None:
    """A limit cannot be changed afterwards."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().queue_size = 5  # type: ignore[misc]


def test_the_defaults_are_the_documented_ones() -> None:
    """256 waiting calls, bodies of 10 MiB that take 30 s and 192 MiB together, no timeout."""
    assert Limits() == Limits(
        queue_size=256,
        body_size=10 * 1024 * 1024,
        body_memory=192 * 1024 * 1024,
        json_values=1_000_000,
        body_timeout=30,
        timeout=None,
    )


DATABASE = "postgresql://me:secret@db/jobs"
IMPOSSIBLE: tuple[Any, ...] = (-1, "8", None, True, inf, nan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"max_size": value}, "max_size") for value in (*IMPOSSIBLE, 0, 1.5)),
        *(({"max_delay": value}, "max_delay") for value in IMPOSSIBLE),
        ({"cost": 5}, "cost=5 must be a function of an item"),
        ({"cost": "len"}, "cost='len' must be a function of an item"),
        *(({"cost": len, "max_cost": value}, "max_cost") for value in (0, -1, "8", True, inf, nan)),
        ({"max_cost": 4096}, r"max_cost= needs cost="),
    ],
)
def test_a_batch_that_cannot_be_fails_when_it_is_written(
    options: dict[str, Any], message: str
) -> None:
    """The message names the value, and says what is required."""
    with pytest.raises(UsageError, match=message):
        Batch(**options)


def test_a_batch_may_wait_for_nobody() -> None:
    """``max_delay=0`` is valid: only calls that are already waiting are combined."""
    assert Batch(max_delay=0).max_delay == 0


def test_a_batch_does_not_change() -> None:
    """A rule that handlers share cannot be changed afterwards."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Batch().max_size = 5  # type: ignore[misc]


def test_a_batchs_defaults_are_the_documented_ones() -> None:
    """32 items, 5 ms, all of the same cost."""
    assert Batch() == Batch(max_size=32, max_delay=0.005, cost=None, max_cost=None)


@pytest.mark.parametrize("name", ["stream_stall_timeout", "send_timeout"])
@pytest.mark.parametrize("value", [0, -1, "8", True, inf, nan])
def test_the_time_of_a_client_that_reads_slowly_is_seconds_above_zero(
    name: str, value: Any
) -> None:
    """It is checked like the other times."""
    with pytest.raises(UsageError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("name", ["send_buffer", "send_memory"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "8", True])
def test_what_may_be_sent_ahead_is_a_number_of_bytes(name: str, value: Any) -> None:
    """It is checked like the other sizes."""
    with pytest.raises(UsageError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"path": value}, "path=.*the name of a file") for value in ("", 5, b"x", True)),
        *(({"keep_for": value}, "keep_for") for value in (*IMPOSSIBLE, 0)),
        *(({"expire_after": value}, "expire_after") for value in (0, -1, "8", True, inf, nan)),
        *(({"attempts": value}, "attempts") for value in (*IMPOSSIBLE, 0, 1.5)),
        *(({"backoff": value}, "backoff") for value in (*IMPOSSIBLE, 0)),
        *(({"max_watchers": value}, "max_watchers") for value in (*IMPOSSIBLE, 0, 1.5)),
        *(({"lease": value}, "lease") for value in (*IMPOSSIBLE, 0)),
        *(({"schema": value}, "schema=") for value in ("", "Jobs", "a-b", 'a"; DROP', "a b")),
        ({"max_output": LARGEST_OUTPUT + 1}, f"must be {LARGEST_OUTPUT} at most"),
    ],
)
def test_jobs_that_cannot_be_fail_when_they_are_written(
    options: dict[str, Any], message: str
) -> None:
    """The message names the value."""
    with pytest.raises(UsageError, match=message):
        Jobs(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"path": "jobs.db", "url": DATABASE},
        {"path": None, "url": DATABASE},
        {"path": "jobs.db", "store": object()},
        {"url": DATABASE, "store": object()},
    ],
)
def test_jobs_have_one_place(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="one of path=, url= and store="):
        Jobs(**options)


@pytest.mark.parametrize("url", ["", "jobs.db", "mysql://me:secret@db/jobs", "secret@db"])
def test_a_url_that_is_none_of_postgresql_is_refused(url: str) -> None:
    """The message repeats no password, and neither does what shows an object."""
    with pytest.raises(UsageError, match="postgresql://user@host/database") as raised:
        Jobs(url=url)
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(Jobs(url=DATABASE))


def test_the_defaults_of_jobs_are_the_documented_ones() -> None:
    """Jobs are kept for a day in a file in .potassium, never expire, and are attempted once."""
    assert Jobs() == Jobs(
        path=".potassium/jobs.db",
        url=None,
        schema="potassium",
        lease=30,
        keep_for=86_400,
        expire_after=None,
        attempts=1,
        backoff=1,
        max_watchers=1000,
    )


def secret(length: int, fill: int = 1) -> str:
    """Return a secret of ``length`` bytes, used only in these tests."""
    return "whsec_" + b64encode(bytes([fill]) * length).decode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secret": ""}, "whsec_ and 24 to 64 random bytes"),
        ({"secret": secret(24).removeprefix("whsec_")}, "whsec_"),
        ({"secret": secret(23)}, "24 to 64"),
        ({"secret": secret(65)}, "24 to 64"),
        ({"secret": secret(32)[:-1]}, "Base64"),
        ({"secret": secret(32) + "!"}, "Base64"),
        ({"secret": [secret(32), "no"]}, "whsec_"),
        ({"secret": [5]}, "whsec_"),
        ({"client_urls": 1}, "client_urls=1 must be True or False"),
        ({"client_urls": "yes"}, "client_urls"),
        ({"store": "disk"}, "store='disk' must be \"jobs\" or None"),
        ({"allow": ["10.0.0.1/8"]}, "allow=.*write a network"),
        ({"allow": ["localhost"]}, "allow"),
        ({"allow": [5]}, "allow"),
        *(({"timeout": value}, "timeout") for value in (*IMPOSSIBLE, 0)),
        *(
            ({name: value}, name)
            for name in ("per_host", "max_waiting", "max_bytes")
            for value in (*IMPOSSIBLE, 0, 1.5)
        ),
        *(
            ({"proxy": value}, "proxy=.*write the URL of an HTTP proxy")
            for value in (5, "", "proxy:3128", "socks5://a", "http://", "http://a:0", "http://a:b")
        ),
        ({"verify": True}, "verify=True must be a file of CA certificates"),
        ({"verify": "missing.pem"}, "verify='missing.pem' is not a file of CA certificates"),
        ({"verify": __file__}, "is not a file of CA certificates"),
    ],
)
def test_webhooks_that_cannot_be_fail_when_they_are_written(
    options: dict[str, Any], message: str
) -> None:
    """The message names the value, but repeats no secret."""
    with pytest.raises(UsageError, match=message) as raised:
        Webhooks(**options)
    given = options.get("secret")
    assert not given or str(given) not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (None, []),
        (secret(24), [b"\1" * 24]),
        (secret(64), [b"\1" * 64]),
        ([secret(32, 2), secret(32)], [b"\2" * 32, b"\1" * 32]),
        ([], []),
    ],
)
def test_secrets_stand_for_keys(given: Any, keys: list[bytes]) -> None:
    """There may be one or several, the newest first."""
    assert Webhooks(secret=given).keys == keys


def test_networks_may_be_of_both_versions() -> None:
    """A single address is a network too."""
    networks = ["10.1.0.0/16", "fd00::/8", "192.168.1.7"]
    assert Webhooks(allow=networks).allow == networks


def test_the_defaults_of_webhooks_are_the_documented_ones() -> None:
    """Unsigned, no client URLs, stored with the jobs, 10 s per attempt, 8 at a time per host."""
    assert Webhooks() == Webhooks(
        secret=None,
        client_urls=False,
        allow=(),
        store="jobs",
        timeout=10,
        per_host=8,
        max_waiting=10_000,
        max_bytes=67_108_864,
        proxy=None,
        verify=None,
    )


def test_a_proxy_that_cannot_be_is_not_repeated() -> None:
    """The message repeats no password."""
    with pytest.raises(UsageError) as raised:
        Webhooks(proxy="socks5://user:hunter2@a")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("option", ["jobs", "webhooks"])
@pytest.mark.parametrize("value", [True, {}, ".potassium/jobs.db", Limits()], ids=repr)
def test_groups_of_options_are_not_mixed_up(option: str, value: Any) -> None:
    """The message says which one to write."""
    with pytest.raises(UsageError, match=f"write {option}={option.capitalize()}"):
        Potassium("test", **{option: value})


NO_NUMBERS: tuple[Any, ...] = (0, -1, 1.5, True, None, b"cuda:0", (), [], {"cuda:0"})
NO_DEVICES: tuple[Any, ...] = (
    *("", "2", "gpu", "cuda", "cpu:0", "cuda:01", "cuda:0,cuda:1"),
    *(["auto"], [0]),
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"devices": value}, "write a number of workers above zero") for value in NO_NUMBERS),
        *(({"devices": value}, "is no device; write one such as") for value in NO_DEVICES),
        *(({"load_at_once": value}, "load_at_once") for value in (0, -1, 1.5, "8", True)),
        *(({"load_timeout": value}, "load_timeout") for value in (0, -1, "8", True, inf, nan)),
        *(({"app": value}, r"app=.*write MODULE:NAME or FILE:NAME") for value in ("", ":app", 5)),
    ],
)
def test_workers_that_cannot_be_fail_when_they_are_written(
    options: dict[str, Any], message: str
) -> None:
    """The message names the value, and says what to write."""
    with pytest.raises(UsageError, match=message):
        Workers(**options)


def test_workers_are_a_number_auto_or_devices() -> None:
    """By position; all else is named."""
    assert Workers() == Workers("auto")
    assert Workers(2).devices == 2
    assert Workers("cuda:1").devices == "cuda:1"
    assert Workers(["cuda:0", "cpu", "mps", "npu:12", "cpu"]).devices[-1] == "cpu"  # type: ignore[index]
    with pytest.raises(TypeError, match="positional"):
        Workers(2, 1)  # type: ignore[call-arg]


def test_the_defaults_of_workers_are_the_documented_ones() -> None:
    """One for each accelerator, all of them load at the same time, and for as long as it takes."""
    assert Workers() == Workers(devices="auto", load_at_once=None, app=None, load_timeout=None)


def test_workers_do_not_change() -> None:
    """Nor does the list of devices, even if whoever has written it changes it."""
    devices = ["cuda:0"]
    workers = Workers(devices)
    devices.append("no device")
    assert workers == Workers(("cuda:0",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        workers.devices = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "workers"),
    [
        ("", None),
        ("0", None),
        ("2", Workers(2)),
        (" auto ", Workers("auto")),
        ("cuda:0, cuda:1", Workers(["cuda:0", "cuda:1"])),
        ("cpu", Workers(["cpu"])),
    ],
)
def test_the_environment_may_ask_for_workers(
    monkeypatch: pytest.MonkeyPatch, value: str, workers: Workers | None
) -> None:
    """Unless the code says how many there are."""
    monkeypatch.delenv("POTASSIUM_WORKERS", raising=False)
    assert default_workers() is None
    monkeypatch.setenv("POTASSIUM_WORKERS", value)
    assert default_workers() == workers
    assert parts_of(Potassium("server")).plan.workers == workers
    assert parts_of(Potassium("server", workers=3)).plan.workers == Workers(3)


@pytest.mark.parametrize("value", ["off", "-1", "2.5", "auto,cpu", "cuda:0,", "9" * 5000])
def test_what_the_environment_says_of_workers_is_checked(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """The message names the variable, and shows the forms."""
    monkeypatch.setenv("POTASSIUM_WORKERS", value)
    with pytest.raises(UsageError, match=r"POTASSIUM_WORKERS=.* 0 for none"):
        Potassium("server")


@pytest.mark.parametrize("devices", [2, "auto", ("cuda:0", "cuda:1")])
def test_an_app_has_workers_by_their_devices_alone(devices: Any) -> None:
    """``workers=2`` is ``Workers(2)``; without any, there are none."""
    assert parts_of(Potassium("server", workers=devices)).plan.workers == Workers(devices)
    whole = Workers(devices, load_at_once=1)
    assert parts_of(Potassium("server", workers=whole)).plan.workers is whole
    assert parts_of(Potassium("server")).plan.workers is None

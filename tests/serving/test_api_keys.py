"""``ApiKeys``: keys, their owners, and what an app may be given."""

import hashlib
from typing import Any

import pytest

from potassium import ApiKeys, Potassium, UsageError
from potassium.testing import client

HASH = "sha256:" + hashlib.sha256(b"secret").hexdigest()


@pytest.mark.parametrize(
    "keys",
    [
        ["secret"],
        {"shop": "secret"},
        {"shop": ["old", "secret"]},
        [HASH],
        [HASH.upper().replace("SHA256", "sha256")],
        {"shop": ["old", HASH]},
        ApiKeys([HASH]),
        ApiKeys(iter(["secret"])),
    ],
    ids=repr,
)
async def test_a_key_may_have_a_name_or_be_a_hash(keys: Any) -> None:
    """Or both; the caller sends the key itself, and never its hash or name."""
    app = Potassium("test", api_keys=keys)
    app.handler(lambda cache, json_in: None)
    async with client(app) as http:
        answers = [
            await http.post("/", json={}, headers={"X-Api-Key": sent})
            for sent in ("secret", HASH, HASH.removeprefix("sha256:"), "shop", "")
        ]
    assert [answer.status_code for answer in answers] == [200, 401, 401, 401, 401]


def test_a_key_is_shown_nowhere() -> None:
    """Neither by ``repr``, nor in the name of an owner without a name."""
    keys = ApiKeys(["secret"])
    (owner,) = keys.owners.values()
    assert "secret" not in repr(keys)
    assert owner not in HASH


def test_the_owner_of_a_key_is_that_of_its_hash() -> None:
    """So that jobs stay theirs when the keys of an app become hashes."""
    assert ApiKeys(["secret"]).owners == ApiKeys([HASH]).owners


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ("secret", {}, "a list of keys"),
        ("", {}, "a list of keys"),
        (3, {}, "a list of keys"),
        ([], {}, "no key"),
        ({"shop": []}, {}, "no key"),
        (["sha256:abc"], {}, "64 hexadecimal digits"),
        ([" a"], {}, "whitespace"),
        ([None], {}, "printable ASCII"),
        ({"shop": None}, {}, "printable ASCII"),
        ({"": "secret"}, {}, "a name of letters"),
        ({"-": "secret"}, {}, "a name of letters"),
        ({"a b": "secret"}, {}, "a name of letters"),
        ({5: "secret"}, {}, "a name of letters"),
        ({"a": "secret", "b": HASH}, {}, "the same key"),
        (["secret"], {"open_paths": "/docs"}, "a list of paths"),
        (["secret"], {"open_paths": ["docs"]}, "write a path"),
        (["secret"], {"open_paths": [None]}, "write a path"),
        (["secret"], {"tenants": "yes"}, "True or False"),
    ],
    ids=repr,
)
def test_keys_that_cannot_be_fail_when_they_are_written(
    given: Any, options: Any, message: str
) -> None:
    """The message says what to write, and does not show a key."""
    with pytest.raises(UsageError, match=message) as caught:
        ApiKeys(given, **options)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("given", ["", 3, 0])
def test_an_app_is_not_opened_by_mistake(given: Any) -> None:
    """Only an empty list means that there are no keys."""
    with pytest.raises(UsageError, match="a list of keys"):
        Potassium("test", api_keys=given)


@pytest.mark.parametrize("value", [",", " ", ", ,"])
def test_keys_that_were_forgotten_are_a_mistake(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """A variable without a key must not open the app to everybody."""
    monkeypatch.setenv("POTASSIUM_API_KEYS", value)
    with pytest.raises(UsageError, match="POTASSIUM_API_KEYS"):
        Potassium("test")


def test_an_empty_variable_means_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as unset, as all of them do."""
    monkeypatch.setenv("POTASSIUM_API_KEYS", "")
    assert Potassium("test")._api_keys is None

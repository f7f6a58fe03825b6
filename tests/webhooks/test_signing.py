"""Webhook signatures, checked by the reference implementation."""

import base64
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from potassium.config import Webhooks
from potassium.webhooks.signing import signing_headers

OLD, NEW = ("whsec_" + base64.b64encode(bytes([letter]) * 32).decode() for letter in b"on")
BODY = b'{"out":1}'


def signed(*secrets: str, body: bytes = BODY) -> dict[str, str]:
    keys = Webhooks(secret=secrets or None).keys
    return signing_headers("d-1", body, at=time.time(), keys=keys)


def verify(secret: str, headers: dict[str, str], body: bytes = BODY) -> Any:
    return Webhook(secret).verify(body, headers)


def test_a_receiver_can_verify_what_it_gets() -> None:
    """What is signed with a secret passes the check of Standard Webhooks with the same secret."""
    assert verify(NEW, signed(NEW)) == {"out": 1}


@given(st.text())
def test_any_body_can_be_verified(text: str) -> None:
    """Any text in UTF-8 is signed as it goes over the wire."""
    body = text.encode("utf-8", "replace")
    Webhook(NEW).verify(body, signed(NEW, body=body), json_parse=False)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_secrets_can_rotate(secret: str) -> None:
    """While there are two secrets, a receiver may have either of them."""
    assert verify(secret, signed(NEW, OLD)) == {"out": 1}


def test_the_newest_secret_signs_first() -> None:
    """There is one signature for each secret, in the order of the secrets."""
    first, second = signed(NEW, OLD)["webhook-signature"].split(" ")
    assert [first, second] == [signed(secret)["webhook-signature"] for secret in (NEW, OLD)]


def test_another_body_does_not_pass() -> None:
    """A body that was changed in transit fails the check."""
    with pytest.raises(WebhookVerificationError):
        verify(NEW, signed(NEW), b'{"out":2}')


@pytest.mark.parametrize(("name", "value"), [("webhook-id", "d-2"), ("webhook-timestamp", "1")])
def test_id_and_time_are_signed(name: str, value: str) -> None:
    """A signed body cannot be sent again with another id or timestamp."""
    with pytest.raises(WebhookVerificationError):
        verify(NEW, signed(NEW) | {name: value})


def test_another_secret_does_not_pass() -> None:
    """Nobody can sign without the secret."""
    with pytest.raises(WebhookVerificationError):
        verify(NEW, signed(OLD))


def test_without_a_secret_there_is_no_signature() -> None:
    """The id and the time are sent all the same."""
    headers = signing_headers("d-1", BODY, at=12.9, keys=())
    assert headers == {"webhook-id": "d-1", "webhook-timestamp": "12"}

"""A value means the same however it is sent: in a response, a stream, a job or a webhook."""

import dataclasses
import enum
import json
import sys
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
import torch
from pydantic.dataclasses import dataclass as pydantic_dataclass
from support.sse import parse
from webhooks.receivers import Receiver, receiving

from potassium import Batch, Jobs, Potassium, Request, Response, send_webhook
from potassium.http.codec import encode
from potassium.testing import client

LONG = 80241446968629135069  # over 64 bits
NAN = float("nan")
DATES = np.array(["2024-01-01T00:00", "NaT"], dtype="datetime64[ns]")
FIRST = "2024-01-01T00:00:00"


class Color(enum.Enum):
    RED = "red"
    LONG = LONG


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Box:
    inner: Any


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    inner: Any = pydantic.Field(alias="isIn")
    size: int = pydantic.Field(default=1, serialization_alias="theSize")

    @pydantic.computed_field(alias="twiceTheSize")  # type: ignore[prop-decorator]  # its own form
    @property
    def twice(self) -> int:
        return 2 * self.size


@pydantic_dataclass
class Aliased:
    inner: Any = pydantic.Field(serialization_alias="isIn")


def in_model(value: Any) -> Model:
    return Model(isIn=value)


def out_of_model(value: Any) -> Any:
    return {"isIn": value, "theSize": 1, "twiceTheSize": 2}


SCALARS: dict[str, tuple[Any, Any]] = {
    "long": (LONG, LONG),
    "negative": (-LONG, -LONG),
    "uint64": (np.uint64(2**64 - 1), 2**64 - 1),
    "date": (date(2024, 1, 1), "2024-01-01"),
    "datetime": (datetime(2024, 1, 1), FIRST),  # noqa: DTZ001 - one without a zone
    "utc": (datetime(2024, 1, 1, tzinfo=UTC), f"{FIRST}Z"),
    "timestamp": (pd.Timestamp("2024-01-01", tz="UTC"), f"{FIRST}Z"),
    "nanosecond": (pd.Timestamp(1), "1970-01-01T00:00:00"),
    "datetime64": (np.datetime64("2024-01-01"), FIRST),
    "far date": (np.datetime64("20000-01-01"), "20000-01-01T00:00:00"),
    "NaT": (pd.NaT, None),
    "NaT of numpy": (np.datetime64("NaT"), None),
    "NA": (pd.NA, None),
    "time": (time(1, 2), "01:02:00"),
    "duration": (timedelta(days=1, seconds=1.5), "P1DT1.5S"),
    "timedelta64": (np.timedelta64(1, "D"), "P1D"),
    "Timedelta": (pd.Timedelta(days=1), "P1D"),
    "decimal": (Decimal("1.10"), "1.10"),
    "path": (PurePosixPath("/a"), "/a"),
    "address": (ip_address("10.0.0.1"), "10.0.0.1"),
    "network": (ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    "period": (pd.Period("2024-01"), "2024-01"),
    "uuid": (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    "enum": (Color.RED, "red"),
    "long enum": (Color.LONG, LONG),
    "float32": (np.float32(0.1), 0.1),
    "float16": (np.float16(0.1), 0.099975586),
    "true": (np.bool_(True), True),
}
VALUES: dict[str, tuple[Any, Any]] = {
    **SCALARS,
    "nan": ([NAN, float("inf"), np.float32(NAN), np.array([NAN])], [None, None, None, [None]]),
    "missing decimal": ([Decimal("NaN"), Decimal("-Infinity")], [None, None]),
    "dates": (DATES, [FIRST, None]),
    "reversed": (DATES[::-1], [None, FIRST]),
    "dates in 0 dimensions": (np.array("NaT", dtype="datetime64[s]"), None),
    "dates in 2 dimensions": (DATES.reshape(2, 1).T, [[FIRST, None]]),
    "durations": (np.array([1, "NaT"], dtype="timedelta64[s]"), ["PT1S", None]),
    "masked": (np.ma.array([0.5, 1], mask=[False, True]), [0.5, None]),
    "objects": (np.array([pd.NaT, LONG, None], dtype=object), [None, LONG, None]),
    "series": (pd.Series([0.1, None], dtype="float32"), [0.1, None]),
    "dates of pandas": (pd.Series(pd.to_datetime(["2024-01-01", None])), [FIRST, None]),
    "nullable": (pd.array([1, None], dtype="Int64"), [1, None]),
    "records": (
        pd.DataFrame({"a": [LONG, pd.NaT], "b": pd.to_datetime(["2024", None])}).to_dict("records"),
        [{"a": LONG, "b": FIRST}, {"a": None, "b": None}],
    ),
    "tensor": (torch.tensor([0.1]), [0.1]),
    "bfloat16": (torch.tensor([1.5], dtype=torch.bfloat16), [1.5]),
    "uint64 tensor": (torch.tensor([2**64 - 1], dtype=torch.uint64), [2**64 - 1]),
    "quantized": (torch.ones(1).to(torch.float8_e4m3fn), [1.0]),
    "nested": (
        {"a": [{"b": {1: (LONG, {2: DATES})}}]},
        {"a": [{"b": {"1": [LONG, {"2": [FIRST, None]}]}}]},
    ),
    "named tuple": (Pair(LONG, DATES), [LONG, [FIRST, None]]),
    "deque": (deque([LONG]), [LONG]),
    "range": (range(3), [0, 1, 2]),
    "views": (
        [{"a": LONG}.keys(), {"a": LONG}.values(), {"a": LONG}.items()],
        [["a"], [LONG], [["a", LONG]]],
    ),
    "sets": ([{LONG}, frozenset({1})], [[LONG], [1]]),
    "table": (
        pd.DataFrame(
            {
                "a": np.array([0.1], "float32"),
                "b": pd.to_datetime([None]),
                "c": pd.array([None], "Int64"),
            }
        ),
        [{"a": 0.1, "b": None, "c": None}],
    ),
    "arrow": (pa.table({"a": [LONG % 2**63], "b": [None]}), [{"a": LONG % 2**63, "b": None}]),
    "dataclass": (Box(Box(LONG)), {"inner": {"inner": LONG}}),
    "aliased": ([Aliased(Box(DATES))], [{"isIn": {"inner": [FIRST, None]}}]),
    "model": (in_model(LONG), out_of_model(LONG)),
    "models": (
        {1: [in_model(in_model(DATES))]},
        {"1": [out_of_model(out_of_model([FIRST, None]))]},
    ),
    "model of a tensor": (in_model(torch.tensor([0.1])), out_of_model([0.1])),
    "keys": (
        {key: 1 for key, _ in SCALARS.values()},
        {
            json.dumps(text) if not isinstance(text, str) else text: 1
            for _, text in SCALARS.values()
        },
    ),
}
for name, (value, right) in SCALARS.items():
    VALUES |= {
        f"{name} in a model": (in_model([value]), out_of_model([right])),
        f"{name} in an aliased dataclass": (Aliased(value), {"isIn": right}),
    }

Call = Callable[[httpx.AsyncClient, Receiver, str], Any]


async def direct(http: httpx.AsyncClient, _: Receiver, name: str, path: str = "/direct") -> Any:
    return (await http.post(path, json=name)).json()


async def response(http: httpx.AsyncClient, receiver: Receiver, name: str) -> Any:
    return await direct(http, receiver, name, "/response")


async def on_loop(http: httpx.AsyncClient, receiver: Receiver, name: str) -> Any:
    return await direct(http, receiver, name, "/async")


async def batch(http: httpx.AsyncClient, receiver: Receiver, name: str) -> Any:
    return await direct(http, receiver, name, "/batch")


async def finish(http: httpx.AsyncClient, receiver: Receiver, name: str) -> Any:
    return await direct(http, receiver, name, "/finish")


async def chunk(http: httpx.AsyncClient, name: str, accept: str) -> str:
    return (await http.post("/stream", json=name, headers={"Accept": accept})).text


async def events(http: httpx.AsyncClient, _: Receiver, name: str) -> Any:
    first, _end = parse((await chunk(http, name, "text/event-stream")).encode())
    return json.loads(first.data)


async def lines(http: httpx.AsyncClient, _: Receiver, name: str) -> Any:
    return json.loads(await chunk(http, name, "application/x-ndjson"))


async def raw(http: httpx.AsyncClient, _: Receiver, name: str) -> Any:
    return json.loads(await chunk(http, name, "*/*"))


async def job(http: httpx.AsyncClient, path: str, name: str) -> dict[str, Any]:
    asks = {"Prefer": "respond-async"}
    location = (await http.post(path, json=name, headers=asks)).headers["location"]
    await http.get(location, headers={"Prefer": "wait=10"})
    return {
        "document": (await http.get(location)).json(),
        "events": (await http.get(f"{location}/events")).text,
    }


async def job_output(http: httpx.AsyncClient, _: Receiver, name: str) -> Any:
    return (await job(http, "/direct", name))["document"]["output"]


async def job_waited_for(http: httpx.AsyncClient, _: Receiver, name: str) -> Any:
    asks = {"Prefer": "respond-async, wait=10"}
    return (await http.post("/direct", json=name, headers=asks)).json()


async def job_chunks(http: httpx.AsyncClient, _: Receiver, name: str) -> Any:
    (output,) = (await job(http, "/stream", name))["document"]["output"]
    return output


async def job_events(http: httpx.AsyncClient, _: Receiver, name: str) -> Any:
    told = parse((await job(http, "/stream", name))["events"].encode())
    (data,) = [event.data for event in told if event.type == "chunk"]
    return json.loads(data)


async def webhook_of_a_result(http: httpx.AsyncClient, receiver: Receiver, name: str) -> Any:
    await http.post("/posted", json=name)
    return json.loads((await receiver.next()).body)


async def webhook_of_a_handler(http: httpx.AsyncClient, receiver: Receiver, name: str) -> Any:
    await http.post("/sends", json=[name, receiver.url])
    return json.loads((await receiver.next()).body)


PATHS: list[Call] = [
    direct,
    response,
    on_loop,
    batch,
    finish,
    events,
    lines,
    raw,
    job_output,
    job_waited_for,
    job_chunks,
    job_events,
    webhook_of_a_result,
    webhook_of_a_handler,
]


def value_of(cache: Any, name: str) -> Any:
    return VALUES[name][0]


def posted_value_of(cache: Any, name: str) -> Any:
    return VALUES[name][0]


async def async_value_of(cache: Any, name: str) -> Any:
    return VALUES[name][0]


def values_of(cache: Any, names: list[str]) -> list[Any]:
    return [VALUES[name][0] for name in names]


def stream_of(cache: Any, name: str) -> Iterator[Any]:
    yield VALUES[name][0]


def response_of(cache: Any, name: str) -> Response:
    return Response(json=VALUES[name][0])


def send(cache: Any, ask: list[str]) -> None:
    name, url = ask
    send_webhook(url, VALUES[name][0])


@pytest.fixture
async def served() -> AsyncIterator[tuple[httpx.AsyncClient, Receiver]]:
    app = Potassium("test", jobs=Jobs(path=None))
    app.handler("/direct")(value_of)
    app.handler("/async")(async_value_of)
    app.handler("/batch", batch=Batch())(values_of)
    app.handler("/finish", finish=lambda value: value)(value_of)
    app.handler("/response")(response_of)
    app.handler("/stream")(stream_of)
    app.handler("/sends")(send)
    async with receiving() as receiver:
        app.handler("/posted")(app.result_webhook(receiver.url)(posted_value_of))
        async with client(app) as http:
            yield http, receiver


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
async def test_a_value_means_the_same_on_every_path(
    served: tuple[httpx.AsyncClient, Receiver], path: Call
) -> None:
    """To the last digit, and under the same names."""
    http, receiver = served
    got = {name: await path(http, receiver, name) for name in VALUES}
    assert got == {name: right for name, (_, right) in VALUES.items()}


@pytest.mark.parametrize("name", [name for name in VALUES if "aliased" not in name])
def test_a_value_means_the_same_where_dataclasses_have_no_aliases(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The encoder takes a shorter way in apps without dataclasses of pydantic."""
    monkeypatch.delitem(sys.modules, "pydantic.dataclasses")
    value, right = VALUES[name]
    assert json.loads(encode(value)) == right


class Sent(pydantic.BaseModel):
    id: int
    keys: dict[str, Any]


def of_dict(cache: Any, json_in: dict[str, Any]) -> Any:
    return json_in


def of_model(cache: Any, item: Sent) -> Any:
    return item


def of_request(cache: Any, request: Request) -> Any:
    return request.json


def of_mapping(cache: Any, value: Mapping[str, Any]) -> Any:
    return value


def of_dicts(cache: Any, items: list[dict[str, Any]]) -> Any:
    return items


def of_models(cache: Any, items: list[Sent]) -> Any:
    return items


@pytest.mark.parametrize("asks", [{}, {"Prefer": "respond-async, wait=10"}], ids=["call", "job"])
@pytest.mark.parametrize(
    ("function", "options"),
    [
        (of_dict, {}),
        (of_model, {}),
        (of_request, {}),
        (of_mapping, {}),
        (of_dicts, {"batch": Batch()}),
        (of_models, {"batch": Batch()}),
        (of_dict, {"prepare": lambda json_in: json_in}),
    ],
)
async def test_integers_of_any_size_come_in_and_go_out_again(
    function: Any, options: Any, asks: dict[str, str]
) -> None:
    """Whatever the handler takes, and whether or not it runs in the background."""
    app = Potassium("test", jobs=Jobs(path=None))
    app.handler(**options)(function)
    sent = {"id": LONG, "keys": {"a": [-LONG, 10**300, 2**64, 1.5], str(LONG): 0}}
    async with client(app) as http:
        answer = await http.post("/", json=sent, headers=asks)
    assert (answer.status_code, answer.json()) == (200, sent)

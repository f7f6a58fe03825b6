"""What programs make of the schema of the kitchen, which has handlers of every kind."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.server import Server, free_port, python, serve
from support.generated import python_client, run, typescript_program
from support.schemathesis import TIME, check_with_schemathesis

pytestmark = pytest.mark.timeout(100 * TIME)

IN_PYTHON = """
import sys
from io import BytesIO

from client import Client
from client.api.handlers import cook, dishes, many, photo, tree, words
from client.api.jobs import get_job, list_jobs
from client.api.kitchen import order
from client.api.server import get_readiness, get_status
from client.models import Dish, Dog, Job, JobPage, JobStatus, Order, OrderSize, Readiness, Status
from client.models import Problem422, Problem422Code, TreeInput, TreeOutput
from client.types import File

client = Client(base_url=sys.argv[1])
soup = Order(text="soup", count=2, size=OrderSize.LARGE, pet=Dog(kind="dog"), point=[1.0, 2.0])

dish = order.sync(client=client, body=soup)
assert isinstance(dish, Dish)
assert (dish.name, dish.price, dish.remark) == ("soup", 5.0, "")
assert isinstance(many.sync(client=client, body=soup), Dish)

refused = order.sync(client=client, body=Order(text=""))
assert isinstance(refused, Problem422)
assert refused.code is Problem422Code.INVALID_INPUT

grown = tree.sync(client=client, body=TreeInput(name="a", branches=[TreeInput(name="b")]))
assert isinstance(grown, TreeOutput)
assert isinstance(grown.branches, list)
assert grown.branches[0].name == "b"

assert words.sync(client=client, body=Order(text="a b")) == "ab"
lines = dishes.sync(client=client, body=Order(text="a b"))
assert isinstance(lines, str)
assert lines.startswith("{")
picture = photo.sync_detailed(client=client, body=File(BytesIO(b"picture")))
assert picture.content == b"picture"

job = cook.sync(client=client, body=soup)
assert isinstance(job, Job)
done = get_job.sync(job.id, client=client, prefer="wait=10")
assert isinstance(done, Job)
assert done.status is JobStatus.SUCCEEDED
assert isinstance(done.output, dict)
waited = cook.sync(client=client, body=soup, prefer="wait=10")
assert isinstance(waited, Dish)
page = list_jobs.sync(client=client, limit=1)
assert isinstance(page, JobPage)
assert len(page.jobs) == 1
ready = get_readiness.sync(client=client)
assert isinstance(ready, Readiness)
assert ready.ready
assert isinstance(get_status.sync(client=client), Status)
"""

IN_TYPESCRIPT = """
import type { components, operations, paths } from "./schema.d.ts";

declare const process: { argv: string[]; exit(status: number): never };
type Schemas = components["schemas"];
type Answer = paths["/order"]["post"]["responses"][200]["content"]["application/json"];
type Codes = Schemas["Problem422"]["code"];

async function post<Body>(path: keyof paths, body: Body): Promise<Response> {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body) };
  return fetch(process.argv[2] + path, options);
}

function expect(is: boolean): void {
  if (!is) process.exit(1);
}

const soup: Schemas["Order"] = {
  text: "soup", count: 2, size: "large", point: [1, 2], pet: { kind: "cat", lives: 9 },
};
const dish: Answer = await (await post("/order", soup)).json();
const same: Schemas["Dish"] = dish;
expect(same.name === "soup" && same.price === 5 && same.remark === "");

const problem: Schemas["Problem422"] = await (await post("/order", { text: "" })).json();
const code: Codes = "invalid_input";
expect(problem.code === code);

type Accepted = operations["cook"]["responses"][202]["content"]["application/json"];
const job: Accepted = await (await post("/cook", soup)).json();
const found = await fetch(`${process.argv[2]}/jobs/${job.id}`, { headers: { Prefer: "wait=10" } });
const done: Schemas["Job"] = await found.json();
expect(done.status === "succeeded" && done.error === undefined);
"""


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file, folder = (
        Path(__file__).parents[1] / "support" / "kitchen.py",
        tmp_path_factory.mktemp("kitchen"),
    )
    with serve(python(file), folder / "server.log", port=free_port(), cwd=folder) as server:
        yield server


def test_a_python_client_is_typed_and_calls_the_server(kitchen: Server, tmp_path: Path) -> None:
    """openapi-python-client makes one that type checkers accept, of models, streams and jobs."""
    schema = kitchen.get("/openapi.json").content
    program = python_client(schema, tmp_path, IN_PYTHON)
    run([sys.executable, program.name, kitchen.url], tmp_path)


def test_types_for_typescript_fit_what_the_server_takes_and_sends(
    kitchen: Server, tmp_path: Path
) -> None:
    """A program with the types of openapi-typescript compiles, and calls the server."""
    schema = kitchen.get("/openapi.json").content
    program = typescript_program(schema, tmp_path, IN_TYPESCRIPT)
    run(["node", program.name, kitchen.url], tmp_path)


def test_no_response_contradicts_the_schema(kitchen: Server) -> None:
    """Whatever is sent, each response is one that the schema allows, and what it forbids fails."""
    check_with_schemathesis(f"{kitchen.url}/openapi.json")

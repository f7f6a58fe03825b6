"""The schema of each example, as its server shows it, and what programs make of it.

Those with SmolLM2 take minutes: see ``nox -s schemathesis clients``.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
from support.generated import python_client, run, typescript_program
from support.schemathesis import CASES, LAX, TIME, check_with_schemathesis

SLOW = ("chat", "openai")
START_TIME = 120.0  # seconds; of those

IN_PYTHON = """
import sys

import httpx
from client import Client

client = Client(base_url=sys.argv[1], timeout=httpx.Timeout(60))
"""

IN_TYPESCRIPT = """
import type { components, paths } from "./schema.d.ts";

declare const process: { argv: string[]; exit(status: number): never };

async function call<Path extends keyof paths, Body>(path: Path, body: Body): Promise<any> {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body) };
  return (await fetch(process.argv[2] + path, options)).json();
}

function expect(is: boolean): void {
  if (!is) process.exit(1);
}
"""

# What each program does with the handlers of its example.
CALLS_IN_PYTHON = {
    "background": """
from client.api.handlers import train
from client.api.jobs import get_job
from client.models import Job, JobStatus, Line, Problem422

line = Line(x=[1.0, 2.0, 3.0], y=[3.0, 5.0, 7.0], epochs=10)
job = train.sync(client=client, body=line)
assert isinstance(job, Job)
done = get_job.sync(job.id, client=client, prefer="wait=30")
assert isinstance(done, Job)
assert done.status is JobStatus.SUCCEEDED
refused = train.sync(client=client, body=Line(x=[1.0, 2.0], y=[3.0, 5.0, 7.0]))
assert isinstance(refused, Problem422)
""",
    "bert": """
from client.api.handlers import guess
from client.models import GuessBody, GuessResponse200, Problem422

body = GuessBody.from_dict({"prompt": "Hello I am a [MASK] model."})
guesses = guess.sync(client=client, body=body)
assert isinstance(guesses, GuessResponse200)
assert guesses["outputs"][0]["token_str"] == "fashion"
assert isinstance(guess.sync(client=client, body=GuessBody()), Problem422)
""",
    "chat": """
from client.api.handlers import chat
from client.models import Chat, Message

said = chat.sync(client=client, body=Chat(messages=[Message(content="Hello")], max_tokens=2))
assert isinstance(said, str)
assert said
""",
    "cluster": """
from client.api.handlers import count, words
from client.models import CountResponse200, Problem422, Text

counted = count.sync(client=client, body=Text(text="to be or not to be"))
assert isinstance(counted, CountResponse200)
assert counted["most"] == [["to", 2], ["be", 2], ["or", 1]]
assert isinstance(count.sync(client=client, body=Text(text="")), Problem422)
lines = words.sync_detailed(client=client, body=Text(text="to be")).content
assert lines.splitlines() == [b'{"word":"to"}', b'{"word":"be"}']
""",
    "embeddings": """
from client.api.handlers import embed
from client.models import Item, Vectors

vectors = embed.sync(client=client, body=Item(texts=["a cat", "a dog"]))
assert isinstance(vectors, Vectors)
assert [len(vector) for vector in vectors.embeddings] == [384, 384]
""",
    "files": """
from io import BytesIO

from client.api.handlers import compare, histogram
from client.models import CompareResponse200, PairForm, Problem422
from client.types import File

pictures = [File(BytesIO(b"P5\\n2 1\\n255\\n" + pixels), "a.pgm") for pixels in (b"aa", b"az")]
compared = compare.sync(client=client, body=PairForm(before=pictures[0], after=pictures[1]))
assert isinstance(compared, CompareResponse200)
assert compared.additional_properties == {"changed": 1, "of": 2}
blank = {"width": 3, "height": 2}  # of any content type, so the generator leaves it out
picture = client.get_httpx_client().get("/blank", params=blank).content
counts = histogram.sync(client=client, body=File(BytesIO(picture)))
assert isinstance(counts, list)
assert counts[0] == 6
assert isinstance(histogram.sync(client=client, body=File(BytesIO(b"GIF89a"))), Problem422)
""",
    "mounted": """
import json

from client.api.handlers import detect_model_detect_post
from client.models import DetectModelDetectPostText as Text

text = Text(text="Where is the station?")
answer = detect_model_detect_post.sync_detailed(client=client, body=text)
assert json.loads(answer.content)["English"] > 0.5
""",
    "openai": """
from client.api.handlers import embed
from client.models import EmbeddingRequest, Embeddings

body = EmbeddingRequest(model="minilm", input_=["a cat", "a dog"])
vectors = embed.sync(client=client, body=body)
assert isinstance(vectors, Embeddings)
assert [len(vector) for vector in vectors.vectors] == [384, 384]
""",
    "vllm": """
from client.api.handlers import complete
from client.models import CompletionRequest, Problem422

said = complete.sync(client=client, body=CompletionRequest(model="qwen3-8b", prompt="Once"))
assert isinstance(said, str)
assert said.startswith("Once")
body = CompletionRequest(model="qwen3-8b", prompt="Once", temperature=3)
assert isinstance(complete.sync(client=client, body=body), Problem422)
""",
}
CALLS_IN_TYPESCRIPT = {
    "background": """
const line: components["schemas"]["Line"] = { x: [1, 2, 3], y: [3, 5, 7], epochs: 10 };
const job: components["schemas"]["Job"] = await call("/train", line);
expect(job.handler === "/train" && job.finished_at === null);
""",
    "bert": """
type Guesses = paths["/"]["post"]["responses"][200]["content"]["application/json"];
const guesses: Guesses = await call("/", { prompt: "Hello I am a [MASK] model." });
expect(Array.isArray(guesses["outputs"]));
""",
    "chat": """
type Chat = components["schemas"]["Chat"];
const chat: Chat = { messages: [{ role: "user", content: "" }], max_tokens: 2 };
const refused: components["schemas"]["Problem422"] = await call("/", chat);
expect(refused.code === "invalid_input");
""",
    "cluster": """
type Counts = paths["/count"]["post"]["responses"][200]["content"]["application/json"];
const counts: Counts = await call("/count", { text: "to be" });
expect(typeof counts["replica"] === "string");
""",
    "embeddings": """
const texts: components["schemas"]["Item"] = { texts: ["a cat"] };
const vectors: components["schemas"]["Vectors"] = await call("/", texts);
expect(vectors.embeddings[0].length === 384);
""",
    "files": """
const picture = "data:image/x-portable-graymap;base64," + btoa("P5\\n1 1\\n255\\na");
const pair: components["schemas"]["Pair"] = { before: picture, after: picture, threshold: 0 };
type Difference = paths["/compare"]["post"]["responses"][200]["content"]["application/json"];
const difference: Difference = await call("/compare", pair);
expect(difference["changed"] === 0 && difference["of"] === 1);
""",
    "mounted": """
const scores = (await call("/model/detect", { text: "Where is the station?" })) as any;
expect(scores["English"] > 0.5);
const refused = await fetch(process.argv[2] + "/language?text=");
const documented: components["schemas"]["HTTPValidationError"] = await refused.json();
expect(refused.status === 422 && documented.detail !== undefined);
""",
    "openai": """
type Asked = components["schemas"]["EmbeddingRequest"];
const asked: Asked = {
  model: "minilm", input: ["a cat"], encoding_format: "float", dimensions: null,
};
const vectors: components["schemas"]["Embeddings"] = await call("/models/minilm/embeddings", asked);
expect((vectors.vectors as number[][])[0].length === 384);
""",
    "vllm": """
const message: components["schemas"]["ChatMessage"] = { role: "user", content: "Hello" } as any;
const refused: components["schemas"]["Problem422"] = await call(
  "/models/qwen3-8b/chat", { model: "qwen3-8b", messages: [message], temperature: 3 },
);
expect(refused.code === "invalid_input" && refused.errors![0].type === "less_than_equal");
""",
}
ALL = CASES > 1 or "ALL_EXAMPLES" in os.environ
EXAMPLES = [name for name in CALLS_IN_PYTHON if name not in SLOW or ALL]

pytestmark = pytest.mark.timeout(100 * TIME)


class Example:
    """An example's server, and its schema."""

    def __init__(self, name: str, http: httpx.Client) -> None:
        self.name = name
        self.url = str(http.base_url).rstrip("/")
        self.schema = http.get("/openapi.json").content


@pytest.fixture(scope="module", params=EXAMPLES)
def example(
    request: pytest.FixtureRequest,
    run_example: Callable[..., httpx.Client],
    examples: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Example:
    name: str = request.param
    its_own = request.getfixturevalue
    folder = its_own("bert_folder") if name == "bert" else tmp_path_factory.mktemp("server")
    ready = "/model/readyz" if name == "mounted" else "/readyz"
    env = its_own("in_place_of_vllm") if name == "vllm" else None
    file = examples / name / "app.py"
    return Example(name, run_example(file, cwd=folder, env=env, ready=ready, start_time=START_TIME))


def test_every_example_of_an_app_is_here(examples: Path) -> None:
    """One that is added has its schema checked, and clients made of it."""
    apps = {file.parent.name for file in examples.glob("*/app.py")}
    assert apps == CALLS_IN_PYTHON.keys() == CALLS_IN_TYPESCRIPT.keys()


def test_the_schema_of_an_example_is_valid(example: Example) -> None:
    """It is an OpenAPI document; of an app inside FastAPI, it is that of its parent."""
    document: Any = json.loads(example.schema)
    validate(document)
    assert ("/model/detect" in document["paths"]) is (example.name == "mounted")


def test_no_response_of_an_example_contradicts_its_schema(example: Example) -> None:
    """Whatever is sent, each response has a status, headers and a body that the schema allows."""
    check_with_schemathesis(f"{example.url}/openapi.json", "--exclude-checks", LAX)


def test_a_python_client_of_an_example_is_typed_and_calls_it(
    example: Example, tmp_path: Path
) -> None:
    """openapi-python-client makes one that type checkers accept."""
    program = python_client(example.schema, tmp_path, IN_PYTHON + CALLS_IN_PYTHON[example.name])
    run([sys.executable, program.name, example.url], tmp_path)


def test_types_for_typescript_fit_what_an_example_takes_and_sends(
    example: Example, tmp_path: Path
) -> None:
    """A program with the types of openapi-typescript compiles, and calls the server."""
    text = IN_TYPESCRIPT + CALLS_IN_TYPESCRIPT[example.name]
    program = typescript_program(example.schema, tmp_path, text)
    run(["node", program.name, example.url], tmp_path)

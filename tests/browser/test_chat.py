"""Handlers that take messages have a chat."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from e2e.server import Server, Start
from playwright.sync_api import Locator, Page, expect

# What is said decides what is answered. Each POST /go lets an answer go on by some words.
APP = """
import asyncio
from typing import Literal

from pydantic import BaseModel, Field

from potassium import HTTPException, Potassium, current_request
from potassium.openai import ChatRequest, Finish, OpenAI, ToolCall

app = Potassium("Chats"{options})
api = OpenAI(app, model="toy")
go = asyncio.Semaphore(0)
left = asyncio.Event()
asked = []

LONG = "**word** " + "x" * 500 + "\\n\\n```\\n" + "code " * 100 + "\\n```\\n\\n|" + "cell|" * 40

@api.chat()
async def chat(cache, request: ChatRequest):
    '''Say something back.'''
    asked.append(request.model_dump(exclude_unset=True))
    said = request.conversation[-1]["content"]
    if said == "refuse":
        raise HTTPException(503, "All busy.")
    if said == "tools":
        yield "Let me see."
        yield ToolCall(id="a", name="weather", arguments="")
        yield ToolCall(arguments='{{"city": ')
        yield ToolCall(index=1, id="b", name="time", arguments="")
        yield ToolCall(arguments='"Oslo"}}')
        yield Finish(reason="tool_calls", prompt_tokens=5, completion_tokens=9)
        return
    if said == "JSON":
        for piece in ("1", "0", '{{"a":', "1}}", '{{"b":2}}', '"c"', "null", " \\n", "d"):
            yield piece
        return
    if said == "long":
        yield LONG
        return
    if said == "nothing":
        return
    try:
        for number, word in enumerate(["You ", "said ", "**", said, "**", "."]):
            if said == "break" and number == 2:
                raise HTTPException(503, "It broke.")
            if said == "wait" or said == "measure":
                await go.acquire()
            yield word
        yield Finish(reason="length", prompt_tokens=1234, completion_tokens=6)
    finally:
        left.set()

@api.chat(model="plain")
def plain(cache, request: ChatRequest):
    return "Hello, **you**."

class Message(BaseModel):
    role: Literal["user", "assistant"] = "user"
    content: str

class Own(BaseModel):
    messages: list[Message] = Field(min_length=1)
    max_tokens: int = 7

class Named(Own):
    name: str

class Mail(BaseModel):
    messages: list[str]

@app.handler("/own")
def own(cache, item: Own):
    yield {{"token": f"{{len(item.messages)}} "}}
    yield {{"token": str(item.max_tokens)}}

@app.handler("/named")
def named(cache, item: Named) -> str:
    return "x"

@app.handler("/mail")
def mail(cache, item: Mail) -> str:
    return "x"

@app.handler("/go")
async def let_go(cache, json_in: dict) -> None:
    for _ in range(json_in["words"]):
        go.release()

@app.handler("/left")
async def client_left(cache, json_in: dict) -> bool:
    await left.wait()
    return True

@app.handler("/asked")
async def what_was_asked(cache, json_in: dict) -> list:
    return asked

app.serve()
"""


@pytest.fixture
def server(start: Start) -> Server:
    return start(APP.format(options=""))


def show(page: Page, server: Server, handler: str = "chat") -> None:
    page.goto(f"{server.url}/docs#{handler}")
    expect(page.get_by_role("heading", level=2)).to_contain_text(f"/{handler}")


def box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message", exact=True)


def log(page: Page) -> Locator:
    return page.get_by_role("log")


def state(page: Page) -> Locator:
    return page.get_by_role("region", name="Chat").locator("form").get_by_role("status")


def say(page: Page, text: str) -> None:
    box(page).fill(text)
    box(page).press("Enter")


def done(page: Page) -> None:
    expect(state(page)).to_have_text(re.compile("^Done in"))


def answered(page: Page, text: str) -> None:
    """Say something, and wait for the whole answer."""
    say(page, text)
    expect(log(page)).to_contain_text(f"You said {text}.")
    done(page)


def go(server: Server, words: int = 1) -> None:
    """Let the answer go on."""
    assert server.post("/go", {"words": words}).status_code == 200


def asked(server: Server) -> list[dict[str, Any]]:
    """Return what the handler was called with."""
    calls: list[dict[str, Any]] = server.post("/asked", {}).json()
    return calls


def turns(*contents: str) -> list[dict[str, str]]:
    """Return messages of the user and the assistant by turns."""
    return [
        {"role": "assistant" if index % 2 else "user", "content": content}
        for index, content in enumerate(contents)
    ]


def test_an_answer_streams_in_as_markdown(server: Server, page: Page) -> None:
    """At its end, it says how it has ended, and screen readers hear it once."""
    show(page, server)
    say(page, "wait")
    expect(state(page)).to_have_text("Running…")
    expect(log(page)).to_contain_text("wait")
    expect(log(page)).to_have_attribute("aria-busy", "true")
    go(server, 2)
    expect(log(page)).to_contain_text("You said")
    expect(state(page)).to_have_text("Receiving…")
    go(server, 4)
    expect(log(page).locator("strong")).to_have_text("wait")
    done(page)
    expect(log(page)).to_have_attribute("aria-busy", "false")
    ending = log(page).get_by_role("list")
    expect(ending).to_contain_text("Reason length")
    expect(ending).to_contain_text("1,234 tokens in, 6 out")
    expect(ending).to_contain_text(re.compile(r"[\d.]+ tokens per second"))


def test_an_answer_can_be_stopped(server: Server, page: Page) -> None:
    """The server sees the client disconnect; what has come stays, and is sent along later."""
    show(page, server)
    say(page, "wait")
    go(server, 2)
    expect(log(page)).to_contain_text("You said")
    page.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    expect(state(page)).to_have_text("Stopped after 2 chunks")
    expect(box(page)).to_be_focused()
    assert server.post("/left", {}).json() is True
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)
    answered(page, "on")
    assert asked(server)[-1]["messages"] == turns("wait", "You said ", "on")


def test_an_answer_ends_when_its_reader_goes_to_another_handler(server: Server, page: Page) -> None:
    show(page, server)
    say(page, "wait")
    go(server)
    expect(log(page)).to_contain_text("You")
    page.get_by_role("navigation").get_by_role("link", name="POST /mail").click()
    assert server.post("/left", {}).json() is True


def test_what_was_said_before_is_sent_along(server: Server, page: Page) -> None:
    """And so are the settings; those that are empty are left out."""
    show(page, server)
    answered(page, "one")
    assert asked(server) == [{"model": "toy", "messages": turns("one")}]
    page.get_by_text("Settings").click()
    page.get_by_role("textbox", name="System prompt").fill("Be brief.")
    page.get_by_role("spinbutton", name="Temperature").fill("0.5")
    page.get_by_role("spinbutton", name="Maximum tokens").fill("20")
    expect(page.get_by_text("Settings (3 set)")).to_be_visible()
    answered(page, "two")
    assert asked(server)[-1] == {
        "model": "toy",
        "messages": [
            {"role": "system", "content": "Be brief."},
            *turns("one", "You said **one**.", "two"),
        ],
        "temperature": 0.5,
        "max_completion_tokens": 20,
    }


def test_after_an_error_the_conversation_goes_on(server: Server, page: Page) -> None:
    """A message without an answer is left out then; what has come of an answer is not."""
    show(page, server)
    say(page, "refuse")
    expect(page.get_by_role("alert")).to_contain_text("All busy.")
    expect(log(page)).to_contain_text("this message is left out")
    expect(state(page)).to_have_text(re.compile("^Failed after"))
    say(page, "break")
    expect(page.get_by_role("alert").nth(1)).to_contain_text("It broke.")
    expect(state(page)).to_have_text("Interrupted after 2 chunks")
    answered(page, "again")
    assert asked(server)[-1]["messages"] == turns("break", "You said ", "again")


def test_a_setting_that_is_wrong_is_named(server: Server, page: Page) -> None:
    show(page, server)
    page.get_by_text("Settings").click()
    page.get_by_role("spinbutton", name="Temperature").fill("9")
    say(page, "one")
    expect(page.get_by_role("alert")).to_contain_text("temperature")
    page.get_by_role("spinbutton", name="Temperature").fill("")
    page.get_by_role("button", name="Try again").click()
    done(page)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_enter_sends_and_with_shift_it_begins_a_new_line(server: Server, page: Page) -> None:
    """What is empty is not sent, and nothing while an answer comes or a character is composed."""
    show(page, server)
    send = page.get_by_role("button", name="Send")
    expect(send).to_be_disabled()
    box(page).press("Enter")
    box(page).fill(" \n")
    box(page).press("Enter")
    box(page).fill("a")
    box(page).press("Shift+Enter")
    box(page).press_sequentially("b")
    expect(box(page)).to_have_value("a\nb")
    box(page).dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    expect(box(page)).to_have_value("a\nb")
    box(page).press("Enter")
    done(page)
    expect(box(page)).to_have_value("")
    expect(box(page)).to_be_focused()
    assert [one["messages"] for one in asked(server)] == [turns("a\nb")]
    say(page, "wait")
    go(server)
    say(page, "later")
    expect(box(page)).to_have_value("later")
    go(server, 5)
    done(page)
    send.click()
    expect(log(page)).to_contain_text("You said later.")
    expect(box(page)).to_be_focused()
    assert len(asked(server)) == 3


def test_calls_of_tools_are_shown_with_their_arguments(server: Server, page: Page) -> None:
    """They are sent along later, as OpenAI's API has them."""
    show(page, server)
    say(page, "tools")
    done(page)
    expect(log(page)).to_contain_text("Let me see.")
    expect(log(page)).to_contain_text('Calls weather { "city": "Oslo" }')
    expect(log(page)).to_contain_text("Calls time")
    expect(log(page)).to_contain_text("Reason tool_calls")
    answered(page, "on")
    weather = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    time = {"name": "time", "arguments": ""}
    said = asked(server)[-1]["messages"][1]
    assert said == {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {"id": "a", "type": "function", "function": weather},
            {"id": "b", "type": "function", "function": time},
        ],
    }


def test_text_that_looks_like_json_is_text(server: Server, page: Page) -> None:
    """Wherever the model happens to cut it."""
    show(page, server)
    say(page, "JSON")
    done(page)
    answered(page, "on")
    text = '10{"a":1}{"b":2}"c"null \nd'
    assert asked(server)[-1]["messages"] == turns("JSON", text, "on")


def test_the_last_answer_can_be_tried_again(server: Server, page: Page) -> None:
    """The new one replaces it; earlier ones stay."""
    show(page, server)
    answered(page, "one")
    answered(page, "two")
    again = page.get_by_role("button", name="Try again")
    expect(again).to_have_count(1)
    again.click()
    expect(log(page).get_by_role("heading", name="You")).to_have_count(2)
    done(page)
    expect(log(page)).to_contain_text("You said two.")
    calls = [one["messages"] for one in asked(server)]
    assert len(calls) == 3
    assert calls[2] == calls[1] == turns("one", "You said **one**.", "two")


def test_a_new_chat_begins_without_what_was_said(server: Server, page: Page) -> None:
    """An answer that is coming is called off."""
    show(page, server)
    say(page, "wait")
    go(server)
    expect(log(page)).to_contain_text("You")
    page.get_by_role("button", name="New chat").click()
    assert server.post("/left", {}).json() is True
    expect(log(page)).to_have_text("No messages yet.")
    expect(box(page)).to_be_focused()
    answered(page, "one")
    assert asked(server)[-1]["messages"] == turns("one")


def test_an_empty_answer_is_no_turn(server: Server, page: Page) -> None:
    show(page, server)
    say(page, "nothing")
    done(page)
    expect(log(page)).to_contain_text("Without an answer")
    answered(page, "one")
    assert asked(server)[-1]["messages"] == turns("one")


def test_an_answer_may_come_as_a_whole(server: Server, page: Page) -> None:
    """From a plain function."""
    show(page, server, "plain")
    say(page, "Hello")
    expect(log(page).locator("strong")).to_have_text("you")
    done(page)


def test_the_form_is_still_there(server: Server, page: Page) -> None:
    """Both keep what was filled in, and the form shows what else the handler takes."""
    show(page, server)
    answered(page, "one")
    ways = page.get_by_role("group", name="Try it as")
    ways.get_by_role("button", name="Form").click()
    expect(log(page)).to_be_hidden()
    expect(page.get_by_text("Takes 15 fields")).to_be_visible()
    page.get_by_role("textbox", name="Model *").fill("mine")
    ways.get_by_role("button", name="Chat").click()
    expect(log(page)).to_contain_text("You said one.")
    expect(page.get_by_text("Takes 15 fields")).to_be_hidden()
    ways.get_by_role("button", name="Form").click()
    expect(page.get_by_role("textbox", name="Model *")).to_have_value("mine")


def test_any_handler_that_takes_messages_has_a_chat(server: Server, page: Page) -> None:
    """Not only those of OpenAI's API. What it does not take is not offered."""
    show(page, server, "own")
    page.get_by_text("Settings").click()
    expect(page.get_by_role("spinbutton", name="Maximum tokens")).to_be_visible()
    for name in ("Temperature", "System prompt", "Model"):
        expect(page.get_by_label(name, exact=True)).to_have_count(0)
    say(page, "Hello")
    expect(log(page)).to_contain_text("1 7")
    done(page)
    page.get_by_role("spinbutton", name="Maximum tokens").fill("9")
    say(page, "Hello")
    expect(log(page)).to_contain_text("3 9")


@pytest.mark.parametrize("handler", ["named", "mail"])
def test_a_handler_that_takes_more_or_other_messages_has_a_form(
    server: Server, page: Page, handler: str
) -> None:
    """A chat could not fill in what it takes."""
    show(page, server, handler)
    expect(page.get_by_role("group", name="Input as")).to_be_visible()
    expect(log(page)).to_have_count(0)


def code(page: Page, language: str) -> Locator:
    """Show the call as code."""
    chat = page.get_by_role("region", name="Chat")
    chat.get_by_text("Call it from code").click()
    chat.get_by_role("button", name=language, exact=True).click()
    return chat.get_by_label("The call as code")


def run(text: str) -> None:
    """Run Python code with an API key in the environment."""
    env = {**os.environ, "API_KEY": "secret", "no_proxy": "*"}
    done = subprocess.run(
        [sys.executable, "-c", text], env=env, capture_output=True, check=False, timeout=30
    )
    assert done.returncode == 0, (text, done.stderr.decode())
    assert "You said **two**." in done.stdout.decode()


def test_the_call_as_code_has_the_conversation(server: Server, page: Page) -> None:
    """And the message that is being written; without one, the last that was sent."""
    show(page, server)
    answered(page, "one")
    shown = code(page, "Python")
    expect(shown).to_contain_text('{"role": "user", "content": "one"}')
    expect(shown).not_to_contain_text("You said")
    box(page).fill("two")
    expect(shown).to_contain_text("You said **one**.")
    run(shown.inner_text())
    assert asked(server)[-1]["messages"] == turns("one", "You said **one**.", "two")


@pytest.mark.parametrize("has_key", [True, False], ids=["with a key", "without a key"])
def test_the_code_may_use_the_client_of_openai(start: Start, page: Page, has_key: bool) -> None:
    """It does the same."""
    pytest.importorskip("openai.types")  # "openai" alone is also a folder of tests
    server = start(APP.format(options=', api_keys=["secret"]' if has_key else ""))
    if has_key:
        page.goto(f"{server.url}/docs#chat")
        page.get_by_role("textbox", name="API key").fill("secret")
        page.keyboard.press("Enter")
    show(page, server)
    page.get_by_text("Settings").click()
    page.get_by_role("textbox", name="System prompt").fill("Be brief.")
    page.get_by_role("spinbutton", name="Maximum tokens").fill("20")
    box(page).fill("two")
    text = code(page, "OpenAI").inner_text()
    assert "secret" not in text
    run(text)
    with server.client() as http:
        http.headers["Authorization"] = "Bearer secret"
        last = http.post("/asked", json={}).json()[-1]
    assert last["messages"] == [{"role": "system", "content": "Be brief."}, *turns("two")]
    assert last["max_completion_tokens"] == 20


def test_the_client_of_openai_is_offered_only_where_it_works(server: Server, page: Page) -> None:
    show(page, server, "own")
    languages = page.get_by_role("group", name="Language")
    page.get_by_role("region", name="Chat").get_by_text("Call it from code").click()
    expect(languages.get_by_role("button")).to_have_text(["curl", "Python", "JavaScript"])
    show(page, server)
    page.get_by_role("region", name="Chat").get_by_text("Call it from code").click()
    expect(languages.get_by_role("button", name="OpenAI")).to_be_visible()


def test_a_phone_shows_the_whole_chat(server: Server, page: Page) -> None:
    """The page does not scroll sideways, and the message box is in view."""
    page.set_viewport_size({"width": 360, "height": 640})
    show(page, server)
    say(page, "long")
    done(page)
    say(page, "tools")
    expect(log(page)).to_contain_text("Calls time")
    done(page)
    expect(box(page)).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="Try again")).to_be_in_viewport(ratio=1)
    page.get_by_text("Settings").click()
    code(page, "OpenAI")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_chat_is_accessible(server: Server, page: Page) -> None:
    """While an answer comes, when it has failed, and with all that is folded open."""
    show(page, server)
    assert faults(page) == []
    say(page, "wait")
    go(server, 2)
    expect(log(page)).to_contain_text("You said")
    assert faults(page) == []
    go(server, 4)
    done(page)
    say(page, "tools")
    expect(log(page)).to_contain_text("Calls time")
    say(page, "refuse")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_text("Settings").click()
    code(page, "OpenAI")
    assert faults(page) == []


def faults(page: Page) -> list[str]:
    """Return what axe finds, in both colour schemes."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        violations = Axe().run(page).response["violations"]
        found += [f"{scheme}: {one['id']}: {one['nodes'][0]['html']}" for one in violations]
    return found

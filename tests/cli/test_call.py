"""``potassium call``, with a real server."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run


def answer(run: Run, *arguments: str, **options: Any) -> Any:
    """Return the JSON that a call prints."""
    result = run("call", *arguments, **options)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_fields_have_the_types_that_the_server_declares(run: Run, url: str) -> None:
    """Text stays text, even if it looks like a number; repeated keys make a list."""
    inputs = ["text=5", "count=3", "share=2", "yes=yes", "tags=1", "tags=2", "inner.share=1"]
    more = ["maybe=null", "note=null", "either=5"]
    assert answer(run, url, "/typed", *inputs, *more) == {
        "text": "5",
        "count": 3,
        "share": 2.0,
        "yes": True,
        "tags": [1, 2],
        "inner": {"share": 1.0},
        "maybe": None,
        "note": "null",
        "either": "5",
    }
    assert answer(run, url, "/typed", "text=a", "tags=1")["tags"] == [1]
    assert answer(run, url, "/typed", "text=a", "tags=[1, 2]")["tags"] == [1, 2]
    assert answer(run, url, "/typed", "text=a", 'inner={"share": 1}')["inner"] == {"share": 1}


def test_without_a_schema_values_are_text_and_json_is_marked(run: Run, url: str) -> None:
    """``=`` is text, ``:=`` JSON, and dots lead into objects."""
    inputs = ["a=1", "b:=1", 'c.d:=["x"]', "c.e=f", "g=1", "g=2"]
    assert answer(run, url, "/echo", *inputs) == {
        "a": "1",
        "b": 1,
        "c": {"d": ["x"], "e": "f"},
        "g": ["1", "2"],
    }


def test_a_whole_input_comes_from_an_option_a_file_or_stdin(run: Run, url: str) -> None:
    """Of a file, the name says the type; what is JSON is sent as JSON."""
    Path("a.json").write_text('{"a": 1}')
    Path("b.png").write_bytes(b"\x89PNG")
    Path("c").write_bytes(b"\x00\xff")
    one = {"a": 1}
    assert answer(run, url, "/echo", "-d", '{"a": 1}') == one
    assert answer(run, url, "/echo", "-d", "@a.json") == one
    assert answer(run, url, "/echo", "@a.json") == one
    assert answer(run, url, "/echo", "@-", input='{"a": 1}') == one
    assert answer(run, url, "/echo", "-d", "@-", input='{"a": 1}') == one
    assert answer(run, url, "/echo", "@b.png") == {"type": "image/png", "size": 4}
    assert answer(run, url, "/echo", "@c") == {"type": "application/octet-stream", "size": 2}
    declared = ["-H", "content-type: text/x-own"]
    assert answer(run, url, "/echo", "@c", *declared) == {"type": "text/x-own", "size": 2}


def test_nothing_is_an_empty_object(run: Run, url: str) -> None:
    """So a handler that needs no input can be called with none."""
    assert answer(run, url, "/echo") == {}


def test_files_are_uploaded_with_their_fields(run: Run, url: str) -> None:
    """Several under one name, and standard input as one of them."""
    Path("cat.jpg").write_bytes(b"12345")
    inputs = ["file=@cat.jpg", "others=@cat.jpg", "others=@-", "title=a cat"]
    assert answer(run, url, "/upload", *inputs, input=b"123") == {
        "sizes": [5, 5, 3],
        "title": "a cat",
        "name": "cat.jpg",
    }


def test_json_of_a_field_comes_from_a_file(run: Run, url: str) -> None:
    """``key:=@FILE``."""
    Path("a.json").write_text("[1, 2]")
    assert answer(run, url, "/echo", "a:=@a.json") == {"a": [1, 2]}


def test_headers_and_key_are_sent(run: Run, url: str) -> None:
    """The key comes from the environment, too."""
    given = ["-H", "X-Own: 1:2", "--api-key", "k"]
    sent = answer(run, url, "/headers", *given)
    assert (sent["x-own"], sent["authorization"]) == ("1:2", "Bearer k")
    sent = answer(run, url, "/headers", env={"POTASSIUM_API_KEY": "e"})
    assert sent["authorization"] == "Bearer e"


def test_what_is_accepted_can_be_said(run: Run, url: str) -> None:
    """However the header is written; otherwise, streams come as events."""
    assert answer(run, url, "/headers")["accept"] == "text/event-stream, */*;q=0.5"
    assert answer(run, url, "/headers", "-H", "accept: a/b")["accept"] == "a/b"


def test_the_server_learns_how_long_the_call_may_take(run: Run, url: str) -> None:
    """``--timeout`` is the deadline of the call."""
    sent = answer(run, url, "/headers", "--timeout", "5")
    assert 4 < float(sent["prefer"].removeprefix("wait=")) <= 5


@pytest.mark.parametrize("form", ["{}", "http://{}", "http://{}/"])
def test_a_url_needs_no_scheme(run: Run, url: str, form: str) -> None:
    """Nor a host, see below."""
    assert answer(run, form.format(url), "/echo") == {}


def test_a_port_is_enough(run: Run, url: str) -> None:
    """With its colon or without."""
    port = url.partition(":")[2]
    assert answer(run, f":{port}", "/echo") == {}
    assert answer(run, port, "/echo") == {}


def test_text_of_a_stream_is_printed_as_it_is(run: Run, url: str) -> None:
    """No line ends are added between chunks."""
    assert run("call", url, "/words").stdout == "Once upon\na time"


def test_other_chunks_are_printed_on_a_line_each(run: Run, url: str) -> None:
    """What the first chunk is decides; with ``--lines``, all are JSON."""
    assert run("call", url, "/objects").stdout == '{"n":1}\ntext\n'
    assert run("call", url, "/objects", "--lines").stdout == '{"n":1}\n"text"\n'
    assert run("call", url, "/words", "--lines").stdout.splitlines()[0] == '"Once"'


def test_a_stream_that_fails_prints_what_came_and_why(run: Run, url: str) -> None:
    """The exit status is 1."""
    result = run("call", url, "/words", "fails:=true")
    assert (result.exit_code, result.stdout) == (1, "Once upon\na time")
    assert "500 handler_error" in result.stderr


def test_a_binary_result_goes_to_a_file(run: Run, url: str) -> None:
    """Or into a pipe; what it is goes to stderr."""
    result = run("call", url, "/binary", "-o", "x.bin")
    assert Path("x.bin").read_bytes() == b"\x00\xff\x1b"
    assert (result.stdout, result.stderr) == ("", "x.bin: 3 B, application/octet-stream\n")
    assert run("call", url, "/binary").stdout_bytes == b"\x00\xff\x1b"


def test_a_stream_goes_to_a_file_as_raw_chunks(run: Run, url: str) -> None:
    """Not as events."""
    run("call", url, "/words", "-o", "x.txt")
    assert Path("x.txt").read_text() == "Once upon\na time"


def test_a_job_is_waited_for(run: Run, url: str) -> None:
    """``--background`` prints the output of the job, whether it is JSON or not."""
    assert answer(run, url, "/train", "--background") == {"loss": 0.1}
    assert answer(run, url, "/typed", "text=a", "count=2", "--background")["count"] == 2
    binary = run("call", url, "/train", "--background", "binary:=true")
    assert binary.stdout_bytes == b"\x00\xff\x1b"


def test_a_job_that_fails_is_told(run: Run, url: str) -> None:
    """With the code that a call would have had."""
    result = run("call", url, "/train", "--background", "fails:=true")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The job has no output. handler_error" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["embed"], "'embed' is neither the path of a handler"),
        (["/echo", "a"], "'a' is not an input"),
        (["/echo", "=a"], "'=a' is not an input"),
        (["/echo", "a:=x"], "a:=x is not JSON. Text needs quotes of its own"),
        (["/echo", "a=@none"], "There is no file none."),
        (["/echo", "@none"], "none cannot be read: No such file"),
        (["/echo", "a:=@none"], "none cannot be read: No such file"),
        (["/echo", "a=1", "@none"], "@none is the whole input"),
        (["/echo", "a=1", "-d", "{}"], "{} is the whole input"),
        (["/echo", "a=1", "a.b=1"], "a has a value already"),
        (["/echo", "-H", "x"], "'x': write 'Name: value'"),
        (["/echo", "--api-key", " k"], "white space"),
        (["/echo", "-o", "none/x"], "there is no folder none"),
        (["/echo", "-o", "."], "is a directory"),
        (["/echo", "--timeout", "0"], "--timeout"),
    ],
)
def test_what_is_typed_wrongly_is_said(run: Run, url: str, arguments: list[str], said: str) -> None:
    """The exit status is 2, and nothing is sent."""
    result = run("call", url, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("text", ["ftp://host", "http://", "http://a:b", ":80 80", "a?b=c"])
def test_what_is_no_url_is_said(run: Run, text: str) -> None:
    """With an example of one."""
    result = run("call", text, "/echo")
    assert result.exit_code == 2
    assert "write it like localhost:8000" in result.stderr


def test_a_call_without_a_path_is_of_the_root(run: Run, url: str) -> None:
    """Inputs may follow at once."""
    result = run("call", url, "a=1")
    assert "There is nothing at /." in result.stderr

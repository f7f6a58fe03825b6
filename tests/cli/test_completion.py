"""Completion in a shell: paths and fields are those of the server."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from support.serving import serving

from potassium import Potassium
from potassium.cli.main import cli


def completed(*arguments: str) -> list[str]:
    """Return how the last argument may go on."""
    *before, incomplete = arguments
    complete = ShellComplete(cli, {}, "potassium", "_POTASSIUM_COMPLETE")
    return [one.value for one in complete.get_completions(list(before), incomplete)]


def test_paths_are_completed(url: str) -> None:
    """With those of handlers alone."""
    assert completed("call", url, "/") == [
        *("/typed", "/echo", "/headers", "/upload", "/words", "/objects", "/binary", "/refuses"),
        "/train",
    ]
    assert completed("bench", url, "/t") == ["/typed", "/train"]


def test_fields_are_completed(url: str) -> None:
    """With those of the handler; after ``@``, a file."""
    assert completed("call", url, "/typed", "t") == ["text=", "tags="]
    assert completed("call", url, "/upload", "") == ["file=", "others=", "title="]
    (item,) = ShellComplete(cli, {}, "potassium", "_X").get_completions(
        ["call", url, "/upload"], "file=@ca"
    )
    assert item.type == "file"


def test_nothing_is_completed_without_a_server(free_port: int) -> None:
    """Nor where there is no URL yet; no error appears in the shell."""
    assert completed("call", f":{free_port}", "/") == []
    assert completed("call", "ftp://a", "/") == []
    assert completed("call", "") == []


def test_commands_are_completed() -> None:
    """As click does."""
    assert completed("jobs", "p") == ["purge"]


def test_a_file_is_completed_as_the_whole_input() -> None:
    (item,) = ShellComplete(cli, {}, "potassium", "_X").get_completions(["call", ":1", "/"], "@ca")
    assert item.type == "file"


def test_levels_of_the_log_are_completed() -> None:
    assert completed("serve", "--log-level", "e") == ["error"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
class TestBash:
    """Bash splits words at ``:``, ``=`` and ``@``, and replaces only the last part."""

    def test_paths_after_a_port(self, url: str, tmp_path: Path) -> None:
        port = url.rpartition(":")[2]
        assert in_bash(f"potassium call :{port} /t", "/t", tmp_path) == ["/typed", "/train"]
        assert in_bash(f"potassium call {url} /t", "/t", tmp_path) == ["/typed", "/train"]

    def test_fields(self, url: str, tmp_path: Path) -> None:
        assert in_bash(f"potassium call {url} /typed te", "te", tmp_path) == ["text="]

    def test_files_of_fields(self, url: str, tmp_path: Path) -> None:
        """Readline takes the ``@`` for the start of the word."""
        (tmp_path / "cat.jpg").touch()
        line = f"potassium call {url} /upload file=@c"
        assert in_bash(line, "@c", tmp_path) == ["@cat.jpg"]

    def test_what_is_replaced_of_a_word(self, tmp_path: Path) -> None:
        """Only what follows the character at which bash has split it."""
        app = Potassium("tested")

        @app.handler("/bert:predict")
        def predict(cache: Any, item: dict[str, Any]) -> None: ...

        with serving(app, lifespan="on") as (_, (_host, port)):
            assert in_bash(f"potassium call :{port} /bert:p", "p", tmp_path) == ["predict"]
        assert in_bash("potassium serve --log=te", "te", tmp_path) == ["text"]

    def test_what_follows_the_cursor_does_not_count(self, tmp_path: Path) -> None:
        assert in_bash("potassium sta", "sta", tmp_path, after="x --json") == ["status"]


def in_bash(line: str, word: str, folder: Path, after: str = "") -> list[str]:
    """Return what bash offers at the end of ``line``, whose last ``word`` it would replace."""
    command = folder / "potassium"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m potassium "$@"\n')
    command.chmod(0o755)
    script = f"""
    eval "$(_POTASSIUM_COMPLETE=bash_source potassium)"
    compopt() {{ :; }}
    COMP_LINE={shlex.quote(line + after)} COMP_POINT={len(line)}
    _potassium_completion potassium {shlex.quote(word)} call
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    bash = subprocess.run(
        ["bash", "--norc", "-c", script],  # noqa: S607 - the one that people have
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert bash.stderr == ""
    return bash.stdout.split()

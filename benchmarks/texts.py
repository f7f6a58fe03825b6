"""Texts with a given number of tokens each, the same ones in every run."""

import random
from typing import Any

MEDIAN, SIGMA = 24, 0.8  # of the log-normal distribution
LEAST, MOST = 3, 256  # tokens; what the model was made for
MARKS = 2  # tokens that the tokenizer puts around each text
COUNT = 1024


def equal(tokenizer: Any) -> list[tuple[int, str]]:
    """Return texts of 12 tokens, each with its number of tokens."""
    return _made(tokenizer, [12] * COUNT)


def mixed(tokenizer: Any) -> list[tuple[int, str]]:
    """Return texts of mixed lengths, like a mix of questions and paragraphs."""
    chance = random.Random(4)  # noqa: S311 - to be repeated, not to be secret
    drawn = (round(MEDIAN * chance.lognormvariate(0, SIGMA)) for _ in range(COUNT))
    return _made(tokenizer, [min(max(length, LEAST), MOST) for length in drawn])


def _made(tokenizer: Any, lengths: list[int]) -> list[tuple[int, str]]:
    """Return texts of the given lengths, marks included, made of words that are one token each."""
    vocabulary = sorted(tokenizer.get_vocab())
    words = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > MARKS]
    chance = random.Random(12)  # noqa: S311 - to be repeated, not to be secret
    texts = [" ".join(chance.choices(words, k=length - MARKS)) for length in lengths]
    given = [len(tokenizer.encode(text).ids) for text in texts]
    assert given == lengths
    return list(zip(lengths, texts, strict=True))

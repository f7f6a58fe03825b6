"""Call the model of batching.py directly, with nothing around it; print one line of JSON.

Equal lengths: full batches. Mixed lengths: sorted by length, each batch filled up to a number of
tokens, padding included. No server can do that, because it does not know what is to come.
"""

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator

import texts
from minilm import MiniLM, tokenizer


def filled(by_length: list[tuple[int, str]], max_cost: int) -> Iterator[list[str]]:
    """Yield batches of the texts, which must be sorted by length, longest first."""
    while by_length:
        size = max(1, max_cost // by_length[0][0])
        yield [text for _, text in by_length[:size]]
        by_length = by_length[size:]


def rate(model: MiniLM, batches: Iterator[list[str]], seconds: float) -> float:
    """Return how many texts per second are embedded until the batches or the seconds run out."""
    done = 0
    began = time.perf_counter()
    for batch in batches:
        model.embed(batch)
        done += len(batch)
        if time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began)


def main(size: int, max_cost: int, seconds: float) -> None:
    model = MiniLM()
    equal = [text for _, text in texts.equal(tokenizer())]
    full = itertools.cycle([equal[at : at + size] for at in range(0, len(equal), size)])
    mixed = list(filled(sorted(texts.mixed(tokenizer()), reverse=True), max_cost))
    random.Random(1).shuffle(mixed)  # noqa: S311 - so that a part of them is like all of them
    rate(model, full, seconds / 10)  # warm-up
    result = {
        "equal": rate(model, full, seconds),
        "mixed": rate(model, iter(mixed), 2 * seconds),
    }
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

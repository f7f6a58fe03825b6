"""Start the embeddings example, compare sentences by meaning, and stop it."""

import subprocess
import sys
from pathlib import Path

import httpx
from server_process import serving

APP = Path(__file__).parent / "embeddings" / "app.py"
DIMENSIONS = 384  # of the model's vectors
SENTENCES = {
    "cat": "A cat is asleep on the sofa.",
    "kitten": "The kitten is taking a nap on the couch.",
    "shares": "Share prices fell sharply this morning.",
    "market": "The stock market dropped at the opening bell.",
    "bread": "Knead the dough and let it rise for an hour.",
}


def main() -> None:
    try:
        with serving(APP) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
            print_similarities({label: embed(http, label) for label in SENTENCES})
    except (RuntimeError, ValueError, httpx.HTTPError, subprocess.TimeoutExpired) as error:
        sys.exit(f"The quickstart failed: {error}. The server's log stands above.")


def embed(http: httpx.Client, label: str) -> list[float]:
    response = http.post("/", json={"texts": [SENTENCES[label]]})
    milliseconds = response.elapsed.total_seconds() * 1000
    match response.json() if response.is_success else None:
        case {"embeddings": [list(vector)]} if len(vector) == DIMENSIONS:
            print(f"{label:8}{SENTENCES[label]:48}{milliseconds:6.1f} ms")
            return vector
    raise RuntimeError(f"unexpected answer: {response.status_code} {response.text[:200]}")


def print_similarities(vectors: dict[str, list[float]]) -> None:
    """Print the cosine of each pair: the vectors have length 1, so it is their dot product."""
    print("\n" + " " * 8 + "".join(f"{label:>8}" for label in vectors))
    for label, one in vectors.items():
        row = (sum(a * b for a, b in zip(one, other, strict=True)) for other in vectors.values())
        print(f"{label:8}" + "".join(f"{similarity:8.2f}" for similarity in row))


if __name__ == "__main__":
    main()

"""Generates many texts at a time with a model of transformers."""

import inspect
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import PreTrainedModel

from potassium.errors import InvalidInput, UsageError
from potassium.handlers.step import Step
from potassium.text.choice import Choice, NotANumber
from potassium.text.grammar import Grammars
from potassium.text.key_values import KeyValues, Window
from potassium.text.pieces import Pieces
from potassium.text.row import Row
from potassium.text.sampler import Sampler
from potassium.text.sampling import Sampling
from potassium.text.slots import Slots

__all__ = ["Decoder"]


class Decoder:
    """Generates many texts at a time with a model of transformers.

    ::

        def forward(cache, rows):
            return cache["decoder"].step(rows)

        @app.handler("/chat", streams=16, step=forward)
        def chat(cache, item: Chat):
            yield from cache["decoder"].generate(item.prompt, Sampling(max_tokens=256))

    Each step runs the model once for all texts that wait for their next token, and once for prompts
    that it has not seen yet, of which it takes ``chunk`` tokens in all. So a long prompt holds up
    no text that has begun.

    In float32, greedy texts are those of ``model.generate``, whoever else is there. In half
    precision they may differ where two tokens are about as likely.

    Args:
        model: any causal model of transformers that keeps keys and values of all tokens.
        tokenizer: its tokenizer.
        rows: how many texts have their keys and values in memory: those of ``streams=``, of all
            handlers that use it. More texts wait.
        length: how many tokens a text has at most, with its prompt.
        chunk: how many tokens of prompts are taken in a step.

    Raises:
        UsageError: the model or the tokenizer is of a kind that does not work here.

    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        *,
        rows: int = 16,
        length: int = 2048,
        chunk: int = 128,
    ) -> None:
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise UsageError("Decoder: the tokenizer must be one of the library tokenizers.")
        given = inspect.signature(model.forward).parameters
        for name in ("position_ids", "past_key_values", "attention_mask"):
            if name not in given:
                raise UsageError(f"Decoder: {type(model).__name__} takes no {name}.")
        config = model.config.get_text_config(decoder=True)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.length = min(length, getattr(config, "max_position_embeddings", length) or length)
        self.ends = _ends(model, tokenizer)
        self._chunk = chunk
        self._rows = rows
        self._steps = 0
        self._grammars = Grammars(tokenizer, self.ends)
        self._kept = KeyValues(model.config, rows, self.length)
        self._slots = Slots(self._kept, rows)
        self._keeps_last = {"logits_to_keep": 1} if "logits_to_keep" in given else {}

    def __reduce__(self) -> Any:
        """Return how to make it again, without the texts: for snapshots, and copies."""
        make = partial(Decoder, rows=self._rows, length=self.length, chunk=self._chunk)
        return make, (self.model, self.tokenizer)

    def prompt(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        """Return the tokens of a chat, by the tokenizer's template, up to what the model says next.

        Args:
            messages: what was said so far: ``{"role": "user", "content": "Hello"}``.
            tools: the schemas of functions that the model may call.

        Raises:
            InvalidInput: the template does not take these messages.
            UsageError: the tokenizer has no template.

        """
        if self.tokenizer.chat_template is None:
            raise UsageError("Decoder.prompt: the tokenizer has no chat template.")
        try:
            tokens: list[int] = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
            )
        except (TemplateError, TypeError) as error:
            raise InvalidInput(f"The model cannot take this chat: {error}") from None
        return tokens

    def generate(
        self, prompt: str | Sequence[int], sampling: Sampling | None = None
    ) -> Generator[Step[Row] | str, Any, str]:
        """Yield the text that follows, piece by piece, and the steps that it takes.

        Args:
            prompt: text, or its tokens.
            sampling: how the tokens are chosen, and where the text ends.

        Returns:
            Why it has ended: ``"stop"``, or ``"length"`` if there is no more room.

        Raises:
            InvalidInput: the prompt is empty or too long, or there is no text for the schema.

        """
        tokens = self.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
        sampling = sampling or Sampling()
        most = self._most(tokens, sampling.max_tokens)
        schema = sampling.schema
        grammar = None if schema is None else self._grammars.json(schema)
        row = Row(tokens, Sampler(sampling, grammar))
        pieces = Pieces(self.tokenizer, sampling.stop)
        reason = "length"
        try:
            while len(row.tokens) < most:
                token = yield Step(row)
                if token is None:
                    continue  # there is more of the prompt, or no slot yet
                if token in self.ends:
                    reason = "stop"
                    break
                row.add(token)
                if piece := pieces.add(token):
                    yield piece
                if pieces.has_stopped or (grammar is not None and grammar.take(token)):
                    reason = "stop"
                    break
            if rest := pieces.rest():
                yield rest
        finally:
            self._slots.leave(row)
        return reason

    def step(self, rows: Sequence[Row]) -> list[int | Exception | None]:
        """Run the model for ``rows``.

        It may be called again with some of the same rows if it has failed, as where memory has run
        out: what was done by then is not done twice.

        Returns:
            The next token of each; None where there is more of the prompt, or no slot for it yet;
            an exception where there cannot be one.

        """
        self._steps += 1
        for row in rows:
            row.stepped = self._steps
        with torch.inference_mode():
            self._step([row for row in rows if row.outcome is None])
        return [row.outcome for row in rows]

    def _step(self, rows: Sequence[Row]) -> None:
        going = [row for row in rows if row.slot is not None and row.unseen == 1]
        if going:
            self._run(self._slots.place(going, 0), 0, 1)
        beginning, width = self._beginning(row for row in rows if row.outcome is None)
        if beginning:
            self._run(self._slots.place(beginning, len(going)), len(going), width)

    def _beginning(self, rows: Iterable[Row]) -> tuple[list[Row], int]:
        """Return those of which more is seen now, in their order, and how many tokens at most."""
        some: list[Row] = []
        width = 0
        for row in rows:
            if some and width * (len(some) + 1) > self._chunk:
                break
            if row.slot is None and not self._slots.enter(row, self._steps):
                continue
            wider = max(width, min(row.unseen, self._chunk))
            if some and wider * (len(some) + 1) > self._chunk:
                break
            some.append(row)
            width = wider
        return some, width

    def _run(self, rows: Sequence[Row], first: int, width: int) -> None:
        """Run the model for rows that lie side by side; those that have been seen get a token."""
        kept, device = self._kept, self.model.device
        counts = [min(row.unseen, width) for row in rows]
        new = [row.tokens[row.seen : row.seen + n] for row, n in zip(rows, counts, strict=True)]
        choice = Choice(
            [
                None if row.unseen > count else row.sampler
                for row, count in zip(rows, counts, strict=True)
            ],
            self.ends,
            device,
        )
        width = max(counts)
        inputs = torch.tensor([[0] * (width - len(tokens)) + tokens for tokens in new])
        positions = kept.positions([row.seen for row in rows], counts).to(device)
        end = max(row.seen + count for row, count in zip(rows, counts, strict=True))
        with _attention_of_any_shape():
            output = self.model(
                inputs.to(device),
                attention_mask=kept.look_at(Window(first, positions, end), self.model.dtype),
                position_ids=positions.masked_fill(positions == kept.length, 0),
                past_key_values=kept,
                use_cache=True,
                **self._keeps_last,
            )
        chosen = choice.of(output.logits[:, -1])
        for row, count, token in zip(rows, counts, chosen, strict=True):
            if isinstance(token, NotANumber):
                row.outcome = token
                self._slots.spoil(row)
                continue
            if row.unseen == count:
                row.outcome = token
            row.seen += count

    def _most(self, prompt: Sequence[int], max_tokens: int | None) -> int:
        """Return how many tokens the text has at most, with its prompt."""
        if not prompt:
            raise InvalidInput("The prompt is empty.")
        if len(prompt) >= self.length:
            raise InvalidInput(
                f"The prompt has {len(prompt)} tokens; with what follows, there is room for "
                f"{self.length}."
            )
        return self.length if max_tokens is None else min(self.length, len(prompt) + max_tokens)


def _ends(model: PreTrainedModel, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a text."""
    settings = model.generation_config
    ends = None if settings is None else settings.eos_token_id
    if ends is None:
        ends = tokenizer.eos_token_id
    return frozenset([] if ends is None else ends if isinstance(ends, list) else [ends])


@contextmanager
def _attention_of_any_shape() -> Iterator[None]:
    """Leave out the attention of cuDNN, which makes a plan for each new shape: 40 ms on an H200.

    In half precision, torch prefers it on recent GPUs, and a text that grows is of a new shape in
    each step.
    """
    settings = torch.backends.cuda
    was_enabled = settings.cudnn_sdp_enabled()
    settings.enable_cudnn_sdp(enabled=False)
    try:
        yield
    finally:
        settings.enable_cudnn_sdp(enabled=was_enabled)

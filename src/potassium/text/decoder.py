"""Generates many texts at a time with a model of transformers."""

import inspect
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from transformers import PreTrainedModel

from potassium.errors import InvalidInput, UsageError
from potassium.handlers.step import Step
from potassium.text.asked import Completion, Conversation, sampling_of
from potassium.text.call_reader import CallReader, read_calls
from potassium.text.call_style import CallStyle, call_style, schema_of_call
from potassium.text.choice import Choice, NotANumber
from potassium.text.chunks import Finish, Reason, ToolCall
from potassium.text.grammar import Grammars
from potassium.text.key_values import KeyValues, Window
from potassium.text.models import attention_of_any_shape, ends_of
from potassium.text.pieces import Pieces
from potassium.text.row import Row
from potassium.text.sampler import Sampler
from potassium.text.sampling import Sampling
from potassium.text.slots import Slots
from potassium.text.templates import chat_tokens

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
        self.ends = ends_of(model, tokenizer)
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
            InvalidInput: the template does not take these messages, or no tools.
            UsageError: the tokenizer has no template.

        """
        return chat_tokens(self.tokenizer, messages, tools)

    def generate(
        self, prompt: str | Sequence[int], sampling: Sampling | None = None
    ) -> Generator[Step[Row] | str, Any, Finish]:
        """Yield the text that follows, piece by piece, and the steps that it takes.

        Args:
            prompt: text, or its tokens.
            sampling: how the tokens are chosen, and where the text ends.

        Returns:
            How it has ended.

        Raises:
            InvalidInput: the prompt is empty or too long, or has a token that the model does not
                know; or there is no text for the schema.

        """
        tokens = self.tokenizer.encode(prompt) if isinstance(prompt, str) else self._known(prompt)
        sampling = sampling or Sampling()
        most = self._most(tokens, sampling.max_tokens)
        schema = sampling.schema
        grammar = None if schema is None else self._grammars.json(schema)
        row = Row(tokens, Sampler(sampling, grammar))
        pieces = Pieces(self.tokenizer, sampling.stop)
        reason: Reason = "length"
        ended = 0
        try:
            while len(row.tokens) < most:
                token = yield Step(row)
                if token is None:
                    continue  # there is more of the prompt, or no slot yet
                if token in self.ends:
                    reason, ended = "stop", 1
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
        count = len(row.tokens) - len(tokens) + ended
        return Finish(reason=reason, prompt_tokens=len(tokens), completion_tokens=count)

    def chat(
        self, request: Conversation
    ) -> Generator[Step[Row] | str | ToolCall | Finish, Any, None]:
        """Yield the answer to a chat, piece by piece, the steps that it takes, and its ``Finish``.

        If the request has tools, calls of them are found in what the model writes as its chat
        template does. If it requires a call, the text is held to be one.

        Args:
            request: a ``ChatRequest`` of ``potassium.openai``, or what has its attributes.

        Raises:
            InvalidInput: the chat is too long, or the template does not take it.

        """
        tools, required = request.offered_tools, request.required_tools
        prompt = self.prompt(request.conversation, tools)
        style = self._call_style or (CallStyle() if required else None)
        schema = schema_of_call(required, style) if style and required else None
        text = self.generate(prompt, sampling_of(request, schema))
        if style is not None and tools:
            names = {tool["function"]["name"] for tool in tools}
            text = read_calls(text, CallReader(style, names, is_call=bool(required)))
        yield (yield from text)

    def complete(self, request: Completion) -> Generator[Step[Row] | str | Finish, Any, None]:
        """Yield what follows a text, as ``chat`` does.

        Args:
            request: a ``CompletionRequest`` of ``potassium.openai``, or what has its attributes.

        Raises:
            InvalidInput: the text is too long.

        """
        yield (yield from self.generate(request.text, sampling_of(request)))

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
        with attention_of_any_shape():
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

    @cached_property
    def _call_style(self) -> CallStyle | None:
        return call_style(self.tokenizer)

    def _known(self, prompt: Sequence[int]) -> list[int]:
        """Return tokens that a caller has given: others than the model's would end the process."""
        count = self.model.get_input_embeddings().num_embeddings
        if not all(0 <= token < count for token in prompt):
            raise InvalidInput(f"The prompt has a token that is not from 0 to {count - 1}.")
        return list(prompt)

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

"""Texts that must be JSON, valid for a schema."""

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import torch

from potassium.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

__all__ = ["Grammar", "Grammars"]


# Without a limit, small models fill whole texts with spaces.
WHITESPACE = r"[ \n\t]{0,8}"


class Grammars:
    """Makes grammars for one tokenizer.

    Args:
        tokenizer: of transformers.
        ends: the tokens that end a text.

    """

    def __init__(self, tokenizer: Any, ends: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = list(ends)
        self._prepared: LLTokenizer | None = None  # takes a moment, and not everybody needs it

    def __getstate__(self) -> dict[str, Any]:
        """Return all but what is prepared, which is made again: so that it can be pickled."""
        return {**self.__dict__, "_prepared": None}

    def json(self, schema: Mapping[str, Any]) -> "Grammar":
        """Return what a text must be like to be valid for ``schema``.

        Raises:
            InvalidInput: there is no such grammar.
            UsageError: a package is missing.

        """
        try:
            import llguidance  # noqa: PLC0415 - not everybody needs it
            import llguidance.hf  # noqa: PLC0415
        except ImportError:
            raise UsageError("A text with a schema needs: pip install potassium[text]") from None
        if self._prepared is None:
            try:
                self._prepared = llguidance.hf.from_tokenizer(self._tokenizer, eos_token=self._ends)
            except ValueError as error:
                raise UsageError(f"llguidance cannot use this tokenizer: {error}") from None
        rules = llguidance.LLMatcher.grammar_from_json_schema(
            json.dumps(schema), overrides={"whitespace_pattern": WHITESPACE}
        )
        matcher = llguidance.LLMatcher(self._prepared, rules)
        if matcher.is_error():
            raise InvalidInput(f"The schema cannot be kept to: {matcher.get_error()}")
        return Grammar(matcher)


class Grammar:
    """What one text must be like."""

    def __init__(self, matcher: "LLMatcher") -> None:
        self._matcher = matcher

    def allowed(self) -> torch.Tensor:
        """Return which tokens may follow; those that it does not speak of may not."""
        known = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
        return known != 0

    def take(self, token: int) -> bool:
        """Note that ``token`` follows; return whether the text is complete, and must end.

        Raises:
            RuntimeError: llguidance has given up, as where a schema is too complex.

        """
        if not self._matcher.consume_token(token):
            raise RuntimeError(f"llguidance: {self._matcher.get_error()}")
        return bool(self._matcher.is_stopped())

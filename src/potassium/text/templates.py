"""The tokens of a chat, by the template of its tokenizer."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from potassium.errors import InvalidInput, UsageError

__all__ = ["chat_tokens"]


def chat_tokens(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> list[int]:
    """Return the tokens of a chat, up to what the model says next.

    Raises:
        InvalidInput: the template does not take these messages, or no tools.
        UsageError: the tokenizer has no template.

    """
    if tokenizer.chat_template is None:
        raise UsageError("Decoder.prompt: the tokenizer has no chat template.")
    if tools and "tools" not in str(tokenizer.chat_template):
        raise InvalidInput("The chat template of this model takes no tools.")
    try:
        tokens: list[int] = tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tools=[dict(tool) for tool in tools] or None,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
    except (TemplateError, TypeError) as error:
        raise InvalidInput(f"The model cannot take this chat: {error}") from None
    return tokens

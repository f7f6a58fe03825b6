"""OpenAI's API in front of an app's handlers."""

from potassium.openai.api import OpenAI
from potassium.openai.chunks import Finish, ToolCall
from potassium.openai.requests import ChatRequest, CompletionRequest, EmbeddingRequest
from potassium.openai.storage import Storage

__all__ = [
    "ChatRequest",
    "CompletionRequest",
    "EmbeddingRequest",
    "Finish",
    "OpenAI",
    "Storage",
    "ToolCall",
]

"""OpenAI's API in front of an app's handlers."""

from potassium.openai.api import OpenAI
from potassium.openai.chunks import Finish, ToolCall
from potassium.openai.embeddings import Embeddings
from potassium.openai.requests import ChatRequest, CompletionRequest, EmbeddingRequest
from potassium.openai.storage import Storage
from potassium.openai.transcriptions import TranscriptionRequest
from potassium.openai.transcripts import Segment, Transcript

__all__ = [
    "ChatRequest",
    "CompletionRequest",
    "EmbeddingRequest",
    "Embeddings",
    "Finish",
    "OpenAI",
    "Segment",
    "Storage",
    "ToolCall",
    "Transcript",
    "TranscriptionRequest",
]

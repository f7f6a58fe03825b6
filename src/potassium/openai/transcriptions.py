"""Requests for transcriptions, and their answers: documents and events."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, field_validator

from potassium.http.codec import encode
from potassium.http.file import File
from potassium.openai.answer import DONE, Answer, data_event
from potassium.openai.errors import Refused, not_offered
from potassium.openai.requests import Asked
from potassium.openai.transcripts import Segment, Transcript, as_spoken, srt, verbose, vtt

__all__ = ["TranscriptionAnswer", "TranscriptionRequest", "transcription_answer"]

PLAIN = b"text/plain; charset=utf-8"
MEDIA_TYPES = {"srt": PLAIN, "text": PLAIN, "vtt": b"text/vtt; charset=utf-8"}


class TranscriptionRequest(Asked):
    """The form of ``POST /v1/audio/transcriptions``."""

    file: File
    language: str | None = None
    prompt: str | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    stream: bool = False
    timestamp_granularities: list[str] | None = Field(
        default=None,
        validation_alias=AliasChoices("timestamp_granularities[]", "timestamp_granularities"),
    )
    include: list[str] | None = Field(
        default=None, validation_alias=AliasChoices("include[]", "include")
    )

    @field_validator("timestamp_granularities")
    @classmethod
    def _has_no_words(cls, given: list[str] | None) -> list[str] | None:
        if "word" in (given or ()):
            raise not_offered("The times of words are not offered here, those of segments are.")
        return given

    @field_validator("include")
    @classmethod
    def _has_no_logprobs(cls, given: list[str] | None) -> list[str] | None:
        if "logprobs" in (given or ()):
            raise not_offered("Log probabilities are not offered here.")
        return given


class TranscriptionAnswer(Answer):
    """One transcription, told in one piece.

    Args:
        asked: what it answers.

    """

    def __init__(self, asked: TranscriptionRequest) -> None:
        # The request is not kept: it has the file.
        self._form = asked.response_format
        self._temperature = asked.temperature or 0.0
        self._language = asked.language
        self._pieces: list[str] = []
        self._segments: list[Segment] = []
        self._told = Transcript()
        self.media_type = MEDIA_TYPES.get(self._form, self.media_type)

    def add(self, chunk: Any) -> bytes:
        """Keep a chunk."""
        self._take(chunk)
        return b""

    def end(self) -> bytes:
        """Return the document.

        Raises:
            Refused: it is made of segments, and the handler has not told them.

        """
        text = self._text
        if self._form == "json":
            return encode({"text": text})
        if self._form == "text":
            return text.encode()
        if text and not self._segments:
            raise Refused(
                f"This model tells no segments, which {self._form} is made of: ask for json.",
                param="response_format",
            )
        if self._form == "verbose_json":
            return encode(self._verbose(text))
        return (srt if self._form == "srt" else vtt)(self._segments).encode()

    @property
    def _text(self) -> str:
        return "".join(self._pieces)

    def _verbose(self, text: str) -> dict[str, Any]:
        told = Transcript(
            segments=self._segments,
            language=self._told.language or self._language,
            duration=self._told.duration,
        )
        return verbose(text, told, self._temperature)

    def _take(self, chunk: Any) -> str:
        """Take a chunk; return the text that it adds."""
        spoken = as_spoken(chunk)
        added = ""
        if isinstance(spoken, str):
            added = spoken
        elif isinstance(spoken, Segment):
            self._segments.append(spoken)
            added = spoken.text
        else:
            self._told = spoken
            self._segments = list(spoken.segments) or self._segments
            if not any(self._pieces):  # the text was not told before, piece by piece
                added = spoken.text or "".join(one.text for one in spoken.segments)
        self._pieces.append(added)
        return added


class TranscriptionEvents(TranscriptionAnswer):
    """One transcription, told piece by piece."""

    is_stream = True

    def add(self, chunk: Any) -> bytes:
        """Return the event for a chunk."""
        added = self._take(chunk)
        return data_event({"type": "transcript.text.delta", "delta": added}) if added else b""

    def end(self) -> bytes:
        """Return the last events."""
        return data_event({"type": "transcript.text.done", "text": self._text}) + DONE


def transcription_answer(asked: TranscriptionRequest) -> TranscriptionAnswer:
    """Return the answer to a request, as it asks for it."""
    return TranscriptionEvents(asked) if asked.stream else TranscriptionAnswer(asked)

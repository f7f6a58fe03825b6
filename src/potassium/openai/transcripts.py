"""What a handler says of a recording, and the documents that are made of it.

See https://platform.openai.com/docs/api-reference/audio.
"""

import html
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from potassium.errors import UnserializableOutput

__all__ = ["Segment", "Transcript", "as_spoken", "srt", "verbose", "vtt"]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of what is said.

    Attributes:
        start: when it begins, in seconds.
        end: when it ends, in seconds.
        text: what is said; joined, those of all segments are the whole text.

    """

    start: float
    end: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What is said in a recording.

    Attributes:
        text: all of it; may be left out where the segments or what was yielded before say it.
        segments: its parts.
        language: what it is spoken in, such as ``"en"``.
        duration: how long it is, in seconds.

    """

    text: str = ""
    segments: Sequence[Segment] = ()
    language: str | None = None
    duration: float | None = None


def as_spoken(value: Any) -> str | Segment | Transcript:
    """Return a chunk, which comes as JSON, as the handler has yielded it.

    Raises:
        UnserializableOutput: it is none of a transcription.

    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value.keys() == asdict(Transcript()).keys():
        segments = [Segment(**segment) for segment in value["segments"]]
        return Transcript(**{**value, "segments": segments})
    if isinstance(value, dict) and value.keys() == {"start", "end", "text"}:
        return Segment(**value)
    raise UnserializableOutput(
        f"A handler of transcriptions yields text, Segment and Transcript, but not {value!r:.60}."
    )


def srt(segments: Iterable[Segment]) -> str:
    """Return subtitles as SubRip has them."""
    cues = [
        f"{number}\n{_times(one, ',')}\n{_line(one)}\n" for number, one in enumerate(segments, 1)
    ]
    return "\n".join(cues)


def vtt(segments: Iterable[Segment]) -> str:
    """Return subtitles as WebVTT has them (https://www.w3.org/TR/webvtt1/)."""
    cues = [f"{_times(one, '.')}\n{html.escape(_line(one), quote=False)}\n" for one in segments]
    return "\n".join(["WEBVTT\n", *cues])


def verbose(text: str, told: Transcript, temperature: float) -> dict[str, Any]:
    """Return the document with the segments.

    What it has of the model's confidence, nobody has told: clients expect numbers.
    """
    ends = [segment.end for segment in told.segments]
    unknown = {"avg_logprob": 0.0, "compression_ratio": 0.0, "no_speech_prob": 0.0}
    return {
        "task": "transcribe",
        "language": told.language or "",
        "duration": max(ends, default=0.0) if told.duration is None else told.duration,
        "text": text,
        "segments": [
            {
                "id": index,
                "seek": 0,
                **asdict(segment),
                "tokens": [],
                "temperature": temperature,
                **unknown,
            }
            for index, segment in enumerate(told.segments)
        ],
    }


def _line(segment: Segment) -> str:
    """Return the text of a cue: an empty line would end it."""
    return " ".join(segment.text.split())


def _times(segment: Segment, point: str) -> str:
    return f"{_time(segment.start, point)} --> {_time(segment.end, point)}"


def _time(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"

"""Sound, as files."""

import io
from collections.abc import Sequence
from functools import partial
from typing import Any

from potassium.http.representations.form import Form, cannot_be_sent, missing

__all__ = ["SOUND_FORMS"]

# Of what these hold, the library knows the largest value; of floating point, it is 1.
WRITABLE = ("int16", "int32", "float32", "float64")


def _sound(sound: Any, kind: str) -> bytes:
    try:
        import soundfile  # noqa: PLC0415 - for few apps
    except ImportError as error:
        raise missing("Sending sound", "soundfile", "audio") from error
    samples = sound.samples
    if samples.dtype not in WRITABLE:
        samples = samples.astype("float32")
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, samples, sound.rate, "PCM_16", format=kind)
    except (RuntimeError, ValueError, TypeError) as error:  # of samples of another shape
        raise cannot_be_sent("The sound", error) from error
    return buffer.getvalue()


SOUND_FORMS: Sequence[Form] = (
    Form("audio/wav", partial(_sound, kind="WAV")),
    Form("audio/flac", partial(_sound, kind="FLAC")),
)

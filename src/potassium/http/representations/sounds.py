"""Sound, as files."""

import io
from collections.abc import Sequence
from functools import partial
from typing import Any

from potassium.http.representations.form import Form, cannot_be_sent, missing

__all__ = ["SOUND_FORMS", "samples_of"]

# Of what these hold, the library knows the largest value; of floating point, it is 1.
WRITABLE = ("int16", "int32", "float32", "float64")


def samples_of(sound: Any) -> Any:
    """Return the samples as an array in host memory, if they are a tensor."""
    samples = sound.samples
    if not hasattr(samples, "detach"):
        return samples
    samples = samples.detach().cpu()
    return (samples.float() if samples.is_floating_point() else samples).numpy()


def _sound(sound: Any, kind: str) -> bytes:
    try:
        import soundfile  # noqa: PLC0415 - for few apps
    except ImportError as error:
        raise missing("Sending sound", "soundfile", "audio") from error
    samples, buffer = samples_of(sound), io.BytesIO()
    try:
        if samples.dtype not in WRITABLE:
            samples = samples.astype("float32")
        soundfile.write(buffer, samples, sound.rate, "PCM_16", format=kind)
    except Exception as error:  # such as samples of another shape, or NaN in FLAC
        raise cannot_be_sent("The sound", error) from error
    return buffer.getvalue()


SOUND_FORMS: Sequence[Form] = (
    Form("audio/wav", partial(_sound, kind="WAV")),
    Form("audio/flac", partial(_sound, kind="FLAC")),
)

"""``potassium.Audio``: sound, as the type of an input or a result."""

from typing import Annotated, Any, BinaryIO, cast

try:
    import numpy as np  # noqa: TC002 - its absence is told here
    import soundfile
except ImportError as error:
    raise ModuleNotFoundError('Sound needs soundfile: pip install "potassium[audio]"') from error

from potassium.http.file import File
from potassium.media.from_file import FromFile

__all__ = ["MOST_SAMPLES", "Audio", "FromAudioFile", "decode"]

MOST_SAMPLES = 2**27  # of all channels together, of 4 bytes each: 512 MiB


class Audio:
    """Sound: ``Audio(samples, 16_000)``. In JSON, it is a data URL, which no dataclass would be.

    Attributes:
        samples: from -1 to 1, one for each frame, or frames x channels if there are several. Those
            of an input are ``float32``.
        rate: frames per second.

    """

    __slots__ = ("rate", "samples")

    def __init__(self, samples: "np.ndarray[Any, Any]", rate: int) -> None:
        self.samples = samples
        self.rate = rate

    def __repr__(self) -> str:
        """Return the shape of the samples, and the rate."""
        return f"Audio({'x'.join(map(str, self.samples.shape))} samples, {self.rate} a second)"


def decode(file: File) -> Audio:
    """Return the sound in ``file``: WAV, FLAC, Ogg, MP3, and what else libsndfile reads.

    Raises:
        ValueError: it is no such file, it is damaged, or it has more than ``MOST_SAMPLES``.

    """
    try:
        with soundfile.SoundFile(cast("BinaryIO", file)) as sound:
            if sound.frames * sound.channels > MOST_SAMPLES:
                raise ValueError(f"The sound has more than {MOST_SAMPLES} samples")
            # If the head promises more than there is, the rest of the array takes no memory.
            return Audio(sound.read(sound.frames, dtype="float32"), sound.samplerate)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"The file is no sound that can be read: {error.error_string}") from None


FromAudioFile = Annotated[Audio, FromFile(decode, ("audio/*",))]

"""Which files become sound, and which are refused before they take memory."""

import io
import resource
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from potassium.http.file import File
from potassium.media import audio
from potassium.media.audio import decode

TONE = np.sin(np.linspace(0, 50, 4000, dtype="float32")) / 2


def file(content: bytes) -> File:
    return File(io.BytesIO(content), size=len(content))


def saved(samples: np.ndarray, kind: str, **options: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 8000, format=kind, **options)
    return buffer.getvalue()


def memory() -> int:
    """Return the bytes of memory that this process uses."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def wav_of(frames: int, channels: int = 1) -> bytes:
    """Return a WAV file whose head promises more than there is."""
    size = min(frames * channels * 2, 2**32 - 100)
    form = struct.pack("<HHIIHH", 1, channels, 8000, 16000 * channels, 2 * channels, 16)
    return (
        b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + struct.pack("<I", 16) + form
        + b"data" + struct.pack("<I", size) + bytes(200)
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("shape", [(4000,), (2000, 2)])
def test_sound_is_decoded(kind: str, shape: tuple[int, ...]) -> None:
    """As float32 from -1 to 1: frames, or frames x channels."""
    sound = decode(file(saved(TONE.reshape(shape), kind)))
    assert (sound.rate, sound.samples.dtype, sound.samples.shape[1:]) == (
        8000,
        "float32",
        shape[1:],
    )
    assert abs(len(sound.samples) - shape[0]) < (1500 if kind == "MP3" else 1)
    assert 0.4 < np.abs(sound.samples).max() < 0.6


def test_sound_takes_no_more_memory_than_its_samples() -> None:
    """They are decoded to where they stay."""
    content = saved(np.tile(TONE, 1000), "FLAC")
    tracemalloc.start()
    sound = decode(file(content))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(sound.samples) == 4_000_000
    assert peak < 1.2 * sound.samples.nbytes


def test_sound_may_be_empty() -> None:
    """A file without samples is one."""
    assert decode(file(saved(TONE[:0], "WAV"))).samples.shape == (0,)


def test_sound_of_too_many_samples_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames and channels count, as the head has them, before anything is decoded."""
    monkeypatch.setattr(audio, "MOST_SAMPLES", 3999)
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    for samples in (TONE, TONE.reshape(2000, 2)):
        with pytest.raises(ValueError, match=r"more than 3999 samples"):
            decode(file(saved(samples, "FLAC")))


def test_no_more_is_decoded_than_the_head_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file contains."""
    monkeypatch.setattr(soundfile.SoundFile, "frames", property(lambda _: 10))
    assert len(decode(file(saved(TONE, "WAV"))).samples) == 10


def test_a_head_that_promises_more_than_there_is_takes_no_memory() -> None:
    """The samples that are there are decoded."""
    content, before = file(wav_of(2**26)), memory()
    sound = decode(content)
    assert len(sound.samples) == 100
    assert memory() - before < 2**26


@pytest.mark.parametrize("content", [b"", b"abc", b"RIFF\0\0\0\0WAVEfmt ", wav_of(0, 0)])
def test_what_is_no_sound_is_refused(content: bytes) -> None:
    """The reason names no object."""
    with pytest.raises(ValueError, match=r"no sound that can be read: [^<]*$"):
        decode(file(content))


def test_sound_shows_how_much_of_it_there_is() -> None:
    """And not its samples."""
    assert repr(decode(file(saved(TONE, "WAV")))) == "Audio(4000 samples, 8000 a second)"

"""Frames: whatever the pieces in which they arrive, they are those that were sent."""

from hypothesis import given
from hypothesis import strategies as st

from potassium.workers.frames import LARGE, Splitter, ToWorker, frame

Frames = list[tuple[int, bytes]]

SIZES = st.one_of(st.integers(0, 20), st.integers(LARGE - 8, LARGE + 8), st.integers(0, 5 * LARGE))
FRAMES = st.lists(st.tuples(st.integers(0, 255), SIZES), max_size=6)


def contents(sizes: list[tuple[int, int]]) -> Frames:
    """Return frames whose payloads differ from each other, and in themselves."""
    return [
        (kind, (bytes(range(at, 256)) * (size // (256 - at) + 1))[:size])
        for at, (kind, size) in enumerate(sizes)
    ]


def read(splitter: Splitter, data: bytes, most: int) -> Frames:
    """Return what ``splitter`` makes of ``data``, of which ``most`` bytes come at a time."""
    frames: Frames = []
    left = memoryview(data)
    while left:
        room = splitter.room()
        size = min(len(room), len(left), most)
        room[:size] = left[:size]
        left = left[size:]
        frames += splitter.frames(size)
    return frames


@given(FRAMES, st.lists(st.integers(1, 300_000), min_size=1, max_size=4))
def test_any_split_gives_the_frames_that_were_sent(
    sizes: list[tuple[int, int]], cuts: list[int]
) -> None:
    sent = contents(sizes)
    data = b"".join(part for kind, payload in sent for part in frame(kind, payload))
    splitter = Splitter()
    received: Frames = []
    for at, cut in enumerate(cuts):
        piece, data = (data, b"") if at == len(cuts) - 1 else (data[:cut], data[cut:])
        received += read(splitter, piece, cut)
    assert received == sent


@given(FRAMES)
def test_bytes_that_come_one_by_one_are_frames_too(sizes: list[tuple[int, int]]) -> None:
    sent = contents([(kind, size % 300) for kind, size in sizes])
    data = b"".join(part for kind, payload in sent for part in frame(kind, payload))
    assert read(Splitter(), data, 1) == sent


def test_there_is_always_room_to_read_to() -> None:
    """Also when a frame ends with the buffer: to read nothing would look like the end."""
    splitter = Splitter()
    for size in range(1, 2000):
        read(splitter, b"".join(frame(ToWorker.BODY, b"x" * (size * 97 % 4000))), 10**6)
        assert len(splitter.room()) > 0


def test_a_large_frame_asks_for_exactly_what_is_missing() -> None:
    """So the worker can wait for all of it, and never for what comes behind."""
    splitter = Splitter()
    head, payload = frame(ToWorker.BODY, b"y" * (LARGE + 1))
    assert read(splitter, head + payload[:100], 10**6) == []
    assert splitter.large is not None
    assert len(splitter.room()) == len(payload) - 100
    assert read(splitter, payload[100:], 10**6) == [(ToWorker.BODY, payload)]
    assert splitter.large is None

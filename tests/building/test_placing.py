"""How a new snapshot takes the place of the old one."""

import threading
from pathlib import Path

import pytest

from potassium.building import placing
from potassium.building.placing import put_in_place


def new(folder: Path, name: str = "new", content: str = "new") -> Path:
    path = folder / name
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_where_there_was_none_it_is_moved(tmp_path: Path) -> None:
    put_in_place(new(tmp_path), tmp_path / "place")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_the_old_one_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    """Also where the system cannot exchange two folders."""
    if not can_exchange:
        monkeypatch.setattr(placing, "_exchanged", lambda one, other: False)
    place = new(tmp_path, "place", "old")
    put_in_place(new(tmp_path), place)
    assert (place / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [place]


def test_there_is_always_one(tmp_path: Path) -> None:
    """Whoever opens it gets the old one or the new one, at any time."""
    place, over, missing = new(tmp_path, "place"), threading.Event(), []

    def look() -> None:
        while not over.is_set():
            if not place.exists():
                missing.append(1)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            put_in_place(new(tmp_path), place)
    finally:
        over.set()
        looking.join()
    assert missing == []

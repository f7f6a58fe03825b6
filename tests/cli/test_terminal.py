"""Text for people."""

import io

import pytest
from click import unstyle

from potassium.cli.remote.background import bar
from potassium.cli.remote.results import pretty
from potassium.cli.remote.terminal import (
    Lines,
    ago,
    one_line,
    seconds_shown,
    size_shown,
    styled,
    table,
)


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "4")
    return Screen()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0.00 ms"),
        (0.00123, "1.23 ms"),
        (0.9994, "999 ms"),
        (9.996, "10.0 s"),
        (59.9, "59.9 s"),
        (59.99, "60.0 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (7384, "2 h 3 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_have_two_units_or_three_digits(seconds: float, shown: str) -> None:
    """So that they can be compared at a glance."""
    assert seconds_shown(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "now"), (5.9, "5 s ago"), (60, "1 min ago"), (7300, "2 h ago"), (1e6, "11 d ago")],
)
def test_how_long_ago_has_one_unit(seconds: float, shown: str) -> None:
    """Whole ones that have passed."""
    assert ago(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (12_345_678, "12.3 MB"), (5e15, "5000 TB")],
)
def test_sizes_have_three_digits(size: float, shown: str) -> None:
    """In powers of a thousand."""
    assert size_shown(size) == shown


def test_a_table_is_aligned_whatever_its_colours() -> None:
    """Numbers at the right."""
    lines = table([("A", "N"), (styled("long", fg="red"), "1"), ("b", "200")], right=[1])
    assert [unstyle(line) for line in lines] == ["A       N", "long    1", "b     200"]


def test_there_are_no_colours_if_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """``NO_COLOR`` takes them away."""
    assert styled("a", fg="red") != "a"
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("a", fg="red") == "a"


def test_lines_are_written_in_the_place_of_those_before(screen: Screen) -> None:
    """The cursor goes up by as many as there were, and what is left is taken away."""
    lines = Lines(screen)
    lines.show("a", "b")
    lines.show("c")
    assert screen.getvalue() == "a\x1b[K\nb\x1b[K\n\x1b[J\r\x1b[2Ac\x1b[K\n\x1b[J"
    lines.clear()
    assert screen.getvalue().endswith("\x1b[1A\x1b[J")
    lines.clear()
    assert screen.getvalue().count("\x1b[1A") == 1


def test_lines_fit_the_terminal(screen: Screen) -> None:
    """What is too wide would be two lines, and what is too high could not be taken away."""
    Lines(screen).show(styled("x" * 30, fg="red"), "2", "3", "4", "5")
    shown = unstyle(screen.getvalue()).split("\n")
    assert shown[0].removesuffix("\x1b[K") == "x" * 18 + "…"
    assert len(shown) == 4


def test_where_there_is_no_terminal_no_line_is_written() -> None:
    """A file would be full of them."""
    stream = io.StringIO()
    Lines(stream).show("a")
    assert stream.getvalue() == ""


def test_a_terminal_that_is_dumb_gets_no_lines(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would show the control characters."""
    monkeypatch.setenv("TERM", "dumb")
    Lines(screen).show("a")
    assert screen.getvalue() == ""


def test_text_of_a_server_does_not_command_the_terminal() -> None:
    """It is on one line, and what is not visible is a question mark."""
    assert one_line("a\n b\x1b[2J\u202e\x00é") == "a b?[2J??é"
    assert "\x1b[2J" not in bar(0.5, "\x1b[2J")


def test_a_bar_shows_a_share_and_what_the_handler_says() -> None:
    """On one line, whatever that is."""
    assert unstyle(bar(0.5, "half\nway")) == "█" * 15 + "·" * 15 + "  50% half way"
    assert unstyle(bar(None, None)) == "·" * 30 + "   0%"
    assert unstyle(bar(7.0, "")) == "█" * 30 + " 100%"


def test_json_is_laid_out_for_people() -> None:
    """What fits is on one line, and so are numbers, however many; integers stay exact."""
    assert pretty(b'{"a":[1,2],"b":"\xc3\xa9"}') == '{"a": [1, 2], "b": "é"}'
    numbers = "[" + ", ".join(["0.25"] * 50) + "]"
    long = b'{"n":%d,"v":%b,"w":[{"x":"%b"}]}' % (2**80, numbers.encode(), b"y" * 90)
    assert pretty(long).splitlines() == [
        "{",
        f'  "n": {2**80},',
        f'  "v": {numbers},',
        '  "w": [',
        "    {",
        f'      "x": "{"y" * 90}"',
        "    }",
        "  ]",
        "}",
    ]
    assert pretty(b"no json") == "no json"

"""How findings and tables look on a terminal."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import click

from potassium.project.finding import Finding, Level

__all__ = ["counted", "json_option", "show_findings", "show_json", "show_table"]

COLORS = {Level.OK: "green", Level.NOTE: "yellow", Level.PROBLEM: "red"}
WIDTH = 100

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def show_json(document: Any) -> None:
    """Print a document as JSON."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def show_findings(findings: Sequence[Finding]) -> None:
    """Print findings: how bad each is, what it is about, why, and what to type."""
    about = max((len(one.about) for one in findings), default=0)
    for one in findings:
        level = click.style(f"{one.level:<8}", fg=COLORS[one.level], bold=one.level != Level.OK)
        _show_text(f"{level}{one.about:<{about}}  ", 8 + about + 2, one.why)
        if one.fix is not None:
            _show_text(" " * (8 + about) + "  -> ", 8 + about + 5, one.fix)


def _show_text(head: str, indent: int, text: str) -> None:
    """Print a text behind a head of ``indent`` characters; one that has lines keeps them."""
    lines = text.splitlines()
    if len(lines) == 1:
        room = max(WIDTH - indent, 30)
        lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    click.echo(head + f"\n{' ' * indent}".join(lines))


def counted(findings: Iterable[Finding]) -> str:
    """Return how many problems and notes there are, as ``1 problem, 2 notes``."""
    levels = [one.level for one in findings]
    problems, notes = levels.count(Level.PROBLEM), levels.count(Level.NOTE)
    shown = f"{problems or 'No'} problem{'s' * (problems != 1)}"
    return shown + (f", {notes} note{'s' * (notes != 1)}" if notes else "")


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their heads; columns in which no row says anything are left out."""
    used = [index for index in range(len(heads)) if any(row[index] for row in rows)]
    lines = [[heads[index].upper() for index in used]]
    lines += [[row[index] or "-" for index in used] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(used))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())

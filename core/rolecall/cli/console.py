"""Prints answers and errors, with colours, marks or JSON, to any kind of stdout."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import click

from .reports import Grid, Line, Report, Tone, printable

_STYLES: Final[Mapping[Tone, Mapping[str, Any]]] = {
    Tone.PLAIN: {"reset": False},
    Tone.GOOD: {"fg": "green", "bold": True},
    Tone.BAD: {"fg": "red", "bold": True},
    Tone.DOUBTFUL: {"fg": "yellow"},
}
_MARKS: Final = ("✓", "·")
_ASCII_MARKS: Final = ("x", "-")
_COLUMNS: Final = 3
_LABEL_WIDTHS: Final = (8, 28)
# A text as long as a secret or a token, and a URL, which may hold a password: an error about the arguments must not
# repeat them.
_LONG_ARGUMENT: Final = re.compile(r"[^\s'()]+://[^\s']*|[^\s'()]{32,}")


def prepare_stdout() -> None:
    """Keep stdout from failing on a character that its encoding lacks."""
    if sys.stdout is None:
        raise OSError("stdout is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def abandon_output() -> None:
    """Discard buffered output, so that the interpreter does not fail on it again at exit."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_report(report: Report, as_json: bool) -> None:
    """Print an answer, as one JSON object or for people."""
    if as_json:
        print_json(report.data)
    else:
        _echo("\n\n".join("\n".join(_block(block)) for block in report.blocks))


def print_json(data: Mapping[str, Any]) -> None:
    """Print one JSON object in ASCII, which has no control characters and fits every encoding."""
    _echo(json.dumps(data, indent=2, default=dict).replace("\x7f", "\\u007f"))


def print_error(message: str, hint: str = "") -> None:
    """Print an error on stderr, in one line, and advice in a second."""
    for line in filter(None, (f"error: {message}", hint)):
        click.echo(printable(" ".join(line.split())), file=sys.stderr, color=False)


def print_note(message: str) -> None:
    """Print a note for people on stderr, which is no part of the answer."""
    click.echo(printable(message), file=sys.stderr, color=False)


def confirm(question: str, is_confirmed: bool) -> None:
    """Ask on stderr whether something is meant; exit with 1, as refused, unless it is.

    :param is_confirmed: whether an option says so already.
    """
    if is_confirmed:
        return
    with suppress(click.Abort):  # nobody is there to answer
        if click.confirm(question, err=True):
            return
    print_error("nothing was done; answer with y, or give --yes")
    raise click.exceptions.Exit(1)


def without_long_arguments(message: str) -> str:
    """``message`` without arguments that may be a misplaced token or secret."""
    return _LONG_ARGUMENT.sub("(an argument that may be secret, not shown)", message)


def _echo(text: str) -> None:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    # The file is passed because click would otherwise write UTF-8 to an ASCII stdout. The colour None removes colours
    # unless the file is a terminal.
    click.echo(text, file=sys.stdout, color=False if plain else None)


def _block(block: tuple[Line | Grid, ...]) -> list[str]:
    narrowest, widest = _LABEL_WIDTHS
    # A label without text is a heading, outside of the columns.
    labels = [part.label for part in block if isinstance(part, Grid) or part.text]
    width = min(max([narrowest, *map(len, labels)]), widest)
    lines: list[str] = []
    for part in block:
        lines += _grid(part, width) if isinstance(part, Grid) else _lines(part, width)
    return lines


def _lines(line: Line, width: int) -> list[str]:
    if not line.text:
        return [click.style(line.label, bold=True)]
    first, *others = (click.style(text, **_STYLES[line.tone]) for text in line.text.split("\n"))
    if not line.label:
        return [first, *others]
    return [_labelled(line.label, first, width), *(_labelled("", text, width) for text in others)]


def _grid(grid: Grid, width: int) -> list[str]:
    widest = max(len(name) for name, _ in grid.cells)
    rows = [grid.cells[start : start + _COLUMNS] for start in range(0, len(grid.cells), _COLUMNS)]
    labels = [grid.label] + [""] * (len(rows) - 1)
    return [
        _labelled(label, "  ".join(_cell(*cell, widest) for cell in row), width).rstrip()
        for label, row in zip(labels, rows, strict=True)
    ]


def _cell(name: str, holds: bool, width: int) -> str:
    held, missing = _marks()
    text = click.style(f"{held} {name}", fg="green") if holds else click.style(f"{missing} {name}", dim=True)
    return text + " " * (width - len(name))


def _labelled(label: str, text: str, width: int) -> str:
    return f"{click.style(label.ljust(width), dim=True)}  {text}"


def _marks() -> tuple[str, str]:
    try:
        "".join(_MARKS).encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return _ASCII_MARKS
    return _MARKS

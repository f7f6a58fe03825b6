"""What a command writes, to a file or to stdout."""

from pathlib import Path

import click

from potassium.errors import UsageError

__all__ = ["output_option", "put"]

output_option = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to this file.  [default: print it]",
)


def put(content: bytes, file: Path | None) -> None:
    """Write ``content`` to ``file`` and say so, or print it if that is None.

    Raises:
        UsageError: the file cannot be written.

    """
    if file is None:
        click.echo(content, nl=False)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error
    click.echo(f"Wrote {file}.", err=True)

"""``potassium openapi``: prints the schema of an app."""

import json
from pathlib import Path

import click

from potassium.cli.apps import load_unserved, target_argument
from potassium.cli.output import output_option, put
from potassium.cli.text import CONTEXT
from potassium.http.codec import encode
from potassium.project.target import Target

__all__ = ["command"]


@click.command("openapi", context_settings=CONTEXT)
@target_argument
@output_option
@click.option(
    "--indent", type=click.IntRange(0, 8), default=2, help="Blanks for each level; 0 for one line."
)
def command(target: str | None, output: Path | None, indent: int) -> None:
    """Print the OpenAPI document of the app in TARGET, as GET /openapi.json shows it.

    The app is imported; its model is not loaded, and nothing is served.

    \b
    Examples:
      potassium openapi app.py
      potassium openapi app.py -o openapi.json
      potassium openapi --indent 0 | npx openapi-typescript > client.ts
    """  # noqa: D301 - click's sign for lines to be left as they are
    app = load_unserved(Target.of(target, Path.cwd())).app
    content = encode(app.openapi())
    if indent:
        content = json.dumps(json.loads(content), indent=indent, ensure_ascii=False).encode()
    put(content + b"\n", output)

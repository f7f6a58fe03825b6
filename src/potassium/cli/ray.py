"""``potassium ray``: runs an app on Ray Serve, on this machine."""

from pathlib import Path

import click

from potassium.cli.apps import target_argument
from potassium.cli.text import CONTEXT
from potassium.config import default_host, default_port
from potassium.project.target import Target
from potassium.ray.local import PROXIES, Local, Proxy
from potassium.serving.log_config import set_up_logging

__all__ = ["command"]


@click.command("ray", context_settings=CONTEXT)
@target_argument
@click.option("--replicas", type=click.IntRange(1), default=1, help="How many replicas there are.")
@click.option(
    "--proxy",
    type=click.Choice(PROXIES),
    default="haproxy",
    help="What balances between them; haproxy listens on all addresses.",
)
@click.option(
    "--host", help="The address that python listens on.  [default: POTASSIUM_HOST, 127.0.0.1]"
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="The port.  [default: POTASSIUM_PORT, AIP_HTTP_PORT, PORT, 8000]",
)
@click.option(
    "--gpus",
    type=click.FloatRange(0),
    help="GPUs of each replica, such as 0.5.  [default: 1 if there are any]",
)
def command(  # noqa: PLR0913, PLR0917 - its options
    target: str | None,
    replicas: int,
    proxy: Proxy,
    host: str | None,
    port: int | None,
    gpus: float | None,
) -> None:
    """Run the app in TARGET on Ray Serve on this machine, until Ctrl-C.

    TARGET is a file (app.py), a module (package.app), or either with the app's name (app.py:app).
    Without it, the app of this folder is run. Each replica is a process with a model of its own.
    For a cluster, see potassium.ray.deployment.

    Needs pip install "potassium[ray]".

    \b
    Examples:
      potassium ray app.py
      potassium ray app.py --replicas 2 --gpus 0.5
      potassium ray package.app:app --proxy python --port 9000
    """  # noqa: D301 - Click needs the character itself
    set_up_logging(None)
    Local(
        app=Target.of(target, Path.cwd()),
        replicas=replicas,
        proxy=proxy,
        host=default_host() if host is None else host,
        port=default_port() if port is None else port,
        gpus=gpus,
    ).run()

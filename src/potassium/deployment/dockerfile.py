"""The Dockerfile of an app, and what does not belong into its image."""

import json

from potassium.config import PORTS
from potassium.deployment.facts import APP, CACHE, ImageFacts

__all__ = ["HEALTH_CHECK", "USER", "render_dockerfile", "render_dockerignore"]

USER = 10001  # a number, so that Kubernetes can see that it is not root
MODELS = "/models"
SNAPSHOT = "/fastboot"  # not below the app: a volume may hide what is there
UV = "uv>=0.9,<1"
HUB = "huggingface_hub>=1,<3"
LONGEST_START = "30m"

# With nothing but the standard library: slim images have no curl. No proxy of the environment is
# asked, and no package is imported, so it takes a few hundredths of a second.
HEALTH_CHECK = (
    "import http.client, os, sys; "
    f"port = next(os.environ[one] for one in {PORTS!r} if os.environ.get(one)); "
    "server = http.client.HTTPConnection('127.0.0.1', int(port), timeout=4); "
    "server.request('GET', '/healthz'); "
    "sys.exit(server.getresponse().status != 200)"
)

IGNORED = """\
# What the image must not contain: secrets, and what is made anew.
**/.env*
**/*.pem
**/*.key
.git
.venv
venv
.potassium
**/__pycache__
**/*.pyc
.mypy_cache
.pytest_cache
.ruff_cache
Dockerfile*
compose*.yaml
.dockerignore
"""


def render_dockerignore() -> str:
    """Return the text of a ``.dockerignore``."""
    return IGNORED


def render_dockerfile(facts: ImageFacts) -> str:
    """Return the text of a Dockerfile for the app of ``facts``.

    Requirements, model and code are layers of their own, and only what has changed is made anew.
    The server runs as a user without rights, and writes to ``facts.writable`` alone.
    """
    stages = [_head(facts), _requirements(facts), _model(facts), _server(facts)]
    return "\n".join(stage for stage in stages if stage)


def _head(facts: ImageFacts) -> str:
    gpus = "--gpus all " if facts.accelerator == "cuda" else ""
    gated = (
        "# If the model is gated, build it with --secret id=hf_token,env=HF_TOKEN; the token does "
        "not get into\n# the image.\n"
        if facts.download
        else ""
    )
    return f"""\
# syntax=docker/dockerfile:1
# The image of {facts.target}. Build it, and run it:
#   docker build --tag server .
#   docker run --rm --init --read-only {gpus}--stop-timeout {facts.stop_seconds} \\
#     --publish 127.0.0.1:{facts.port}:{facts.port} server
{gated}"""


def _requirements(facts: ImageFacts) -> str:
    """Return the stage that installs what the app needs; made anew if the list changes."""
    cached = "RUN --mount=type=cache,target=/root/.cache/uv \\\n    "
    match facts.requirements:
        case None:
            install = (
                "# There is no requirements.txt, pyproject.toml or uv.lock: write one, and make\n"
                "# this file anew.\n"
                f"{cached}uv pip install potassium\n"
            )
        case "uv.lock":
            install = (
                "COPY pyproject.toml uv.lock ./\n"
                f"{cached}uv sync --locked --no-dev --no-install-project\n"
            )
        case file:
            install = f"COPY {file} ./\n{cached}uv pip install --requirements {file}\n"
    torch = " \\\n    UV_TORCH_BACKEND=cpu" if facts.accelerator == "cpu" else ""
    return f"""\
# What the app needs. Made anew only if the list of it changes.
FROM python:{facts.python}-slim AS requirements
RUN pip install --no-cache-dir "{UV}"
ENV VIRTUAL_ENV=/venv \\
    UV_PROJECT_ENVIRONMENT=/venv \\
    UV_COMPILE_BYTECODE=1 \\
    UV_LINK_MODE=copy \\
    UV_PYTHON_DOWNLOADS=never{torch}
WORKDIR /build
RUN uv venv /venv
{install}"""


def _model(facts: ImageFacts) -> str:
    """Return the stage that downloads the model; made anew if the script changes."""
    if facts.download is None:
        return ""
    if facts.download_requirements is None:
        install = f'RUN pip install --no-cache-dir "{HUB}"\n'
    else:
        listed = facts.download_requirements
        install = f"COPY {listed} ./\nRUN pip install --no-cache-dir --requirement {listed}\n"
    return f"""\
# The model. Made anew only if the script that downloads it changes.
FROM python:{facts.python}-slim AS model
WORKDIR /build
{install}ENV HF_HOME={MODELS}
COPY {facts.download} ./
RUN --mount=type=secret,id=hf_token,env=HF_TOKEN \\
    mkdir {MODELS} && python {facts.download} && chmod -R a+rX {MODELS}
"""


def _server(facts: ImageFacts) -> str:
    """Return the stage that becomes the image."""
    folders = " ".join(str(one) for one in facts.writable if str(one) != "/tmp")  # noqa: S108
    model = f"COPY --link --from=model {MODELS} {MODELS}\n" if facts.download else ""
    environ = {
        "PATH": "/venv/bin:$PATH",
        "HOME": str(CACHE),
        **(
            {"HF_HOME": MODELS, "HF_HUB_OFFLINE": "1"}
            if facts.download
            else {"HF_HOME": f"{CACHE}/huggingface"}
        ),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **(
            {"NVIDIA_DRIVER_CAPABILITIES": "compute,utility"} if facts.accelerator == "cuda" else {}
        ),
        "POTASSIUM_HOST": "0.0.0.0",  # noqa: S104 - the container's own interface
        "PORT": str(facts.port),
        **({"POTASSIUM_FASTBOOT": SNAPSHOT} if facts.fastboot else {}),
    }
    snapshot = (
        "# What init loads, so that the server restores it instead of running init.\n"
        f"RUN potassium build {facts.target}\n"
        if facts.fastboot
        else ""
    )
    lines = " \\\n    ".join(f"{name}={value}" for name, value in environ.items())
    return f"""\
# The image. The server writes to the volumes alone.
FROM python:{facts.python}-slim AS server
RUN useradd --uid {USER} --user-group --no-log-init --no-create-home --home-dir {CACHE} server \\
    && install --directory --owner={USER} --group={USER} {folders}
{model}COPY --link --from=requirements /venv /venv
ENV {lines}
WORKDIR {APP}
COPY . ./
{snapshot}VOLUME {json.dumps([str(one) for one in facts.writable])}
USER {USER}:{USER}
EXPOSE {facts.port}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period={LONGEST_START} --retries=3 \\
    CMD {json.dumps(["python", "-IS", "-c", HEALTH_CHECK])}
CMD {json.dumps(facts.command)}
"""

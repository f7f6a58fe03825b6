"""``potassium dockerfile``."""

from pathlib import Path

import pytest
from cli.project.conftest import Type

from potassium import Limits
from potassium.deployment import stop_seconds

APP = """\
from potassium import Jobs, Limits, Potassium

app = Potassium("shop", limits=Limits(grace_period=600), jobs=Jobs(path="kept/jobs.db"))

@app.handler
def echo(cache, item: dict): ...

if __name__ == "__main__":
    app.serve(port=9000)
"""


@pytest.fixture(autouse=True)
def app_file(folder: Path) -> Path:
    (folder / "app.py").write_text(APP)
    (folder / "requirements.txt").write_text("potassium\n")
    return folder / "app.py"


def test_it_says_what_the_app_says(type_: Type) -> None:
    """Its port, how long it takes to stop, where its jobs are, and what it requires."""
    typed = type_("dockerfile", "app.py")

    assert typed.status == 0
    assert typed.out.startswith("# syntax=docker/dockerfile:1\n# The image of app.py.")
    assert "EXPOSE 9000" in typed.out
    assert f"--stop-timeout {stop_seconds(Limits(grace_period=600))}" in typed.out
    assert 'VOLUME ["/app/kept", "/cache", "/tmp"]' in typed.out
    assert "COPY requirements.txt" in typed.out
    assert 'CMD ["python", "app.py"]' in typed.out


def test_options_outweigh_what_is_found_out(type_: Type) -> None:
    typed = type_("dockerfile", "--cpu", "--python", "3.13", "--port", "80")

    assert "UV_TORCH_BACKEND=cpu" in typed.out
    assert "--gpus" not in typed.out
    assert "FROM python:3.13-slim AS server" in typed.out
    assert "EXPOSE 80" in typed.out
    assert "UV_TORCH_BACKEND" not in type_("dockerfile", "--cuda").out


@pytest.mark.parametrize("version", ["2", "3.1", "3.10", "3.110", "latest"])
def test_a_python_that_cannot_run_it_is_refused(type_: Type, version: str) -> None:
    typed = type_("dockerfile", "--python", version)

    assert typed.status == 2
    assert f"{version!r} is not 3.11 or later" in typed.err
    assert typed.out == ""


@pytest.mark.parametrize("version", ["3.11", "3.12.7", "3.14-rc"])
def test_a_python_is_taken_as_its_image_is_called(type_: Type, version: str) -> None:
    assert f"FROM python:{version}-slim" in type_("dockerfile", "--python", version).out


def test_it_is_written_with_what_does_not_belong_into_the_image(type_: Type, folder: Path) -> None:
    typed = type_("dockerfile", "-o", "Dockerfile")

    assert typed.status == 0
    assert typed.err == "Wrote Dockerfile.\nWrote .dockerignore.\n"
    assert (folder / "Dockerfile").read_text() == type_("dockerfile").out
    assert "**/.env*" in (folder / ".dockerignore").read_text()


def test_one_that_is_printed_reminds_of_what_does_not_belong_into_the_image(
    type_: Type, folder: Path
) -> None:
    assert "There is no .dockerignore" in type_("dockerfile").err
    (folder / ".dockerignore").write_text("mine")
    assert type_("dockerfile").err == ""
    type_("dockerfile", "-o", "Dockerfile")
    assert (folder / ".dockerignore").read_text() == "mine"


def test_one_that_is_there_is_not_overwritten_unless_that_is_wanted(
    type_: Type, folder: Path
) -> None:
    (folder / "Dockerfile").write_text("mine")

    typed = type_("dockerfile", "-o", "Dockerfile")

    assert (typed.status, typed.err) == (
        2,
        "Error: Dockerfile exists; to overwrite it, add --force.\n",
    )
    assert (folder / "Dockerfile").read_text() == "mine"
    assert type_("dockerfile", "-o", "Dockerfile", "--force").status == 0
    assert (folder / "Dockerfile").read_text() != "mine"


def test_an_app_whose_libraries_are_not_here_gets_one_with_a_warning(
    type_: Type, app_file: Path
) -> None:
    app_file.write_text(f"import only_in_the_image\n{APP}")

    typed = type_("dockerfile")

    assert typed.status == 0
    assert "EXPOSE 9000" in typed.out
    assert "No module named 'only_in_the_image'" in typed.err
    assert "app could not be imported, see above: taking its limits" in typed.err


def test_an_app_that_is_put_together_wrongly_gets_none(type_: Type, app_file: Path) -> None:
    app_file.write_text(APP.replace("def echo(cache, item: dict)", "def echo()"))

    typed = type_("dockerfile")

    assert (typed.status, typed.out) == (1, "")
    assert "echo cannot be a handler" in typed.err


def test_a_module_of_a_package_is_served_as_such(type_: Type, folder: Path) -> None:
    """As a file it could not import what is beside it in the package."""
    package = folder / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "served.py").write_text(APP.replace("app", "model"))

    for target in ("shop/served.py", "shop.served", "shop.served:model"):
        typed = type_("dockerfile", target)
        assert 'CMD ["potassium", "serve", "shop.served:model"]' in typed.out
        assert "COPY requirements.txt" in typed.out


def test_what_init_loads_is_kept_in_images_without_cuda_only(type_: Type) -> None:
    """There is no GPU where they are built."""
    assert "RUN potassium build app.py\n" in type_("dockerfile", "--cpu", "--fastboot").out
    typed = type_("dockerfile", "--fastboot")
    assert typed.status == 2
    assert "Add --cpu, or run potassium build where the server runs." in typed.err

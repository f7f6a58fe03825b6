"""Builds and runs an image without Docker: each step of a Dockerfile in a file system of its own.

The base image is the machine itself, with Python where it is here. What a stage changes goes to an
overlay of its own. Needs root, and Linux with overlayfs.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

__all__ = ["Image", "build", "need_overlays"]

BASE_PATH = f"{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Image:
    """A stage of a build; the last one is the image.

    Attributes:
        folder: holds the overlay.
        environ: the environment of its processes.
        workdir: their working directory.
        said: the other instructions, by name; the last one of each counts.

    """

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    said: dict[str, str] = field(default_factory=dict)

    @property
    def upper(self) -> Path:
        return self.folder / "upper"

    def command(self, argv: Sequence[str], *, prepare: str = "") -> list[str]:
        """Return what runs ``argv`` inside; the script ``prepare`` is run before, outside."""
        root, inner = self.folder / "root", shlex.join(argv)
        options = f"lowerdir=/,upperdir={self.upper},workdir={self.folder / 'work'}"
        environ = shlex.join(f"{name}={value}" for name, value in self.environ.items())
        script = f"""
            set -e
            root={root}
            mount -t overlay overlay -o {options} $root
            mount --bind /proc $root/proc
            mount --bind /dev $root/dev
            {prepare}
            cd $root
            exec env --ignore-environment {environ} \\
                chroot $root /bin/sh -c {shlex.quote(f"cd {self.workdir} && exec {inner}")}
        """
        return ["unshare", "--mount", "sh", "-c", script]

    def run(self, script: str, environ: Mapping[str, str]) -> None:
        """Run a step of the build, as root."""
        before = dict(self.environ)
        self.environ |= environ
        command = self.command(["/bin/sh", "-c", script])
        self.environ = before
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"

    def copy(self, value: str, context: Path, stages: Mapping[str, "Image"]) -> None:
        """Copy from the context, or from another stage."""
        *options, last = (one for one in value.split() if one != "--link")
        given = [one for one in options if not one.startswith("--from=")]
        (source,) = [
            stages[one.removeprefix("--from=")].upper
            for one in options
            if one.startswith("--from=")
        ] or [context]
        target = self.upper / os.path.join(self.workdir, last).strip("/")  # noqa: PTH118
        for name in given:
            path = source / name.strip("/")
            if path.is_dir():
                shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)

    def start(self, argv: Sequence[str], environ: Mapping[str, str], volumes: Path) -> list[str]:
        """Return what runs ``argv`` as the user of the image, with a root that is read-only.

        Only its volumes can be written to; they are in the folder ``volumes``.
        """
        user, group = self.said["USER"].split(":")
        binds = ""
        for at, path in enumerate(json.loads(self.said["VOLUME"])):
            volume = volumes / str(at)
            if not volume.exists():
                volume.mkdir(parents=True)
                made = self.upper / path.strip("/")
                mode, owner = (0o1777, 0) if path == "/tmp" else (0o755, made.stat().st_uid)  # noqa: S108
                volume.chmod(mode)
                os.chown(volume, owner, owner)
            binds += f"mount --bind {volume} $root{path}\n"
        prepare = f"{binds}mount -o remount,ro overlay $root"
        rights = ["--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs"]
        drop = ["setpriv", *rights, "--bounding-set=-all", "--inh-caps=-all"]
        before = dict(self.environ)
        self.environ |= environ
        command = self.command([*drop, *argv], prepare=prepare)
        self.environ = before
        return command


def need_overlays() -> None:
    """Skip the test except in ``nox -s deploy``, and where nothing can be mounted."""
    if os.environ.get("DEPLOY") != "required":
        pytest.skip("builds an image, with packages of the registry: nox -s deploy")
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("needs to be root on Linux")
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(probe, check=False).returncode != 0:
        pytest.skip("cannot mount anything here")


def build(dockerfile: str, context: Path, folder: Path, environ: Mapping[str, str]) -> Image:
    """Run every step of a Dockerfile; return its last stage.

    ``environ`` is added to that of each step, but is no part of the image.
    """
    parser = DockerfileParser(fileobj=BytesIO())  # type: ignore[arg-type] # its stub says str
    parser.content = dockerfile
    stages: dict[str, Image] = {}
    for one in parser.structure:
        name, value = one["instruction"], one["value"]
        if name == "FROM":
            stage = _begin(folder / value.rpartition(" AS ")[2])
            stages[stage.folder.name] = stage
        elif name == "ENV":
            for variable, _, text in (part.partition("=") for part in value.split()):
                stage.environ[variable] = text.replace("$PATH", stage.environ["PATH"])
        elif name == "WORKDIR":
            stage.workdir = value
            (stage.upper / value.strip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "RUN":
            words = value.split()
            script = " ".join(word for word in words if not word.startswith("--mount="))
            stage.run(script, environ)
        elif name == "COPY":
            stage.copy(value, context, stages)
        elif name != "COMMENT":
            stage.said[name] = value
    return stage


def _begin(folder: Path) -> Image:
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    stage = Image(folder, {"PATH": BASE_PATH})
    stage.run("chmod a+rx /root", {})  # Python may be there; in a real base image, it is not
    return stage

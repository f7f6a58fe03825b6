"""What it takes to deploy an app: the Dockerfile, and how long the server may take to stop."""

from potassium.deployment.dockerfile import render_dockerfile, render_dockerignore
from potassium.deployment.facts import Accelerator, ImageFacts, image_facts
from potassium.deployment.stop_time import stop_seconds

__all__ = [
    "Accelerator",
    "ImageFacts",
    "image_facts",
    "render_dockerfile",
    "render_dockerignore",
    "stop_seconds",
]

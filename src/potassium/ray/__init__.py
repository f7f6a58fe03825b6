"""Serves an app on a Ray cluster, with Ray Serve: ``pip install "potassium[ray]"``."""

from potassium.ray.autoscaling import Autoscaling
from potassium.ray.deployment import build, deployment

__all__ = ["Autoscaling", "build", "deployment"]

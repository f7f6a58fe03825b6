"""What operators see of an app: metrics, traces and access logs. Off unless asked for."""

from potassium.observe.observation import Observation

__all__ = ["Observation"]

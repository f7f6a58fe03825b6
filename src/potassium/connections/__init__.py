"""HTTP/1.1 connections under uvicorn, with limits on what each may send and hold, and how long."""

from potassium.connections.connections import Connections

__all__ = ["Connections"]

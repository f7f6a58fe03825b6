"""HTTP/1.1 connections under uvicorn: what each may send, take and keep, and for how long."""

from potassium.connections.connections import Connections

__all__ = ["Connections"]

"""Logs: a line for each call, and the formats in which a server of its own writes all lines.

The lines of calls go to the logger ``potassium.access`` wherever they are on; how they are written
is up to whoever has set up logging. Under ``app.serve(log=...)`` that is ``process_log``.
"""

__all__: list[str] = []

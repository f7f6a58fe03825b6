"""Whether an app is being imported by whoever is going to serve it."""

from contextvars import ContextVar

from potassium.errors import UsageError

__all__ = ["IMPORTED", "check_not_imported"]

# The module that is being imported for its app; None otherwise.
IMPORTED: ContextVar[str | None] = ContextVar("potassium_imported", default=None)


def check_not_imported() -> None:
    """Check that the app may be served, or started, now.

    Raises:
        UsageError: its module is being imported for its app, by a command or another process.

    """
    if (module := IMPORTED.get()) is not None:
        raise UsageError(
            f"{module} began to serve while it was imported, by a command or as a worker. Write it "
            f"so that it serves only for python {module.rpartition('.')[2]}.py:\n\n"
            '    if __name__ == "__main__":\n        app.serve()'
        )

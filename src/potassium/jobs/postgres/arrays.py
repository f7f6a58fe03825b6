"""Many rows as the arrays that one statement takes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["arrays", "given"]


def given(columns: Mapping[str, str], prefix: str = "") -> str:
    """Return what stands for the rows in a statement: a call of ``unnest`` with one array a column.

    Args:
        columns: the names and types of the columns.
        prefix: of the names of the parameters.

    """
    calls = ", ".join(f"%({prefix}{name})b::{kind}[]" for name, kind in columns.items())
    return f"unnest({calls}) AS given ({', '.join(columns)})"


def arrays(
    columns: Iterable[str], rows: Sequence[Mapping[str, Any]], prefix: str = ""
) -> Mapping[str, Sequence[Any]]:
    """Return the parameters of ``given`` for these rows."""
    return {f"{prefix}{name}": [row[name] for row in rows] for name in columns}

"""Tables of pandas, polars and pyarrow: as records, Arrow, and CSV."""

import io
import sys
from collections.abc import Sequence
from typing import Any

from potassium.http.codec import encode
from potassium.http.representations.form import JSON, Form, cannot_be_sent, missing

__all__ = ["ARROW", "TABLE_FORMS", "arrow_stream", "pyarrow"]

ARROW = "application/vnd.apache.arrow.stream"
CSV = "text/csv"


def pyarrow() -> Any:
    """Return the library.

    Raises:
        ModuleNotFoundError: it is not installed.

    """
    try:
        import pyarrow.csv  # noqa: PLC0415 - for few apps
    except ImportError as error:
        raise missing("Sending Arrow", "pyarrow", "arrow") from error
    return pyarrow


def arrow_stream(table: Any) -> bytes:
    """Return a table of pyarrow in the streaming format of Arrow IPC."""
    sink = io.BytesIO()
    with pyarrow().ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return sink.getvalue()


def _arrow(table: Any) -> bytes:
    library = pyarrow()
    try:
        if _is_of_pandas(table):
            table = library.Table.from_pandas(table)
        elif hasattr(table, "to_arrow"):  # of polars
            table = table.to_arrow()
        return arrow_stream(table)
    except Exception as error:  # columns of one name, or values that Arrow has no type for
        raise cannot_be_sent("The table", error) from error


def _csv(table: Any) -> bytes:
    if not _is_of_pandas(table) and not hasattr(table, "write_csv"):  # of polars
        return _csv_of_arrow(table)
    try:
        text: str = table.to_csv(index=False) if _is_of_pandas(table) else table.write_csv()
        return text.encode()
    except Exception as error:  # such as lists, or text that is not UTF-8
        raise cannot_be_sent("The table", error) from error


def _csv_of_arrow(table: Any) -> bytes:
    library, sink = pyarrow(), io.BytesIO()
    try:
        library.csv.write_csv(table, sink)
    except library.ArrowException as error:
        raise cannot_be_sent("The table", error) from error
    return sink.getvalue()


def _is_of_pandas(table: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(table, pandas.DataFrame)


TABLE_FORMS: Sequence[Form] = (Form(JSON, encode), Form(ARROW, _arrow), Form(CSV, _csv))

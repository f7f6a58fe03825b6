"""What a function's return annotation says about how its results are sent."""

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from potassium.http.representations.arrays import NamedArrays

__all__ = ["Presenter", "presenter_of"]

Presenter = Callable[[Any], Any]

ARRAYS = (("numpy", "ndarray"), ("torch", "Tensor"))


def presenter_of(function: Callable[..., Any], *, batched: bool = False) -> Presenter | None:
    """Return what makes the results of ``function`` what its return annotation says, or None.

    ``-> Image`` makes a picture of an array, ``-> Array`` an array of lists, and
    ``-> dict[str, Array]`` one result with several forms of a dict of arrays. Results that are
    neither are left as they are.

    Args:
        function: a handler, or its ``finish`` step.
        batched: whether it returns a list of results.

    """
    try:
        annotation = inspect.signature(function, eval_str=True).return_annotation
    except Exception:  # noqa: BLE001 - an annotation may be any code, and is not needed
        return None
    if batched:
        is_list = get_origin(annotation) in (list, Sequence, Iterator, AsyncIterator)
        annotation = next(iter(get_args(annotation)), None) if is_list else None
    annotation = _plain(annotation)
    if _is(annotation, "PIL.Image", "Image"):
        from potassium.media.image import picture_of  # noqa: PLC0415 - only for apps with Pillow

        return picture_of
    if _is_array(annotation):
        return _as_array
    if get_origin(annotation) is dict and _is_array(_plain(get_args(annotation)[1])):
        return _as_arrays
    return None


def _plain(annotation: Any) -> Any:
    """Return an annotation without its metadata, and without None."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
            if len(kinds) > 1:
                return None
            annotation = kinds[0]
        else:
            return annotation


def _is_array(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation  # NDArray[float32] is ndarray[...]
    return any(_is(kind, *where) for where in ARRAYS)


def _is(annotation: Any, module: str, name: str) -> bool:
    return annotation is getattr(sys.modules.get(module), name, NoneType)


def _as_array(result: Any) -> Any:
    numpy = sys.modules.get("numpy")
    return numpy.asarray(result) if numpy is not None and type(result) is list else result


def _as_arrays(result: Any) -> Any:
    return NamedArrays(result) if type(result) is dict else result

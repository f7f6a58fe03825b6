"""Values that are files by nature: pictures, figures, sound."""

import base64
import copy
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from potassium.http.representations.form import Form
from potassium.http.representations.pictures import FIGURE_FORMS, PICTURE_FORMS
from potassium.http.representations.sounds import SOUND_FORMS, samples_of

__all__ = ["FILES", "Kind", "data_url", "kind_among"]


class Kind(NamedTuple):
    """A class of values, and how they are sent.

    Attributes:
        module: the module of the class; an app that has not imported it has no such value.
        name: the name of the class.
        forms: how they can be sent, the default first.
        aside: returns a copy that may be encoded on any thread while the app goes on to use the
            value; None if that is not worth it, or not possible.
        is_bound: whether values must be encoded on the thread that made them.

    """

    module: str
    name: str
    forms: Sequence[Form]
    aside: Callable[[Any], Any] | None = None
    is_bound: bool = False


def _copy_of_sound(sound: Any) -> Any:
    return type(sound)(copy.copy(samples_of(sound)), sound.rate)


# matplotlib is not safe for threads: the app may be drawing the next figure already, and the two
# get letters of each other.
FILES = (
    Kind("PIL.Image", "Image", PICTURE_FORMS, aside=lambda image: image.copy()),
    Kind("matplotlib.figure", "Figure", FIGURE_FORMS, is_bound=True),
    Kind("potassium.media.audio", "Audio", SOUND_FORMS, aside=_copy_of_sound),
)


def kind_among(kinds: Iterable[Kind], value: Any) -> Kind | None:
    """Return the kind of ``value``, or None if it is of none of ``kinds``."""
    for kind in kinds:
        module = sys.modules.get(kind.module)
        if module is not None and isinstance(value, getattr(module, kind.name, ())):
            return kind
    return None


def data_url(value: Any) -> str | None:
    """Return a value in its default form as a data URL (RFC 2397), or None if it is no file."""
    kind = kind_among(FILES, value)
    if kind is None:
        return None
    form = kind.forms[0]
    return f"data:{form.media_type};base64,{base64.b64encode(form.encode(value)).decode()}"

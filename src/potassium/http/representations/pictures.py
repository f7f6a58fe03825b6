"""Pictures of Pillow and figures of matplotlib, as files."""

import io
import sys
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from potassium.http.representations.form import Form, cannot_be_sent

__all__ = ["FIGURE_FORMS", "PICTURE_FORMS"]

DRAWING = threading.Lock()  # two figures that are drawn at once get letters of each other

# What each format can hold; pictures of other modes are converted to the last one.
MODES = {
    "PNG": ("1", "L", "LA", "I;16", "P", "RGBA", "RGB"),
    "JPEG": ("L", "CMYK", "RGB"),
    "WEBP": ("RGBA", "RGB"),
}


def _picture(image: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    try:
        _in_mode_of(kind, image).save(buffer, kind)
    except Exception as error:  # no pixels, too many, no such codec, or whatever it holds beside
        raise cannot_be_sent("The picture", error) from error
    return buffer.getvalue()


def _in_mode_of(kind: str, image: Any) -> Any:
    """Return a picture in a mode that a format can hold; for JPEG, white shines through it."""
    if image.mode in MODES[kind]:
        return image
    if kind == "PNG" and image.mode.startswith("I"):
        return image.convert("I").convert("I;16")
    if image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if not image.has_transparency_data:
        return image.convert(MODES[kind][-1])
    image = image.convert("RGBA")
    if kind != "JPEG":
        return image
    from PIL import Image  # noqa: PLC0415 - the app has imported it

    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def _figure(figure: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    try:
        with DRAWING:
            figure.savefig(buffer, format=kind)
    except Exception as error:  # such as a text that it cannot set
        raise cannot_be_sent("The figure", error) from error
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)  # it keeps those that it has made until then
    return buffer.getvalue()


PICTURE_FORMS: Sequence[Form] = (
    Form("image/png", partial(_picture, kind="PNG")),
    Form("image/jpeg", partial(_picture, kind="JPEG")),
    Form("image/webp", partial(_picture, kind="WEBP")),
)
FIGURE_FORMS: Sequence[Form] = (
    Form("image/png", partial(_figure, kind="png")),
    Form("image/svg+xml", partial(_figure, kind="svg")),
)

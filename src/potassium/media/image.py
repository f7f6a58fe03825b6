"""``potassium.Image``: a picture of Pillow, as the type of an input or a result."""

import sys
from typing import Annotated, Any, BinaryIO, cast

try:
    import PIL.Image
    import PIL.ImageOps
except ImportError as error:
    raise ModuleNotFoundError('Pictures need Pillow: pip install "potassium[images]"') from error

from potassium.http.file import File
from potassium.media.from_file import FromFile

__all__ = ["FORMATS", "Image", "decode", "picture_of"]

# Others of Pillow's run other programs, or are read by nobody.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
CHANNELS = (1, 3, 4)
MOST_SCANS = 100  # of a progressive JPEG, as libtiff has it; each takes as long as a picture
SCAN = b"\xff\xda"  # the marker before each; no compressed data contains it
PIECE = 2**20  # bytes


def decode(file: File) -> PIL.Image.Image:
    """Return the picture in ``file``, upright: turned as its EXIF orientation says.

    Of an animation, it is the first frame; the others can be sought while the call lasts.

    Raises:
        ValueError: it is no picture of one of ``FORMATS``, it is damaged, or it has more pixels
            than ``PIL.Image.MAX_IMAGE_PIXELS``, which an app may set.

    """
    try:
        image = PIL.Image.open(cast("BinaryIO", file), formats=FORMATS)
    except PIL.UnidentifiedImageError:
        raise ValueError(f"The file is no picture of these formats: {', '.join(FORMATS)}") from None
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
        raise _too_large() from None
    except Exception as error:  # noqa: BLE001 - a decoder of many meets what it did not expect
        raise _damaged(error) from None
    most = PIL.Image.MAX_IMAGE_PIXELS
    if most is not None and image.width * image.height > most:
        raise _too_large()
    if image.format in ("JPEG", "MPO") and _scans(file) > MOST_SCANS:
        raise ValueError(f"The picture has more than {MOST_SCANS} scans")
    try:
        PIL.ImageOps.exif_transpose(image, in_place=True)  # loads it first
    except PIL.Image.DecompressionBombError:
        raise _too_large() from None
    except Exception as error:  # noqa: BLE001 - as above
        raise _damaged(error) from None
    return image


def picture_of(result: Any) -> Any:
    """Return a picture with the pixels of an array or a tensor; anything else as it is.

    The shape is height x width, with 1, 3 or 4 channels behind that in an array and before that in
    a tensor, as in torchvision. Floating-point numbers are from 0 to 1.

    Raises:
        TypeError: the array has no such shape.

    """
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if torch is not None and isinstance(result, torch.Tensor):
        result = result.detach().cpu()
        result = (result.float() if result.is_floating_point() else result).numpy()
        if result.ndim == 3 and result.shape[0] in CHANNELS:  # noqa: PLR2004
            result = result.transpose(1, 2, 0)
        numpy = sys.modules["numpy"]
    if numpy is None or not isinstance(result, numpy.ndarray):
        return result
    if result.ndim == 3 and result.shape[2] == 1:  # noqa: PLR2004
        result = result[:, :, 0]
    if result.ndim != 2 and (result.ndim != 3 or result.shape[2] not in CHANNELS):  # noqa: PLR2004
        raise TypeError(f"an array of the shape {result.shape} is no picture")
    if result.dtype.kind == "f":
        result = (numpy.nan_to_num(result).clip(0, 1) * 255).round()
    elif result.dtype.kind == "b":
        result = result * 255
    return PIL.Image.fromarray(numpy.ascontiguousarray(result, numpy.uint8).copy())


def _scans(file: File) -> int:
    position, scans, last = file.tell(), 0, b""
    file.seek(0)
    while piece := file.read(PIECE):
        scans += (last + piece).count(SCAN)
        last = piece[-1:]
    file.seek(position)
    return scans


def _too_large() -> ValueError:
    return ValueError(f"The picture has more than {PIL.Image.MAX_IMAGE_PIXELS} pixels")


def _damaged(error: Exception) -> ValueError:
    return ValueError(f"The picture is damaged or incomplete ({type(error).__name__})")


Image = Annotated[PIL.Image.Image, FromFile(decode, ("image/*",))]

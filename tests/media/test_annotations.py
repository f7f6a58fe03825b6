"""The annotations as apps import them."""

import subprocess
import sys

import numpy as np
import PIL.Image
import pydantic
import pytest

from potassium import Array, Audio, Image


def test_the_annotations_are_the_types_of_their_values() -> None:
    """For type checkers, too: these lines are checked."""

    def picture(image: Image) -> Image:
        return image.rotate(90)

    def louder(sound: Audio) -> Audio:
        return Audio(sound.samples * 2, sound.rate)

    def more(array: Array) -> Array:
        return array + 1

    assert picture(PIL.Image.new("L", (4, 2))).size == (4, 2)
    assert louder(Audio(np.ones(1, "float32"), 8000)).samples.tolist() == [2.0]
    assert more(np.ones(1)).tolist() == [2.0]


def test_an_array_is_a_string_or_a_list_in_json() -> None:
    """So says its schema; a picture is a string."""
    kinds = pydantic.TypeAdapter(Array).json_schema()["anyOf"]
    assert [kind["type"] for kind in kinds] == ["string", "array"]
    assert pydantic.TypeAdapter(Image).json_schema()["type"] == "string"


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("Image", "PIL", "images"), ("Audio", "soundfile", "audio"), ("Array", "numpy", "arrays")],
)
def test_a_library_that_is_missing_is_named(name: str, library: str, extra: str) -> None:
    """Where the annotation is imported; everything else is there without it."""
    code = f"""
import sys
sys.modules["{library}"] = None
from potassium import *
try:
    from potassium import {name}
except ModuleNotFoundError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f'pip install "potassium[{extra}]"' in ran.stdout

"""Compare pictures: take the files of a form, a file as the body, or the fields of a query.

curl -F before=@a.pgm -F after=@b.pgm -F threshold=16 localhost:8000/compare
curl --data-binary @a.pgm -H 'Content-Type: image/x-portable-graymap' localhost:8000/histogram
"""

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field

from potassium import File, FromFile, Potassium, Response

app = Potassium("files")
PGM = "image/x-portable-graymap"
Pixels = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


def read_pgm(file: File) -> Pixels:  # a ValueError is the client's fault: 422
    if file.readline(9) != b"P5\n":
        raise ValueError("it is not a PGM picture")
    width, height, _ = map(int, (file.readline(100) + file.readline(9)).split())
    if not 0 < width * height == file.size - file.tell():
        raise ValueError("its size is not what its head says")
    return np.frombuffer(file.read(), np.uint8).reshape(height, width)


Picture = Annotated[Pixels, FromFile(read_pgm, (PGM,))]


class Pair(BaseModel):
    before: Picture
    after: Picture
    threshold: int = Field(0, ge=0, le=255)


class Size(BaseModel):
    width: int = Field(ge=1, le=4096)
    height: int = Field(ge=1, le=4096)


@app.handler("/compare")
def compare(cache: dict[str, Any], pair: Pair) -> dict[str, int]:
    difference = np.abs(pair.before.astype(int) - pair.after)
    return {"changed": int((difference > pair.threshold).sum()), "of": difference.size}


@app.handler("/histogram")
def histogram(cache: dict[str, Any], picture: Picture) -> Any:
    return np.bincount(picture.ravel(), minlength=256).tolist()


@app.handler("/blank", methods=["GET"])
def blank(cache: dict[str, Any], size: Size) -> Response:
    head = b"P5\n%d %d\n255\n" % (size.width, size.height)
    return Response(body=head + bytes(size.width * size.height), headers={"Content-Type": PGM})


if __name__ == "__main__":
    app.serve()

"""An app with handlers of every kind.

Its types are strict, so that it refuses what its schema forbids.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from potassium import (
    Batch,
    File,
    HTTPException,
    Jobs,
    Limits,
    Potassium,
    Request,
    Response,
    Webhooks,
)

app = Potassium(
    "kitchen",
    jobs=Jobs(path=None),
    limits=Limits(priorities=True),
    webhooks=Webhooks(client_urls=True),
)


def whole(value: Any) -> Any:
    """Return 2 for 2.0, which JSON Schema takes for an integer."""
    return int(value) if type(value) is float and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(whole)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Dog(Strict):
    kind: Literal["dog"]
    barks: bool = True


class Cat(Strict):
    kind: Literal["cat"]
    lives: Whole = Field(9, ge=1, le=9)


class Tree(Strict):
    name: str
    branches: list["Tree"] = []


class Order(Strict):
    """What a guest wants."""

    text: str = Field(min_length=1, max_length=100)
    count: Whole = Field(1, ge=1, le=100)
    pet: Annotated[Dog | Cat, Field(discriminator="kind")] | None = None
    size: Literal["small", "large"] = "small"
    point: tuple[float, float] = (0.0, 0.0)


class Dish(BaseModel):
    name: str
    price: float | None = None
    note: str = Field(default="", serialization_alias="remark")


@app.handler("/order", tags=["kitchen"], example={"text": "soup", "count": 2})
def order(cache: dict[str, Any], item: Order) -> Dish:
    """Cook what a guest wants.

    The dish is made at once.
    """
    return Dish(name=item.text, price=item.count * 2.5)


@app.handler("/menu", examples={"one": {"n": 1}, "empty": {}}, deprecated=True)
def menu(cache: dict[str, Any], json_in: dict[str, Any]) -> list[Dish]:
    return [Dish(name=name) for name in list(json_in)[:3]]


@app.handler("/many", batch=Batch(max_size=4, max_delay=0.001))
def many(cache: dict[str, Any], orders: list[Order]) -> list[Dish]:
    return [Dish(name=one.text) for one in orders]


def counted(item: Order) -> int:
    return item.count


def named(number: int) -> dict[str, int]:
    return {"count": number}


@app.handler("/steps", prepare=counted, finish=named)
def steps(cache: dict[str, Any], number: int) -> int:
    return number


@app.handler("/tree")
async def tree(cache: dict[str, Any], item: Tree) -> Tree:
    return item


@app.handler("/words", streams=4)
def words(cache: dict[str, Any], item: Order) -> Iterator[str]:
    yield from item.text.split()


@app.handler("/dishes")
async def dishes(cache: dict[str, Any], item: Order) -> AsyncIterator[Dish]:
    for number in range(min(item.count, 3)):
        yield Dish(name=f"{item.text} {number}")


@app.handler("/pushed", output=Iterator[Dish])
def pushed(cache: dict[str, Any], request: Request) -> None:
    for number in range(3):
        request.send(Dish(name=str(number)))


class Search(Strict):
    text: str
    tags: list[str] = []
    count: Whole = Field(1, ge=1)
    pet: Dog | None = None


class Upload(Strict):
    file: File
    others: list[File] = []
    title: str = "untitled"


@app.handler("/search", methods=["GET", "POST"], example={"text": "soup", "pet": {"kind": "dog"}})
def search(cache: dict[str, Any], item: Search) -> list[Dish]:
    return [Dish(name=name) for name in (item.text, *item.tags)]


@app.handler("/upload")
def upload(cache: dict[str, Any], item: Upload) -> dict[str, int]:
    return {file.name[:10]: len(file.read()) for file in (item.file, *item.others)}


@app.handler("/scan")
def scan(cache: dict[str, Any], file: File) -> int:
    return len(file.read())


@app.background("/print")
def printed(cache: dict[str, Any], item: Order) -> bytes:
    return item.text.encode()


@app.handler("/photo")
def photo(cache: dict[str, Any], body: bytes) -> bytes:
    return body[:100]


@app.handler("/anything")
def anything(cache: dict[str, Any], request: Request) -> Response:
    return Response(status=201, body=request.body[:100], headers={"Content-Type": "image/png"})


@app.handler("/refuse")
def refuse(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, int]:
    raise HTTPException(418, "No coffee here.")


@app.background("/cook")
def cook(cache: dict[str, Any], item: Order) -> Dish:
    return Dish(name=item.text)


if __name__ == "__main__":
    app.serve()

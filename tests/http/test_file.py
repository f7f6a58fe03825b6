"""Files that clients send, and text that stands for them."""

import base64
import binascii
import io
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pydantic
import pytest

from potassium import File, FromFile
from potassium.http.data_url import STEP, decoded
from potassium.http.window import Shared, Window


def test_a_file_is_read_like_any_other() -> None:
    """By size, from a position, line by line, and into a buffer."""
    file = File(b"one\ntwo\nthree")
    assert (file.read(2), file.tell(), file.read()) == (b"on", 2, b"e\ntwo\nthree")
    assert (file.seek(4), file.readline(), file.read(0), file.read(None)) == (
        4,
        b"two\n",
        b"",
        b"three",
    )
    file.seek(-5, io.SEEK_END)
    buffer = bytearray(9)
    assert (file.readinto(buffer), bytes(buffer)) == (5, b"three\0\0\0\0")
    assert io.TextIOWrapper(File(b"a\nb")).readlines() == ["a\n", "b"]


def test_lines_are_not_read_byte_by_byte() -> None:
    """A large CSV file is read in pieces."""
    reads = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(size)
            return super().read(size)

    line = b"a" * 999 + b"\n"
    file = File(Counted(line * 2), size=2000)
    assert list(file) == [line, line]
    assert len(reads) < 10


def test_a_closed_file_is_not_read() -> None:
    """As of any other file object."""
    file = File(b"a")
    file.close()
    for use in (file.read, file.tell, file.peek, lambda: file.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_the_size_of_a_file_object_is_asked_for() -> None:
    """It is not known, and the error says so."""
    with pytest.raises(TypeError, match="size="):
        File(io.BytesIO(b"a"))


def test_windows_share_a_file_object_without_disturbing_one_another() -> None:
    """Each has its own position, and sees nothing outside it."""
    shared = Shared(io.BytesIO(b"..abc..def.."))
    abc, def_ = Window(shared, 2, 3), Window(shared, 7, 3)
    assert (abc.read(2), def_.read(1), abc.read(9), def_.read()) == (b"ab", b"d", b"c", b"ef")
    assert (abc.read(), abc.seek(-1, io.SEEK_END), abc.read(), abc.tell()) == (b"", 2, b"c", 3)
    assert (abc.seek(9), abc.read(), abc.seek(0), abc.seek(1, io.SEEK_CUR)) == (9, b"", 0, 1)
    with pytest.raises(ValueError, match="negative"):
        abc.seek(-4, io.SEEK_END)
    assert abc.readable()
    assert abc.seekable()


def test_windows_may_be_read_on_several_threads() -> None:
    """None moves the file object between another's move and its reading; nor do two of one."""
    beside = threading.Event()

    class Slow(io.BytesIO):
        inside = 0

        def seek(self, offset: int, whence: int = 0, /) -> int:
            position = super().seek(offset, whence)
            self.inside += 1
            if self.inside == 1:
                beside.wait(0.05)  # until the other thread is here, too
            else:
                beside.set()
            return position

        def read(self, size: int | None = -1, /) -> bytes:
            self.inside -= 1
            return super().read(size)

    shared = Shared(Slow(b"abcdef"))
    with ThreadPoolExecutor(2) as pool:
        windows = [Window(shared, 0, 3), Window(shared, 3, 3)]
        assert list(pool.map(Window.read, windows)) == [b"abc", b"def"]
        shared = Shared(Slow(b"abcdef"))
        assert sorted(pool.map(Window(shared, 0, 6).read, (3, 3))) == [b"abc", b"def"]
    assert not beside.is_set()


@pytest.mark.parametrize(
    ("text", "data", "media_type"),
    [
        ("aGk=", b"hi", ""),
        ("", b"", ""),
        ("data:image/png;base64,aGk=", b"hi", "image/png"),
        ("DATA:image/png;BASE64,aGk%3D", b"hi", "image/png"),
        ("data:text/plain;charset=utf-8;base64,aGk=", b"hi", "text/plain;charset=utf-8"),
        ("data:,a%20b,c", b"a b,c", "text/plain;charset=US-ASCII"),
        ("data:;charset=utf-8,%C3%A9", "é".encode(), "text/plain;charset=utf-8"),
        ("data:;base64,", b"", "text/plain;charset=US-ASCII"),
    ],
)
def test_text_stands_for_a_file(text: str, data: bytes, media_type: str) -> None:
    """As base64, or as a data URL with or without it (RFC 2397)."""
    assert decoded(text) == (data, media_type)


@pytest.mark.parametrize(
    "text", ["aGk", "a b=", "é", "data:image/png;base64", "data:,a"[:5], "=aGk"]
)
def test_other_text_stands_for_no_file(text: str) -> None:
    """The error says what is expected."""
    with pytest.raises(ValueError, match=r"base64|comma"):
        decoded(text)


def test_long_base64_is_decoded_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads get their turns in between, and padding still ends the text."""
    decode, sizes = binascii.a2b_base64, []

    def counted(text: str, **options: Any) -> bytes:
        sizes.append(len(text))
        return decode(text, **options)

    monkeypatch.setattr(binascii, "a2b_base64", counted)
    data = bytes(range(256)) * 4000
    text = base64.b64encode(data).decode()
    assert decoded(text).data == data
    assert decoded(f"data:;base64,{text.replace('+', '%2B')}").data == data
    assert max(sizes) <= STEP < len(text)
    for end in ("A===", "AA==", "AAA=", "=AAA"):
        for rest in ("AAAA", "=AAA", "=", "AA=="):
            with pytest.raises(ValueError, match="neither base64"):
                decoded("A" * (STEP - 4) + end + rest)


def test_long_data_urls_are_decoded_in_steps() -> None:
    """Each escape takes many times its size meanwhile; none is cut in two."""
    escapes = "%41%e9" * STEP
    for before in ("", "a", "ab"):
        tracemalloc.start()
        assert (
            decoded(f"data:,{before}{escapes}%4").data == before.encode() + b"A\xe9" * STEP + b"%4"
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 20 * len(escapes)


def first_byte(file: File) -> int:
    data = file.read(1)
    if not data:
        raise ValueError("it is empty")
    return data[0]


FirstByte = Annotated[int, FromFile(first_byte, ("image/png", "image/*"))]


class Item(pydantic.BaseModel):
    image: File
    byte: FirstByte | None = None
    bytes: list[FirstByte] = []


def faults(adapter: pydantic.TypeAdapter[Any], body: str) -> list[tuple[Any, str, str]]:
    with pytest.raises(pydantic.ValidationError) as caught:
        adapter.validate_json(body)
    return [(fault["loc"], fault["type"], fault["msg"]) for fault in caught.value.errors()]


def test_pydantic_takes_files_as_text_in_json() -> None:
    """In models, lists and unions, decoded where the annotation says how."""
    item = Item.model_validate_json(
        '{"image": "data:image/png;base64,aGk=", "byte": "aGk=", "bytes": ["aQ=="]}'
    )
    assert (item.image.read(), item.image.content_type, item.image.size) == (b"hi", "image/png", 2)
    assert (item.byte, item.bytes) == (ord("h"), [ord("i")])


def test_what_is_no_file_is_a_fault_with_a_reason() -> None:
    """So is a file that its decoder refuses."""
    adapter = pydantic.TypeAdapter(Item)
    no_file = "Input should be a file: it is neither base64 nor a data URL"
    assert faults(adapter, '{"image": 5, "byte": "*", "bytes": ["", "aQ=="]}') == [
        (("image",), "file_type", "Input should be a file: in JSON, a base64 string or a data URL"),
        (("byte",), "file_encoding", f"{no_file}: Only base64 data is allowed"),
        (("bytes", 0), "file_content", "The file cannot be read: it is empty"),
    ]


def test_each_member_of_a_union_reads_a_file_from_its_beginning() -> None:
    """Although another one has read it before, and closed it, as a TextIOWrapper does."""

    def never(file: File) -> str:
        raise ValueError(f"{len(io.TextIOWrapper(file).read())} characters")

    either = Annotated[str, FromFile(never, ("text/plain",))] | FirstByte
    assert pydantic.TypeAdapter(either).validate_python(File(b"hi")) == ord("h")


class Picture:
    pass


def no_picture(file: File) -> Picture:
    raise ValueError("no picture")


def test_python_code_may_give_the_value_itself() -> None:
    """As a unit test does that has a picture, not a file."""
    picture = Picture()
    adapter = pydantic.TypeAdapter(Annotated[Picture, FromFile(no_picture, ("image/png",))])
    assert adapter.validate_python(picture) is picture


@pytest.mark.parametrize("kind", [int, object, list, list[int], dict, float, bool])
def test_clients_cannot_give_the_value_itself(kind: Any) -> None:
    """Nothing that JSON can say goes past the decoder."""
    adapter = pydantic.TypeAdapter(Annotated[kind, FromFile(no_picture, ("image/png",))])
    for value in ("[1]", "1", "1.0", "true", "{}", "null"):
        assert [kind for _, kind, _ in faults(adapter, value)] == ["file_type"]
    assert [kind for _, kind, _ in faults(adapter, '"aQ=="')] == ["file_content"]


def test_the_json_schema_is_that_of_encoded_content() -> None:
    """With its media type, if there is one that is not a pattern, and all that it may have."""
    properties = Item.model_json_schema()["properties"]
    assert properties["image"] == {
        "type": "string",
        "contentEncoding": "base64",
        "title": "Image",
    }
    assert properties["bytes"]["items"] == {
        "type": "string",
        "contentEncoding": "base64",
        "contentMediaType": "image/png",
        "x-potassium": {"media_types": ["image/png", "image/*"]},
    }


def test_what_a_client_sent_is_not_shown() -> None:
    """Neither in a repr nor in an error."""
    assert repr(File(b"secret", name="a.txt")) == "File(name='a.txt', content_type='', size=6)"
    secret = base64.b64encode(b"secret").decode() + "!"
    assert secret not in str(faults(pydantic.TypeAdapter(File), f'"{secret}"'))

"""The page says what a handler takes, and makes a form for it."""

import json
import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from e2e.server import Start
from playwright.sync_api import Page, expect

HEAD = """
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from potassium import Potassium

app = Potassium("server")
"""

ITEM = (
    HEAD
    + """
class Box(BaseModel):
    x: float = Field(ge=0, description="The left <b>edge</b>.")
    y: float = Field(ge=0)

class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9

class Dog(BaseModel):
    kind: Literal["dog"]
    name: str

class Node(BaseModel):
    name: str
    children: list["Node"] = []
    parent: "Node | None" = None

class Item(BaseModel):
    text: str = Field(min_length=2, max_length=1000)
    code: str = Field("ab", max_length=20, pattern="^[a-z]+$")
    sure: bool = False
    speed: Literal["slow", "fast"] = "slow"
    size: Literal["xs", "s", "m", "l", "xl", "xxl"] | None = None
    top: int = Field(3, ge=1, le=9)
    ratio: float | None = Field(None, gt=0, lt=1)
    box: Box
    mask: Box | None = None
    boxes: list[Box] | None = None
    tags: list[str] = Field([], max_length=2)
    scores: dict[str, float] = {}
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    either: int | list[float] | None = None
    pair: tuple[int, str] | None = None
    colours: set[Literal["red", "green"]] = set()
    when: datetime | None = None
    extra: Any = None
    node: Node | None = None

@app.handler("/item")
def item(cache, item: Item) -> dict:
    return item.model_dump(mode="json", exclude_unset=True)

app.serve()
"""
)


def sent(page: Page) -> Any:
    """Press Call and return what the handler got."""
    with page.expect_response(lambda one: one.request.method == "POST") as response:
        page.get_by_role("button", name="Call", exact=True).click()
    assert response.value.status == 200, response.value.text()
    return response.value.json()


def filled(page: Page, url: str) -> None:
    """Open the form and fill in what is required."""
    page.goto(f"{url}/docs")
    page.get_by_label("Text *", exact=True).fill("two words")
    box = page.get_by_role("group", name="Box", exact=True)
    box.get_by_label("X *").fill("1.5")
    box.get_by_label("Y *").fill("2")


REQUIRED = {
    "text": "two words",
    "code": "ab",
    "sure": False,
    "speed": "slow",
    "top": 3,
    "box": {"x": 1.5, "y": 2.0},
    "pet": {"kind": "cat", "lives": 9},
}


def test_what_is_optional_may_be_left_empty_and_defaults_are_there(
    start: Start, page: Page
) -> None:
    filled(page, start(ITEM).url)
    assert sent(page) == REQUIRED


def test_every_kind_of_field_sends_what_was_filled_in(start: Start, page: Page) -> None:
    filled(page, start(ITEM).url)
    page.get_by_label("Sure").check()
    page.get_by_label("fast").check()
    page.get_by_label("Size").select_option("xl")
    page.get_by_label("Top").fill("9")
    page.get_by_label("Ratio").fill("0.25")
    page.get_by_role("button", name="Add Mask").click()
    mask = page.get_by_role("group", name="Mask")
    mask.get_by_label("X *").fill("3")
    mask.get_by_label("Y *").fill("4")
    scores = page.get_by_role("group", name="Scores")
    scores.get_by_role("button", name="Add").click()
    scores.get_by_label("Name *").fill("cat")
    scores.get_by_label("Value").fill("0.5")
    page.get_by_role("button", name="Add Either").click()
    either = page.get_by_role("group", name="Either").first
    either.get_by_label("Type").select_option("List of numbers")
    either.get_by_role("button", name="Add", exact=True).click()
    either.get_by_label("List of numbers 1").fill("7.5")
    page.get_by_role("button", name="Add Pair").click()
    page.get_by_role("group", name="Pair").get_by_role("spinbutton").fill("1")
    page.get_by_role("group", name="Pair").get_by_role("textbox").fill("one")
    page.get_by_label("green").check()
    page.get_by_label("When").fill("2026-01-31T12:30:15")
    page.get_by_label("Extra").fill('{"any": [1, null]}')
    got = sent(page)
    when = got.pop("when")
    assert when.startswith("2026-01-31T")
    assert got == REQUIRED | {
        "sure": True,
        "speed": "fast",
        "size": "xl",
        "top": 9,
        "ratio": 0.25,
        "mask": {"x": 3.0, "y": 4.0},
        "scores": {"cat": 0.5},
        "either": [7.5],
        "pair": [1, "one"],
        "colours": ["green"],
        "extra": {"any": [1, None]},
    }


def test_what_an_example_leaves_out_shows_its_default(start: Start, page: Page) -> None:
    source = BARE.replace(
        "app.serve()",
        """
class Options(BaseModel):
    needed: int
    sure: bool = True
    speed: Literal["slow", "fast"] = "fast"
    top: int = 3
    sizes: list[int] = [8, 16]
    query: Query = Query(q="a")

@app.handler("/defaults")
def defaults(cache, item: Options) -> dict:
    return item.model_dump(exclude_unset=True)

@app.handler("/options", example={"needed": 1})
def options(cache, item: Options) -> dict:
    return item.model_dump(exclude_unset=True)

app.serve()
""",
    )
    url = start(source).url
    page.goto(f"{url}/docs#defaults")
    page.get_by_label("Needed").fill("1")
    page.get_by_label("Sizes 2").fill("32")
    page.get_by_label("Q *").fill("b")
    got = sent(page)
    assert (got["sizes"], got["query"]["q"]) == ([8, 32], "b")
    page.goto(f"{url}/docs#options")
    expect(page.get_by_label("Sure")).to_be_checked()
    expect(page.get_by_label("fast")).to_be_checked()
    expect(page.get_by_label("Top")).to_have_attribute("placeholder", "3")
    assert sent(page) == {"needed": 1}
    page.get_by_label("Sure").uncheck()
    page.get_by_label("slow").check()
    assert sent(page) == {"needed": 1, "sure": False, "speed": "slow"}


def test_items_of_a_list_are_added_moved_and_removed(start: Start, page: Page) -> None:
    filled(page, start(ITEM).url)
    tags = page.get_by_role("group", name="Tags")
    add = tags.get_by_role("button", name="Add")
    add.click()
    tags.get_by_label("Tags 1").fill("a")
    add.click()
    tags.get_by_label("Tags 2").fill("b")
    expect(add).to_have_count(0)  # maxItems
    tags.get_by_role("button", name="Move up").last.click()
    assert sent(page)["tags"] == ["b", "a"]
    tags.get_by_role("button", name="Remove").first.click()
    assert sent(page)["tags"] == ["a"]
    tags.get_by_role("button", name="Remove").click()
    assert "tags" not in sent(page)


def test_variants_have_readable_names(start: Start, page: Page) -> None:
    filled(page, start(ITEM).url)
    pet = page.get_by_label("Type of Pet")
    expect(pet.locator("option")).to_have_text(["Cat", "Dog"])
    pet.select_option("Dog")
    page.get_by_role("group", name="Pet").get_by_label("Name *").fill("Rex")
    assert sent(page)["pet"] == {"kind": "dog", "name": "Rex"}
    page.get_by_role("button", name="Add Either").click()
    either = page.get_by_role("group", name="Either").first.get_by_label("Type")
    expect(either.locator("option")).to_have_text(["Whole number", "List of numbers"])


def test_a_model_that_contains_itself_opens_as_deep_as_wanted(start: Start, page: Page) -> None:
    filled(page, start(ITEM).url)
    page.get_by_role("button", name="Add Node").click()
    node = page.get_by_role("group", name="Node").first
    node.get_by_label("Name *").fill("child")
    node.get_by_role("button", name="Add Parent").click()
    node.get_by_label("Name *").last.fill("parent")
    assert sent(page)["node"] == {"name": "child", "parent": {"name": "parent"}}
    page.get_by_text("Input fields").click()
    expect(page.get_by_role("rowheader", name="node.name")).to_have_count(1)


@pytest.mark.parametrize(
    ("label", "text", "message"),
    [
        ("Text *", "a", "Must have at least 2 characters"),
        ("Code", "AB", "Must match ^[a-z]+$"),
        ("Code", "a" * 21, "Must have at most 20 characters"),
        ("Top", "10", "Must be at most 9"),
        ("Top", "2.5", "Must be a whole number"),
        ("Ratio", "0", "Must be above 0"),
        ("Text *", "", "Required"),
        ("Extra", "{} x", "Line 1, column 4: expected the end of the text, but there is x"),
        ("Extra", '{"a":\n oops}', "Line 2, column 2: expected a value, but there is oops}"),
    ],
)
def test_limits_are_checked_while_typing(
    start: Start, page: Page, label: str, text: str, message: str
) -> None:
    filled(page, start(ITEM).url)
    field = page.get_by_label(label, exact=True)
    field.fill(text)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile(re.escape(message)))


def test_a_call_that_lacks_something_says_what_and_goes_there(start: Start, page: Page) -> None:
    page.goto(f"{start(ITEM).url}/docs")
    calls: list[str] = []
    page.on("request", lambda one: calls.append(one.method))
    page.get_by_role("button", name="Call", exact=True).click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("3 fields need attention")
    expect(alert).to_contain_text("box.x: Required")
    expect(page.get_by_label("Text *", exact=True)).to_be_focused()
    assert "POST" not in calls


LISTS = """
from typing import Literal

from pydantic import BaseModel, Field

from potassium import Potassium

app = Potassium("server")

class Rule(BaseModel):
    word: str = Field(min_length=2)

class Item(BaseModel):
    rules: list[Rule] = Field(min_length=1)
    language: Literal["de", "en", "fr", "ja", "zh"] | None = None

@app.handler("/item")
def item(cache, item: Item) -> dict:
    return item.model_dump(exclude_unset=True)

app.serve()
"""


def test_a_fault_in_a_list_is_named_as_in_code(start: Start, page: Page) -> None:
    """In the form and as JSON."""
    page.goto(f"{start(LISTS).url}/docs")
    page.get_by_role("button", name="Call", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("rules[0].word: Required")
    page.get_by_role("button", name="JSON").click()
    page.get_by_label("Input as JSON").fill('{"rules": [{"word": "a"}]}')
    expect(page.get_by_role("listitem").filter(has_text="rules[0].word")).to_be_visible()


def test_an_optional_choice_says_that_it_is_not_set(start: Start, page: Page) -> None:
    page.goto(f"{start(LISTS).url}/docs")
    choice = page.get_by_role("combobox", name="Language")
    expect(choice.locator("option:checked")).to_have_text("Not set")
    choice.select_option("fr")
    choice.select_option("Not set")
    page.get_by_label("Word *").fill("ab")
    assert sent(page) == {"rules": [{"word": "ab"}]}


def test_json_and_form_are_two_views_of_one_input(start: Start, page: Page) -> None:
    filled(page, start(ITEM).url)
    page.get_by_role("button", name="JSON").click()
    text = page.get_by_label("Input as JSON")
    value = json.loads(text.input_value())
    assert value == REQUIRED | {"box": {"x": 1.5, "y": 2}}
    value |= {"text": "other", "unknown": {"to": ["the", "form", None]}, "ratio": None}
    text.fill(json.dumps(value))
    page.get_by_role("button", name="Form").click()
    expect(page.get_by_label("Text *", exact=True)).to_have_value("other")
    page.get_by_label("Top").fill("4")
    page.get_by_role("button", name="JSON").click()
    assert json.loads(text.input_value()) == value | {"top": 4}


def test_json_that_is_wrong_says_where(start: Start, page: Page) -> None:
    page.goto(f"{start(ITEM).url}/docs")
    page.get_by_role("button", name="JSON").click()
    text = page.get_by_label("Input as JSON")
    text.fill('{\n  "text": "a",\n  "box" 1\n}')
    wrong = "Line 3, column 9: expected a colon, but there is 1"
    expect(page.get_by_text(wrong)).to_be_visible()
    page.get_by_role("button", name="Form").click()  # stays, and loses nothing
    expect(page.get_by_role("alert")).to_have_text(wrong)
    text.fill('{"box": "text"}')
    page.get_by_role("button", name="Form").click()
    expect(page.get_by_role("alert")).to_contain_text("box: Must be an object")
    expect(text).to_have_value('{"box": "text"}')


BARE = (
    HEAD
    + """
@app.handler("/text", examples={"short": "hello", "long": "hello hello"})
def text(cache, item: str) -> str:
    return item

@app.handler("/count")
def count(cache, item: int) -> int:
    return item

@app.handler("/mean")
def mean(cache, item: list[float]) -> float:
    return sum(item) / len(item)

@app.handler("/any")
def anything(cache, item: Any) -> Any:
    return item

@app.handler("/dict")
def members(cache, item: dict) -> dict:
    return item

@app.handler("/none")
def nothing(cache, item: None) -> str:
    return "called"

class Query(BaseModel):
    q: str
    tags: list[str] = []
    limit: int = 10

@app.handler("/search", methods=["GET", "POST"])
def search(cache, item: Query) -> dict:
    return item.model_dump()

@app.handler("/sized")
def sized(cache, item: Annotated[str, Field(max_length=5)]) -> str:
    return item

app.serve()
"""
)


@pytest.mark.parametrize(
    ("handler", "label", "text", "result"),
    [
        ("text", "Input *", "two\nlines", "two\nlines"),
        ("count", "Input *", "7", 7),
        ("anything", "Input *", "[1, null]", [1, None]),
        ("members", "Input *", '{"a": 1}', {"a": 1}),
    ],
)
def test_an_input_need_not_be_an_object(  # noqa: PLR0913, PLR0917 - fixtures, and one case
    start: Start, page: Page, handler: str, label: str, text: str, result: object
) -> None:
    page.goto(f"{start(BARE).url}/docs#{handler}")
    page.get_by_label(label).fill(text)
    assert sent(page) == result


def test_a_list_may_be_the_whole_input(start: Start, page: Page) -> None:
    page.goto(f"{start(BARE).url}/docs#mean")
    for number in (1, 2):
        page.get_by_role("button", name="Add").click()
        page.get_by_label(f"Input {number}").fill(str(number))
    assert sent(page) == 1.5


def test_a_handler_that_takes_nothing_has_just_a_button(start: Start, page: Page) -> None:
    page.goto(f"{start(BARE).url}/docs#nothing")
    expect(page.get_by_text("Takes no input.")).to_be_visible()
    assert sent(page) == "called"


def test_a_query_is_filled_in_like_a_form(start: Start, page: Page) -> None:
    page.goto(f"{start(BARE).url}/docs#get_search")
    page.get_by_label("Q *").fill("cats & dogs?")
    page.get_by_role("button", name="Add").click()
    page.get_by_label("Tags 1").fill("ü")
    with page.expect_response("**/search?*") as response:
        page.get_by_role("button", name="Call", exact=True).click()
    assert response.value.json() == {"q": "cats & dogs?", "tags": ["ü"], "limit": 10}


def test_examples_are_filled_in_and_can_be_chosen(start: Start, page: Page) -> None:
    page.goto(f"{start(BARE).url}/docs#text")
    expect(page.get_by_label("Input *")).to_have_value("hello")
    page.get_by_label("Example").select_option("long")
    expect(page.get_by_label("Input *")).to_have_value("hello hello")


def test_enter_makes_a_new_line_and_with_control_it_calls(start: Start, page: Page) -> None:
    page.goto(f"{start(BARE).url}/docs#text")
    field = page.get_by_label("Input *")
    field.fill("a")
    field.press("Enter")
    field.press("b")
    with page.expect_response("**/text") as response:
        field.press("Control+Enter")
    assert response.value.json() == "a\nb"


def test_a_long_text_grows_and_a_short_one_is_a_line(start: Start, page: Page) -> None:
    server = start(BARE)
    page.goto(f"{server.url}/docs#text")
    field = page.get_by_label("Input *")
    low = field.bounding_box()
    field.fill("line\n" * 8)
    high = field.bounding_box()
    assert low is not None
    assert high is not None
    assert high["height"] > 3 * low["height"]
    page.goto(f"{server.url}/docs#sized")
    expect(page.locator("input[type=text]")).to_be_visible()


def test_a_form_that_was_removed_is_no_longer_checked(start: Start, page: Page) -> None:
    """A check that is still pending would make Svelte complain."""
    server = start(BARE)
    page.goto(f"{server.url}/docs#text")
    page.get_by_label("Input *").fill("text")
    page.goto(f"{server.url}/docs#sized")
    expect(page.locator("input[type=text]")).to_be_visible()
    page.evaluate("new Promise((go) => setTimeout(go, 200))")  # four times as long as the delay


WORDS = (
    HEAD.replace("import Potassium", "import Audio, File, Image, Jobs, Potassium")
    + """
class Picture(BaseModel):
    image: Image
    top: int = Field(3, ge=1, le=9, description="How many <script>alert(1)</script> labels.")

class Scan(BaseModel):
    thing: Image
    said: Audio | None = None

class Sheet(BaseModel):
    sound: Image
    photo: File | None = None

class Book(BaseModel):
    sheets: list[Sheet] = Field(min_length=1)

class Box(BaseModel):
    x: int

@app.handler("/book")
def book(cache, item: Book) -> None: ...

@app.handler("/classify")
def classify(cache, item: Picture) -> dict[str, float]: ...

@app.handler("/scan")
def scan(cache, item: Scan) -> None: ...

@app.handler("/boxes")
def boxes(cache, item: list[Box]) -> list[Box]: ...

@app.handler("/tokens")
def tokens(cache, item: Annotated[str, Field(min_length=1, max_length=200)]) -> Iterator[str]: ...

@app.handler("/draw")
def draw(cache, item: Image) -> Image: ...

@app.handler("/pick")
def pick(cache, item: Literal["a", "b"] | None) -> tuple[int, str]: ...

@app.handler("/data")
def data(cache, item: File | int) -> bytes: ...

app.serve()
"""
)


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (
            "classify",
            (
                "Takes image, a picture, and top, a whole number from 1 to 9"
                " (default: 3). Returns JSON: numbers keyed by name."
            ),
        ),
        ("boxes", "Takes a list of Box objects. Returns JSON: a list of Box objects."),
        ("tokens", "Takes text of 1 to 200 characters. Streams text."),
        ("draw", "Takes a picture. Returns a picture (PNG, JPEG or WEBP)."),
        ("pick", 'Takes "a" or "b". Returns JSON: a list of a whole number and text.'),
        ("data", "Takes a file or a whole number. Returns bytes."),
    ],
)
def test_the_page_says_what_a_handler_takes_and_returns(
    start: Start, page: Page, handler: str, words: str
) -> None:
    page.goto(f"{start(WORDS).url}/docs#{handler}")
    expect(page.locator(".signature")).to_have_text(words)


def test_the_kind_of_a_file_is_known_from_its_type(start: Start, page: Page) -> None:
    """Not from the field's name. Pictures can come from the camera, audio from the microphone."""
    page.goto(f"{start(WORDS).url}/docs#scan")
    signature = page.locator(".signature")
    expect(signature).to_contain_text("Takes thing, a picture, and said, an audio file")
    expect(page.get_by_role("button", name="Use camera")).to_have_count(1)
    expect(page.get_by_role("button", name="Record audio")).to_have_count(1)


def test_what_kind_of_file_a_nested_field_is_is_known_from_its_type(
    start: Start, page: Page
) -> None:
    page.goto(f"{start(WORDS).url}/docs#book")
    page.get_by_text("Input fields").click()
    rows = page.get_by_role("region", name="Input fields").get_by_role("row")
    expect(rows.filter(has_text="sheets[].sound")).to_contain_text("a picture")
    expect(rows.filter(has_text="sheets[].photo")).to_contain_text("a file")
    expect(page.get_by_label("Sound *")).to_have_attribute("accept", "image/*")
    expect(page.get_by_label("Photo", exact=True)).not_to_have_attribute("accept", "image/*")


def test_a_table_lists_the_fields(start: Start, page: Page) -> None:
    page.goto(f"{start(WORDS).url}/docs#classify")
    page.get_by_text("Input fields").click()
    row = page.get_by_role("row", name="top")
    expect(row.get_by_role("cell")).to_have_text(
        ["a whole number", "1 to 9", "3", "How many <script>alert(1)</script> labels."]
    )


HOSTILE = """
from typing import Literal

from pydantic import BaseModel, Field, create_model

from potassium import Potassium

app = Potassium("server")
BAD = "<img src=x onerror=alert(1)><script>alert(2)</script>"

One = create_model(BAD, a=(int, 1), __doc__=BAD)
Two = create_model("Two", b=(str, BAD))
Item = create_model(
    "Item",
    **{
        BAD: (str, Field(BAD, description=BAD)),
        "choice": (Literal[BAD, "b", "c", "d", "e"], BAD),
        "either": (One | Two, ...),
        "`code`": (int, Field(1, title="`" + BAD)),
    },
)

@app.handler("/item", examples={BAD: {"either": {"a": 1}}, "b": {"either": {"b": BAD}}})
def item(cache, item: Item) -> dict:
    return {}

app.serve()
"""


def test_markup_in_names_is_shown_as_text(start: Start, page: Page) -> None:
    page.goto(f"{start(HOSTILE).url}/docs")
    expect(page.get_by_label("Choice")).to_contain_text("<script>alert(2)")
    expect(page.get_by_role("group", name="Item")).to_have_count(0)
    page.get_by_label("Example").select_option("b")
    expect(page.get_by_label("B", exact=True)).to_have_value(re.compile("<img src=x"))
    page.get_by_text("Input fields").click()
    page.get_by_text("Call it from code").click()
    for name in ("curl", "Python", "JavaScript"):
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.get_by_label("The call as code")).to_contain_text("<script>alert(2)")
    expect(page.locator("article :is(img, script)")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_form_is_accessible(start: Start, page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    filled(page, start(ITEM).url)
    for name in ("Add Mask", "Add Either", "Add Pair", "Add Node"):
        page.get_by_role("button", name=name).click()
    page.get_by_label("Top").fill("10")
    page.get_by_text("Input fields").click()
    page.get_by_text("Call it from code").click()
    page.get_by_role("button", name="Call", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    page.get_by_role("button", name="JSON").click()
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []


def test_a_narrow_screen_shows_the_whole_form(start: Start, page: Page) -> None:
    page.set_viewport_size({"width": 380, "height": 800})
    filled(page, start(ITEM).url)
    page.get_by_role("button", name="Add Node").click()
    page.get_by_text("Call it from code").click()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 380

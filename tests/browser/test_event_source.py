"""A page of its own reads a text as it is generated, with the browser's EventSource."""

from collections.abc import Iterator

import pytest
from e2e.server import Server, serve_source
from playwright.sync_api import Page, expect

APP = """
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    from potassium import Potassium
    from potassium.text import Decoder, Sampling
    from pydantic import BaseModel
    from support.text import byte_tokenizer, toy_model, with_vocabulary

    PAGE = '''<!doctype html><title>Texts</title><pre></pre><p></p><script>
    const shown = document.querySelector("pre"), how = document.querySelector("p");
    const events = new EventSource("/text?prompt=Once&count=40");
    events.onmessage = (event) => { shown.textContent += event.data; };
    events.addEventListener("end", () => { events.close(); how.textContent = "complete"; });
    events.addEventListener("error", () => { how.textContent ||= "failed"; });
    </script>'''


    async def page(request):
        return HTMLResponse(PAGE)


    app = Potassium("texts", routes=[Route("/page", page)])


    class Text(BaseModel):
        prompt: str
        count: int


    @app.init
    def init():
        model = toy_model(with_vocabulary(300))
        return {"decoder": Decoder(model, byte_tokenizer(), rows=2, length=200)}


    def forward(cache, rows):
        return cache["decoder"].step(rows)


    @app.handler("/text", methods=["GET", "POST"], streams=2, step=forward)
    def text(cache, item: Text):
        sampling = Sampling(max_tokens=item.count, min_tokens=item.count)
        yield from cache["decoder"].generate(item.prompt, sampling)


    if __name__ == "__main__":
        app.serve()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(APP, tmp_path_factory.mktemp("app"), has_support=True) as server:
        yield server


def test_event_source_shows_a_text_as_it_comes(server: Server, page: Page) -> None:
    whole = server.post("/text", {"prompt": "Once", "count": 40}, headers={"Accept": "*/*"}).text
    page.goto(f"{server.url}/page")
    expect(page.locator("p")).to_have_text("complete")
    shown = page.locator("pre").text_content()
    assert shown is not None
    assert len(whole) > 10
    assert shown == whole

"""Noticing that files change."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from potassium.reload.watch import changes


async def test_a_change_is_noticed_also_while_the_one_before_is_taken(tmp_path: Path) -> None:
    async with aclosing(changes(lambda: {tmp_path})) as coming:
        await anext(coming)  # it watches
        for number in range(3):
            (tmp_path / "app.py").write_text(str(number))
            await asyncio.wait_for(anext(coming), 10)


async def test_a_file_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("old")
    async with aclosing(changes(lambda: {tmp_path})) as coming:
        await anext(coming)
        (tmp_path / "app.tmp").write_text("new")
        (tmp_path / "app.tmp").replace(tmp_path / "app.py")
        await asyncio.wait_for(anext(coming), 10)


async def test_a_new_folder_is_watched_once_a_module_of_it_is_loaded(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    watched = {first}
    async with aclosing(changes(lambda: set(watched))) as coming:
        await anext(coming)
        (first / "app.py").write_text("imports second")
        await asyncio.wait_for(anext(coming), 10)
        watched.add(second)
        await asyncio.wait_for(anext(coming), 10)  # it may have changed meanwhile
        (second / "helper.py").write_text("new")
        await asyncio.wait_for(anext(coming), 10)


async def test_other_files_are_not_noticed(tmp_path: Path) -> None:
    async with aclosing(changes(lambda: {tmp_path})) as coming:
        await anext(coming)
        (tmp_path / "data.json").write_text("{}")
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "__pycache__" / "app.py").write_text("")
        noticed = asyncio.ensure_future(anext(coming))
        (tmp_path / "app.py").write_text("")
        await asyncio.wait_for(noticed, 10)
        again = asyncio.ensure_future(anext(coming))
        await asyncio.wait({again}, timeout=0.05)

        assert not again.done()
        again.cancel()
        await asyncio.wait({again})

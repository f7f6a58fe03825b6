"""What an app without workers costs."""

import subprocess
import sys

APP = """
import asyncio
import sys

from potassium import Potassium

app = Potassium("server")


@app.handler("/")
def handler(cache, json_in):
    return {}


async def main():
    async with app.lifespan():
        assert await app.call("/", {}) == {}


asyncio.run(main())
print([name for name in sys.modules if name.startswith("potassium.workers")])
"""


def test_an_app_without_workers_imports_nothing_of_them() -> None:
    """It starts, runs a call and stops without a module of ``potassium.workers``."""
    ran = subprocess.run(
        [sys.executable, "-c", APP], check=True, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"

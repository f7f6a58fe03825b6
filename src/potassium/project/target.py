"""Finds the app that a command is about."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from potassium.config.import_path import ImportPath, instead
from potassium.errors import UsageError
from potassium.serving.imported import IMPORTED

if TYPE_CHECKING:
    from potassium.app import Potassium

__all__ = ["Target", "app_in"]


class Target(ImportPath):
    """An app that can be imported."""

    def load(self) -> "Potassium":
        """Import the module and return its app.

        Raises:
            UsageError: there is no such module, or it has no such app, or several.
            BaseException: whatever the module raised.

        """
        self.make_importable()
        token = IMPORTED.set(self.module)
        try:
            module = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{self.module}.".startswith(f"{error.name}."):
                raise  # it is one that the app imports
            raise UsageError(
                f"There is no module {self.module} in {self.folder}.{instead(self.folder)}"
            ) from None
        finally:
            IMPORTED.reset(token)
        return app_in(module, self.name)


def app_in(module: ModuleType, name: str | None = None) -> "Potassium":
    """Return the app that ``module`` has by this name, or its only one.

    Raises:
        UsageError: it has none, or several and none of them is called ``app``.

    """
    from potassium.app import Potassium  # noqa: PLC0415 - the module has imported it, if any

    where = getattr(module, "__file__", None) or module.__name__
    apps = {key: value for key, value in vars(module).items() if isinstance(value, Potassium)}
    if name is not None:
        return _named(module, name, where, apps)
    if not apps:
        raise UsageError(
            f'{where} has no app. Write app = Potassium("name") at its top level, not in a '
            "function or below if __name__ ...; an app that is part of another one is served by "
            "that one's server, such as uvicorn."
        )
    if "app" in apps:
        return apps["app"]
    if len({id(app) for app in apps.values()}) > 1:
        raise UsageError(
            f"{where} has several apps: {_listed(apps)}. Name one, such as "
            f"{Path(where).name}:{next(iter(apps))}."
        )
    return next(iter(apps.values()))


def _named(module: ModuleType, name: str, where: str, apps: dict[str, "Potassium"]) -> "Potassium":
    from potassium.app import Potassium  # noqa: PLC0415 - as above

    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Potassium):
        return found
    has = f" It has {_listed(apps)}." if apps else ""
    if found is None:
        raise UsageError(f"{where} has no {name}.{has}")
    raise UsageError(f"{name} in {where} is a {type(found).__name__}, not a Potassium app.{has}")


def _listed(apps: dict[str, "Potassium"]) -> str:
    return ", ".join(apps)

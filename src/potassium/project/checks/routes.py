"""Routes that no request ever reaches."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Route, Router

from potassium.project.finding import Finding, problem

__all__ = ["findings"]


def findings(router: Router) -> Iterable[Finding]:
    """Yield the routes of an app that come behind others for the same path."""
    hidden: dict[str, list[str]] = {}
    for route in router.routes:
        if not isinstance(route, Route):
            continue
        for method in sorted({*(route.methods or ())} - {"HEAD"}):
            first = _first(router, _example(route), method)
            if first not in (None, route):
                hidden.setdefault(_named(first), []).append(f"{method} {route.path}")
    for first_name, names in hidden.items():
        are = "are" if len(names) > 1 else "is"
        yield problem(
            "routes",
            f"{', '.join(names)} {are} never reached: {first_name} comes first.",
            "Give one of them another path. Handlers and the server's own pages come before the "
            "app's routes, which come in their order; what is mounted at / belongs at their end.",
        )


def _example(route: Route) -> str:
    """Return a path that the route is for."""
    values = {name: _value(kind) for name, kind in route.param_convertors.items()}
    return str(route.url_path_for(route.name, **values)) if values else route.path


def _value(convertor: object) -> object:
    kinds = {"IntegerConvertor": 1, "FloatConvertor": 1.0}
    uuid = "00000000-0000-4000-8000-000000000000"
    return {**kinds, "UUIDConvertor": uuid}.get(type(convertor).__name__, "x")


def _first(router: Router, path: str, method: str) -> BaseRoute | None:
    scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
    return next((one for one in router.routes if one.matches(scope)[0] is Match.FULL), None)


def _named(route: BaseRoute | None) -> str:
    if isinstance(route, Route):
        return f"{' '.join(sorted(route.methods or ()))} {route.path} ({route.name})"
    return f"what is mounted at {getattr(route, 'path', '') or '/'}"

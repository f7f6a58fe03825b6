"""Context variables cross by the names that modules and classes have for them."""

import sys
from contextvars import Context, ContextVar
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import orjson

from potassium.workers.variables import FrontVariables, WorkerVariables

Modules = dict[str, ModuleType]


def module(name: str, **attributes: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(attributes)
    return made


def crossed(modules: Modules, *variables: ContextVar[str]) -> list[str]:
    """Return the names by which variables cross that are set in a context."""
    context = Context()
    for variable in variables:
        context.run(variable.set, "value")
    return list(FrontVariables(modules).of(context))


def test_a_variable_has_the_name_that_a_module_or_a_class_has_for_it() -> None:
    """Those that nothing names stay."""
    one, two, three = (ContextVar[str](name) for name in ("one", "two", "three"))
    named = module("named", ONE=one, Holder=type("Holder", (), {"TWO": two}))
    assert set(crossed({"named": named}, one, two, three)) == {"named:ONE", "named:Holder.TWO"}


def test_the_main_module_has_the_name_that_workers_import_it_by() -> None:
    """That of its file, or of ``python -m``; multiprocessing's name for it is none."""
    variable = ContextVar[str]("variable")
    main = module("__main__", VARIABLE=variable, __file__="/folder/app.py", __spec__=None)
    modules = {"__main__": main, "__mp_main__": main}
    assert crossed(modules, variable) == ["app:VARIABLE"]
    main.__spec__ = ModuleSpec("package.app", None)
    assert crossed(modules, variable) == ["package.app:VARIABLE"]
    main.__spec__ = main.__file__ = None
    assert crossed(modules, variable) == []


def test_a_name_in_another_module_than_main_is_preferred() -> None:
    """A worker that is told another module has not imported this one."""
    variable = ContextVar[str]("variable")
    main = module("__main__", VARIABLE=variable, __file__="/folder/run.py", __spec__=None)
    other = module("tenants", VARIABLE=variable)
    assert crossed({"__main__": main, "tenants": other}, variable) == ["tenants:VARIABLE"]


def test_variables_of_ours_stay() -> None:
    """Each process has its own."""
    variable = ContextVar[str]("variable")
    assert crossed({"potassium.http.request": module("ours", CURRENT=variable)}, variable) == []


def test_modules_are_searched_once_for_all_variables() -> None:
    """Whether they have names or not: a call costs a look-up for each, and holds up no other."""
    named, unnamed = ContextVar[str]("named"), ContextVar[str]("unnamed")

    class Counted(dict[str, ModuleType]):
        searches = 0

        def items(self) -> Any:
            self.searches += 1
            return super().items()

    modules = Counted({"a": module("a", NAMED=named)})
    variables = FrontVariables(modules)
    context = Context()
    context.run(named.set, "value")
    context.run(unnamed.set, "value")
    for _ in range(3):
        assert list(variables.of(context)) == ["a:NAMED"]
    assert modules.searches == 1


def test_modules_are_searched_again_after_more_were_imported() -> None:
    """For a variable that was not seen before: it may be theirs."""
    modules = {"a": module("a")}
    variables = FrontVariables(modules)
    late, context = ContextVar[str]("late"), Context()
    modules["b"] = module("b", LATE=late)
    context.run(late.set, "value")
    assert list(variables.of(context)) == ["b:LATE"]


def test_nothing_in_a_module_is_run_by_the_search() -> None:
    """A lazy module is not loaded, and no property of an odd object is asked for."""

    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    class Odd:
        @property
        def __class__(self) -> Any:
            raise AssertionError

        @__class__.setter
        def __class__(self, value: Any) -> None: ...

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment] # as numpy's arrays have it

    lazy = Lazy("lazy")
    vars(lazy)["odd"] = Odd()
    assert crossed({"lazy": lazy}, ContextVar("unnamed")) == []


def test_a_worker_sets_what_it_has_by_that_name() -> None:
    """In a copy of its base; what it has not imported, or what is no variable, is left out."""
    variable, other = ContextVar[str]("variable"), ContextVar[str]("other")
    base = Context()
    base.run(other.set, "base")
    modules = {"app": module("app", VARIABLE=variable, TEXT="text")}
    received = {"app:VARIABLE": "value", "app:TEXT": 1, "app:GONE": 1, "gone:VARIABLE": 1}
    context = WorkerVariables(base, modules).context(received)
    assert (context[variable], context[other], len(context)) == ("value", "base", 2)
    assert variable not in base


def test_the_modules_of_the_process_are_searched() -> None:
    """By default, on both sides."""
    context = Context()
    context.run(HERE.set, "value")
    sent = orjson.loads(orjson.dumps(FrontVariables().of(context)))
    assert __name__ in sys.modules
    assert WorkerVariables(Context()).context(sent)[HERE] == "value"


HERE = ContextVar[str]("here")

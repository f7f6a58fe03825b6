"""Reads the variables that say which accelerators a process sees."""

from collections.abc import Sequence

__all__ = ["NONE", "Names", "chosen"]

Names = tuple[str, ...]  # of one accelerator: what to write to choose it, then what else does

NONE = "-1"  # hides every accelerator


def chosen(value: str | None, there: Sequence[Names]) -> list[tuple[str, Names]]:
    """Return the accelerators that a variable chooses among those that are ``there``.

    As the CUDA C Programming Guide has it for ``CUDA_VISIBLE_DEVICES``, and ROCm and CANN for
    theirs: numbers or UUIDs, or beginnings of these; from the first invalid one on, all are hidden;
    and if one is named twice, all are.

    Returns:
        Each with the text that chooses it alone, in the order of the variable.

    """
    if value is None:
        return [(names[0], names) for names in there]
    found: list[tuple[str, Names]] = []
    for text in (one.strip() for one in value.split(",")):
        names = _named(text, there)
        if names is None:
            break
        if any(one == names for _, one in found):
            return []
        found.append((text, names))
    return found


def _named(text: str, there: Sequence[Names]) -> Names | None:
    if text.isdecimal():
        number = str(int(text))
        return next((names for names in there if number in names), None)
    if len(text) <= len("GPU-"):
        return None
    for names in there:
        if any(name.lower().startswith(text.lower()) for name in names if not name.isdecimal()):
            return names
    if text.startswith("MIG-") and there and not any(_is_instance(names) for names in there):
        return (text,)  # nobody could list those, or it is a name of older drivers
    return None


def _is_instance(names: Names) -> bool:
    return any(name.startswith("MIG-") for name in names)

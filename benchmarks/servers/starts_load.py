"""Loads the weights of the plain model and nothing else: ``starts_load.py HOW``."""

# ruff: noqa: PLC0415 - each imports its own library, and no other

import sys

import workload


def safetensors(path: str) -> object:
    from safetensors.torch import load_file

    return load_file(path)


def mapped(path: str) -> object:
    import torch

    return torch.load(path, mmap=True, weights_only=True)


def fastsafetensors(path: str) -> object:
    import fastsafetensors  # type: ignore[import-not-found] # in an environment of its own

    with fastsafetensors.fastsafe_open(filenames=[path], nogds=True, device="cpu") as file:
        return {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118


def tensorizer(path: str) -> object:
    from tensorizer import TensorDeserializer  # type: ignore[import-not-found] # as above

    return dict(TensorDeserializer(path, device="cpu"))


HOWS = {one.__name__: one for one in (safetensors, mapped, fastsafetensors, tensorizer)}


def main() -> None:
    how = sys.argv[1]
    checkpoint, tensors = workload.paths()
    file = {"mapped": checkpoint, "tensorizer": checkpoint.with_suffix(".tensors")}.get(
        how, tensors
    )
    if how == "tensorizer" and not file.exists():
        from safetensors.torch import load_file
        from tensorizer import TensorSerializer

        serializer = TensorSerializer(str(file))
        serializer.write_state_dict(load_file(tensors))
        serializer.close()
    loaded = HOWS[how](str(file))
    assert loaded, how


if __name__ == "__main__":
    main()

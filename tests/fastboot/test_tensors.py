"""Tensors come back bit by bit, mapped from the file."""

import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import Snapshot

from potassium.fastboot.random_states import states

torch: Any = pytest.importorskip("torch")

Keep = Callable[..., Snapshot]

PAGE = 4096


class Net(torch.nn.Module):  # type: ignore[misc]  # torch is not looked into
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(64, 64)
        self.last = torch.nn.Linear(64, 64)
        self.last.weight = self.first.weight  # tied, as those of embeddings often are
        self.register_buffer("steps", torch.arange(7))


def quantized() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates them
        return torch.quantize_per_channel(
            torch.randn(3, 4), torch.tensor([0.1, 0.2, 0.3]), torch.zeros(3), 0, torch.qint8
        )


def csr() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls them beta
        return torch.eye(5).to_sparse_csr()


TENSORS: dict[str, Callable[[], Any]] = {
    "float": lambda: torch.randn(100, 100),
    "bfloat16": lambda: torch.randn(33).bfloat16(),
    "float8": lambda: torch.randn(33).to(torch.float8_e4m3fn),
    "int8": lambda: torch.randint(-128, 127, (33,), dtype=torch.int8),
    "bool": lambda: torch.tensor([True, False]),
    "complex": lambda: torch.randn(3, dtype=torch.complex64),
    "empty": lambda: torch.empty(0, 3),
    "scalar": lambda: torch.tensor(1.5),
    "transposed": lambda: torch.randn(30, 40).T,
    "slice": lambda: torch.randn(100)[10:20],
    "conjugated": lambda: torch.randn(3, dtype=torch.complex64).conj(),
    "sparse": lambda: torch.eye(5).to_sparse(),
    "sparse, compressed": csr,
    "quantized": quantized,
    "with gradients": lambda: torch.randn(3, requires_grad=True),
}


def bits(tensor: Any) -> Any:
    """Return what a tensor consists of."""
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    if tensor.layout is torch.sparse_coo:
        return [bits(tensor.coalesce().indices()), bits(tensor.coalesce().values())]
    if tensor.layout is torch.sparse_csr:
        return [bits(tensor.crow_indices()), bits(tensor.col_indices()), bits(tensor.values())]
    flat = tensor.detach().resolve_conj().contiguous().view(-1)
    return (tensor.dtype, tensor.shape, tensor.stride(), flat.view(torch.uint8).tolist())


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")  # torch's own use of it
def test_a_tensor_comes_back(keep: Keep, name: str) -> None:
    before = TENSORS[name]()
    after = keep({"tensor": before}).read()["tensor"]
    assert bits(after) == bits(before)
    assert after.requires_grad == before.requires_grad


def test_a_module_comes_back_with_tied_weights(keep: Keep) -> None:
    before = Net().eval()
    after = keep({"model": before}).read()["model"]
    assert type(after) is Net
    assert not after.training
    assert after.first.weight is after.last.weight
    assert type(after.first.weight) is torch.nn.Parameter
    for name, tensor in before.state_dict().items():
        assert bits(after.state_dict()[name]) == bits(tensor), name


def test_views_of_one_storage_share_it_again(keep: Keep) -> None:
    whole = torch.zeros(100)
    after = keep({"whole": whole, "part": whole[10:]}).read()
    after["whole"][10] = 5
    assert after["part"][0] == 5


def test_inference_tensors_come_back_as_such(keep: Keep) -> None:
    """A normal tensor in their place would be saved for gradients."""
    with torch.inference_mode():
        before = torch.arange(5.0)
    after = keep({"tensor": before, "other": torch.ones(1)}).read()
    assert after["tensor"].is_inference()
    assert torch.equal(after["tensor"], before)
    assert not after["other"].is_inference()


def test_meta_tensors_take_no_room(keep: Keep) -> None:
    snapshot = keep({"tensor": torch.empty(1000, 1000, device="meta"), "other": torch.ones(3)})
    assert snapshot.manifest.tensors_size == 12
    after = snapshot.read()["tensor"]
    assert (after.shape, str(after.device)) == ((1000, 1000), "meta")


def test_large_tensors_begin_at_a_page(keep: Keep) -> None:
    snapshot = keep({"tensors": [torch.zeros(size) for size in (3, 5000, 3, 5000)]})
    offsets = [one.offset % PAGE for one in snapshot.manifest.chunks if one.size >= PAGE]
    assert offsets == [0, 0]
    after = snapshot.read()["tensors"]
    assert [one.data_ptr() % 64 for one in after] == [0, 0, 0, 0]


def test_tensors_are_the_file_itself(keep: Keep) -> None:
    """So the workers of a machine share its pages, as long as nobody writes to them."""
    snapshot = keep({"tensor": torch.randn(10_000)})
    tensor = snapshot.read()["tensor"]
    maps = Path("/proc/self/maps").read_text().splitlines()
    (line,) = [one for one in maps if one.endswith(str(snapshot.path / "tensors.bin"))]
    start, _, end = line.split()[0].partition("-")
    assert int(start, 16) <= tensor.data_ptr() < int(end, 16)


def test_the_file_is_let_go_with_the_last_tensor(keep: Keep) -> None:
    snapshot = keep({"tensor": torch.randn(10_000)})
    part = snapshot.read()["tensor"][:1]
    file = str(snapshot.path / "tensors.bin")
    gc.collect()
    assert file in Path("/proc/self/maps").read_text()
    del part
    gc.collect()
    assert file not in Path("/proc/self/maps").read_text()


def test_writes_in_place_leave_the_file_alone(keep: Keep) -> None:
    snapshot = keep({"tensor": torch.ones(10_000)})
    snapshot.read()["tensor"].zero_()
    assert torch.equal(snapshot.read()["tensor"], torch.ones(10_000))


def test_arrays_lie_in_the_same_file(keep: Keep) -> None:
    np = pytest.importorskip("numpy")
    before = {"array": np.arange(10_000), "turned": np.arange(6.0).reshape(2, 3).T}
    snapshot = keep(before)
    assert snapshot.manifest.objects_size < 2_000
    after = snapshot.read()
    assert (after["array"] == before["array"]).all()
    assert (after["turned"] == before["turned"]).all()
    after["array"][0] = 5
    assert snapshot.read()["array"][0] == 0


def test_modules_of_python_come_back(keep: Keep) -> None:
    assert keep({"torch": torch}).read()["torch"] is torch


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "reduce-overhead"},
        {"fullgraph": True, "dynamic": True},
        {"options": {"max_autotune": True}},
        {"backend": "eager"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_module_comes_back_compiled(keep: Keep, options: dict[str, Any]) -> None:
    """With the same options; pickle alone would bring it back uncompiled, and say nothing."""
    before = torch.compile(Net(), **options)
    innermost_backend = torch._dynamo.eval_frame.innermost_backend
    after = keep({"model": before}).read()["model"]
    assert type(after) is type(before)
    assert after.dynamo_ctx.fullgraph == before.dynamo_ctx.fullgraph
    backends = [innermost_backend(one.dynamo_ctx.callback) for one in (before, after)]
    assert backends[0] == backends[1]


def test_random_numbers_go_on_as_they_would(keep: Keep) -> None:
    """A start with the snapshot draws what a start with init draws."""
    torch.manual_seed(7)
    torch.randn(3)
    snapshot = keep({}, random=states())
    expected = torch.randn(3)
    torch.manual_seed(0)
    snapshot.read()
    assert torch.equal(torch.randn(3), expected)

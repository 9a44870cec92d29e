"""Sparse files: every value comes back bit for bit, and damage is found."""

import math
import runpy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor, nn

from pruning_core.compress.load_sparse import load_sparse
from pruning_core.compress.sparse_file import (
    DTYPES,
    LOADER,
    pack_bits,
    read_sparse,
    value_bytes,
    write_sparse,
)
from pruning_core.export import weights_safetensors
from pruning_core.model.model_io import tensors_of
from pruning_core.types import PruningError
from tests.cases import for_each

SHAPES = ((), (0,), (1,), (7,), (8,), (9,), (3, 0, 2), (5, 4, 3, 3))


def values(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(shape, generator=generator) * 50
    return drawn.to(dtype)


@for_each([(d, s, c) for d in DTYPES.values() for s in SHAPES for c in (True, False)])
def test_every_type_and_shape_comes_back_bit_for_bit(
    dtype: torch.dtype, shape: tuple[int, ...], compress: bool
) -> None:
    dense = values(dtype, shape)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.4
    pruned = torch.where(mask, dense, torch.zeros((), dtype=dtype))
    tensors = {"pruned": pruned, "dense": dense, "again": pruned}
    back = read_sparse(write_sparse(tensors, {"pruned": mask}, compress=compress))
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == dtype
        assert back[name].shape == tensor.shape
        assert torch.equal(value_bytes(back[name]), value_bytes(tensor))


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Up to three tensors of any type and shape, of any bits or of few values, with masks."""
    tensors = {}
    masks = {}
    for name in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
        shape = draw(st.lists(st.integers(0, 5), max_size=4))
        count = math.prod(shape)
        width = torch.empty(0, dtype=dtype).element_size()
        size = count * width
        content = draw(st.binary(min_size=size, max_size=size))
        if dtype == torch.bool:
            content = bytes(byte & 1 for byte in content)
        if draw(st.booleans()):
            content = content[:width] * count
        flat = torch.frombuffer(bytearray(content), dtype=dtype) if size else torch.empty(0)
        tensors[name] = flat.to(dtype).reshape(shape)
        if draw(st.booleans()):
            keep = draw(st.lists(st.booleans(), min_size=count, max_size=count))
            masks[name] = torch.tensor(keep, dtype=torch.bool).reshape(shape)
            tensors[name][~masks[name]] = 0
    return tensors, masks


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(case=cases(), compress=st.booleans())
def test_what_is_written_is_read_back_bit_for_bit(
    case: tuple[dict[str, Tensor], dict[str, Tensor]], compress: bool
) -> None:
    tensors, masks = case
    back = read_sparse(write_sparse(tensors, masks, compress=compress))
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert (back[name].dtype, back[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(value_bytes(back[name]), value_bytes(tensor))


def test_kept_zeros_negative_zeros_and_nan_stay_as_they_are() -> None:
    weight = torch.tensor([0.0, -0.0, float("nan"), float("inf"), 1e-45, 0.0])
    mask = torch.tensor([True, True, True, True, True, False])
    back = read_sparse(write_sparse({"w": weight}, {"w": mask}))["w"]
    assert torch.equal(value_bytes(back), value_bytes(weight))


def test_bits_are_packed_from_the_lowest() -> None:
    mask = torch.tensor([1, 0, 0, 0, 0, 0, 0, 1, 0, 1], dtype=torch.bool)
    assert pack_bits(mask).tolist() == [129, 2]


def test_the_file_has_the_bitmap_and_the_kept_values_only() -> None:
    weight = torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(64, 100, dtype=torch.bool)
    mask[:, :10] = True
    plain = write_sparse({"w": weight * mask + 0.0}, {"w": mask}, compress=False)
    sizes = {name: len(part) for name, part in load(plain).items()}
    assert sizes["bitmap"] + sizes["bytes.4"] == 6400 // 8 + 640 * 4
    assert sizes.keys() == {"index", "bitmap", "bytes.4"}
    assert len(write_sparse({"w": weight * mask + 0.0}, {"w": mask})) < len(plain)


def test_shared_values_are_stored_once_with_a_code_for_each_weight(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    for dtype in (torch.float32, torch.bfloat16, torch.float64, torch.int16):
        book = torch.tensor([0.0, -0.0, 1.0, -3.0]).to(dtype)
        keep = torch.rand(40, 30, generator=generator) < 0.5
        weight = book[torch.randint(4, (40, 30), generator=generator)]
        weight[~keep] = 0
        tensors = {"w": weight, "b": torch.ones(3, dtype=dtype), "mask": keep}
        plain = write_sparse(tensors, {"w": keep}, compress=False)
        width = weight.element_size()
        different = 3 if dtype == torch.int16 else 4
        parts = {name: len(part) for name, part in load(plain).items()}
        assert parts[f"bytes.{width}"] == width * (different + 3)
        assert parts["bytes.1"] == int(keep.sum()) + 1200
        for content in (plain, write_sparse(tensors, {"w": keep})):
            back = read_sparse(content)
            (tmp_path / "shared").write_bytes(content)
            assert load_sparse(tmp_path / "shared").keys() == back.keys()
            for name, tensor in tensors.items():
                assert torch.equal(value_bytes(back[name]), value_bytes(tensor)), (dtype, name)


def test_files_without_shared_values_are_of_format_1_and_later_formats_are_named() -> None:
    weight = torch.tensor([0.25, 1.0, 4.0, 16.0])
    plain = write_sparse({"w": weight}, {"w": weight > 0})
    assert b"pruning-explorer-sparse-1" in plain
    shared = write_sparse({"w": torch.ones(40)}, {"w": torch.ones(40).bool()})
    assert b"pruning-explorer-sparse-2" in shared
    with pytest.raises(PruningError, match="format 'pruning-explorer-sparse-9'"):
        read_sparse(plain.replace(b"sparse-1", b"sparse-9"))


def test_wrong_masks_are_refused() -> None:
    weight = torch.ones(4)
    keep = torch.tensor([True, True, True, False])
    for masks, sentence in (
        ({"v": keep}, "belongs to no tensor"),
        ({"w": keep[:2]}, r"is \(2,\)"),
        ({"w": keep}, "apply the mask first"),
    ):
        with pytest.raises(PruningError, match=sentence):
            write_sparse({"w": weight}, masks)


def test_damaged_files_are_refused() -> None:
    weight = torch.tensor([0.25, 1.0, 4.0, 16.0])
    good = write_sparse({"w": weight}, {"w": weight > 0}, compress=False)
    changed = bytearray(good)
    changed[good.index(b"\x80\x80\x80\x80")] ^= 1  # the third bytes of the four values
    with pytest.raises(PruningError, match="damaged"):
        read_sparse(bytes(changed))
    for content in (b"", b"abc", good[:-3], good[:40], b"\xff" * 100, save({"w": weight})):
        with pytest.raises(PruningError):
            read_sparse(content)


def test_the_loader_needs_torch_and_safetensors_only(tmp_path: Path) -> None:
    convolution = nn.Conv2d(2, 3, 3)
    network = nn.Sequential(convolution, nn.BatchNorm2d(3), nn.BatchNorm2d(3)).half()
    weight = convolution.weight.data
    keep = torch.arange(weight.numel()).view(weight.shape) % 3 == 0
    weight[~keep] = 0
    (tmp_path / "sparse.safetensors").write_bytes(
        write_sparse(network.state_dict(), {"0.weight": keep})
    )
    (tmp_path / "load_sparse.py").write_text(LOADER, encoding="utf-8")
    assert len(LOADER.splitlines()) <= 60
    namespace = runpy.run_path(str(tmp_path / "load_sparse.py"))
    state = namespace["load_sparse"](tmp_path / "sparse.safetensors")
    assert {name: value_bytes(tensor).tolist() for name, tensor in state.items()} == {
        name: value_bytes(tensor).tolist() for name, tensor in network.state_dict().items()
    }
    imported = {line.split()[1].split(".")[0] for line in LOADER.splitlines() if "import " in line}
    assert imported <= {"hashlib", "json", "lzma", "pathlib", "torch", "safetensors", "sys"}


class Remembering(nn.Linear):
    """A layer that keeps something beside tensors."""

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"calls": 3}


def test_what_modules_keep_beside_tensors_is_left_out_of_files() -> None:
    network = Remembering(2, 3)
    assert read_sparse(write_sparse(tensors_of(network), {})).keys() == {"weight", "bias"}
    assert load(weights_safetensors(network)).keys() == {"weight", "bias"}

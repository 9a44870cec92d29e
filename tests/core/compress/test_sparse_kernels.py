"""Sparse layers give what dense ones give; a mixed network comes back by plain torch."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pruning_core.compress.advisor import LOADER, mixed_model, sparse_copy
from pruning_core.compress.int8_blocks import int8_blocks
from tests.cases import for_each

CASES = [
    (module, shape, form)
    for module, shape in (
        (nn.Linear(32, 48), (5, 32)),
        (nn.Linear(32, 48, bias=False), (1, 32)),
        (nn.Linear(32, 48), (2, 7, 32)),
        (nn.Linear(32, 48), (32,)),
        (nn.Conv2d(32, 48, 1), (3, 32, 5, 6)),
        (nn.Conv2d(32, 48, 1, stride=2, bias=False), (3, 32, 5, 6)),
        (nn.Conv2d(32, 48, 1, stride=(2, 1)), (32, 5, 6)),
        (nn.Conv1d(32, 48, 1), (1, 32, 1)),
    )
    for form in ("csr", "bsr16")
]


def zeros_in(module: nn.Module) -> None:
    weight = module.get_parameter("weight")
    kept = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) > 0.8
    weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * kept


@for_each(CASES)
def test_a_sparse_layer_gives_what_the_dense_one_gives(
    module: nn.Module, shape: tuple[int, ...], form: str
) -> None:
    zeros_in(module)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        want = module(x)
        got: Any = sparse_copy(module, form)(x)
    assert got.shape == want.shape
    assert torch.allclose(got, want, rtol=1e-5, atol=1e-5)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(16, 32, 1), nn.Flatten(), nn.Linear(128, 32), nn.Linear(32, 3))


def test_a_mixed_network_is_loaded_by_a_program_without_this_package(tmp_path: Path) -> None:
    model = network().eval()
    for name in ("0", "2"):
        zeros_in(model.get_submodule(name))
    mixed = mixed_model(model, {"0": "csr", "2": "bsr16"})
    x = torch.randn(4, 16, 2, 2, generator=torch.Generator().manual_seed(3))
    torch.save(mixed.state_dict(), tmp_path / "mixed.pt")
    imported = re.findall(r"^(?:from|import) (\w+)", LOADER, re.MULTILINE)
    assert set(imported) == {"warnings", "collections", "typing", "torch"}
    program: dict[str, Any] = {}
    exec(LOADER, program)
    state = torch.load(tmp_path / "mixed.pt", weights_only=True)
    loaded = program["load_mixed"](network(), state)
    with torch.inference_mode():
        assert torch.equal(loaded(x), mixed(x))
        assert torch.allclose(loaded(x), model(x), rtol=1e-5, atol=1e-5)


def test_int8_blocks_give_nearly_the_same_outputs() -> None:
    model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4, bias=False)).eval()
    zeros_in(model[0])
    x = torch.randn(6, 32, generator=torch.Generator().manual_seed(4))
    engine = torch.backends.quantized.engine
    packed = int8_blocks(model, x)
    with torch.inference_mode():
        want = model(x)
        assert float((packed(x) - want).abs().max() / want.abs().max()) < 0.05
    assert torch.backends.quantized.engine == engine

"""Linear layers and 1 x 1 convolutions whose weight is sparse: CSR, or BSR with square blocks.

This file needs torch alone. Pruning Explorer exports it as load_mixed.py, beside mixed.pt:

    model = load_mixed(build_your_network(), torch.load("mixed.pt", weights_only=True))
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

INDICES = "crow_indices"
POINTWISE = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class SparseLinear(nn.Module):
    """y = x W^T + b, with W as CSR (values: nonzeros) or BSR (values: blocks x size x size).

    Computed as W x^T, features x samples, which is the fast direction of both formats. For
    inference only. Its `state_dict` holds crow_indices, col_indices, values and bias.
    """

    crow_indices: Tensor
    col_indices: Tensor
    values: Tensor
    bias: Tensor | None

    def __init__(self, sparse: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = sparse.shape
        self.register_buffer("crow_indices", sparse.crow_indices().int())
        self.register_buffer("col_indices", sparse.col_indices().int())
        self.register_buffer("values", sparse.values())
        self.register_buffer("bias", None if bias is None else bias.detach())
        self._set_weight()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.product(x.reshape(-1, self.in_features).t())
        return out.t().reshape(*x.shape[:-1], self.out_features)

    def product(self, features: Tensor) -> Any:
        """W f + b for features x samples."""
        if features.shape[1] == 1 and self.weight.layout == torch.sparse_csr:
            out = self.weight @ features[:, 0]
            return (out if self.bias is None else out + self.bias)[:, None]
        if self.bias is None:
            return self.weight @ features
        return torch.addmm(self.bias[:, None], self.weight, features)

    def _set_weight(self) -> None:
        """The sparse tensor shares the memory of the buffers."""
        parts = (self.crow_indices, self.col_indices, self.values)
        self.weight = sparse_tensor(*parts, (self.out_features, self.in_features))

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> "SparseLinear":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._set_weight()
        return self


class SparsePointwise(SparseLinear):
    """A 1 x 1 convolution without padding: the same product at every position."""

    def __init__(self, sparse: Tensor, bias: Tensor | None, stride: tuple[int, ...]) -> None:
        super().__init__(sparse, bias)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        every = [slice(None)] * (x.ndim - len(self.stride))
        x = x[(*every, *(slice(None, None, step) for step in self.stride))]
        if x.ndim == len(self.stride) + 1:
            single: Tensor = self.product(x.flatten(1)).unflatten(1, x.shape[1:])
            return single
        features = x.transpose(0, 1)
        out: Tensor = self.product(features.reshape(self.in_features, -1))
        return out.reshape(self.out_features, *features.shape[1:]).transpose(0, 1)


def is_pointwise(module: Any) -> bool:
    """Is it a 1 x 1 convolution without padding and groups?"""
    return (
        type(module) in POINTWISE
        and set(module.kernel_size) == {1}
        and set(module.padding) == {0}
        and module.groups == 1
    )


def sparse_tensor(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A CSR or BSR tensor of its parts, which it shares."""
    make = torch.sparse_csr_tensor if values.ndim == 1 else torch.sparse_bsr_tensor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that these formats are in beta
        return make(rows, columns, values, shape, check_invariants=False)


def sparse_layer(dense: Any, sparse: Tensor) -> SparseLinear:
    """The layer with a sparse weight, outputs x inputs, in place of its own."""
    if is_pointwise(dense):
        return SparsePointwise(sparse, dense.bias, tuple(dense.stride))
    return SparseLinear(sparse, dense.bias)


def load_mixed(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Gives the network the layers and values of a mixed state_dict, and returns it, for inference.

    model: the network as its own constructor builds it; of a thinned one, the thinned network.
    """
    for key in [key for key in state if key.endswith(f".{INDICES}")]:
        name = key.removesuffix(f".{INDICES}")
        dense: Any = model.get_submodule(name)
        parts = (state[key], state[f"{name}.col_indices"], state[f"{name}.values"])
        shape = tuple(dense.weight.shape[:2])
        model.set_submodule(name, sparse_layer(dense, sparse_tensor(*parts, shape)))
    model.load_state_dict(dict(state))
    return model.eval()

"""Makes a network narrower by the indices that it keeps.

It needs torch alone, so that a script which builds the narrower network can contain its code.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kept = Mapping[str, Mapping[Any, Sequence[int]]]
"""Name of a parameter or buffer -> axis, a number -> the positions that are kept."""
Settings = Mapping[str, Mapping[str, int]]
"""Path of a module -> attribute -> its new value."""


class NarrowAttention(nn.MultiheadAttention):
    """nn.MultiheadAttention whose heads together may have another width than its input.

    The module itself asks for heads x head_dim = embed_dim, and some of its kernels do.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        batched = query.dim() == 3
        inputs = [x if batched else x[None] for x in (query, key, value)]
        if batched and not self.batch_first:
            inputs = [x.transpose(0, 1) for x in inputs]
        q, k, v = self._projected(inputs)
        mask = _merged_mask(q, k, attn_mask, key_padding_mask)
        rate = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            out = F.dropout(weights, rate) @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, rate)
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        if not batched:
            return out[0], None if weights is None else weights[0]
        return out if self.batch_first else out.transpose(0, 1), weights

    def _projected(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Queries, keys and values: batch x head x position x head_dim."""
        packed = self._parameters["in_proj_weight"]
        weights: list[Tensor]
        if packed is None:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        else:
            weights = list(packed.chunk(3))
        biases = [None] * 3 if self.in_proj_bias is None else list(self.in_proj_bias.chunk(3))
        parts = zip(inputs, weights, biases, strict=True)
        return [
            F.linear(*part).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in parts
        ]


def _merged_mask(
    q: Tensor, k: Tensor, attn_mask: Tensor | None, padding: Tensor | None
) -> Tensor | None:
    """The sum of both masks, to be added to the scores; True means: not read."""
    batch, heads, rows = q.shape[:3]
    made = None
    if attn_mask is not None:
        made = _added(attn_mask, q)
        made = made.view(batch, heads, rows, -1) if made.dim() == 3 else made
    if padding is not None:
        own = _added(padding, q).view(batch, 1, 1, -1)
        made = own if made is None else made + own
    return made


def _added(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))


def narrow(
    model: nn.Module, kept: Kept, settings: Settings, attentions: Sequence[str] = ()
) -> nn.Module:
    """Changes the model, and gives it: only the kept positions of every tensor stay.

    kept: axes may be text, as in JSON; attentions: paths of the modules that become
    NarrowAttention.
    """
    kept = {name: {int(axis): own for axis, own in axes.items()} for name, axes in kept.items()}
    for path in attentions:
        model.get_submodule(path).__class__ = NarrowAttention
    changed: dict[int, nn.Parameter] = {}
    for name, axes in kept.items():
        path, _, last = name.rpartition(".")
        module = model.get_submodule(path)
        old = getattr(module, last)
        new = old.detach()
        for axis, positions in axes.items():
            chosen = torch.tensor(positions, dtype=torch.long, device=new.device)
            new = new.index_select(axis, chosen)
        if isinstance(old, nn.Parameter):
            changed[id(old)] = nn.Parameter(new, requires_grad=old.requires_grad)
        else:
            module._buffers[last] = new
    for path, module in list(model.named_modules()):
        own = {n: p for n, p in module._parameters.items() if p is not None and id(p) in changed}
        for name, parameter in own.items():
            setattr(module, name, changed[id(parameter)])
        if own:
            rows = kept.get(f"{path}.weight" if path else "weight", {}).get(0)
            _set_sizes(module, own, rows)
    for path, attributes in settings.items():
        for name, value in attributes.items():
            setattr(model.get_submodule(path), name, value)
    return model


def _set_sizes(module: Any, old: Mapping[str, Tensor], rows: Sequence[int] | None) -> None:
    """Sets the sizes that a module of torch keeps beside its tensors.

    old: the parameters that were replaced; rows: the kept positions of its weight's first axis.
    """
    groups = getattr(module, "groups", getattr(module, "num_groups", 1))
    counts: list[int] = []
    if rows is not None and groups > 1:
        size = len(old["weight"]) // groups
        counts = [count for g in range(groups) if (count := sum(row // size == g for row in rows))]
    for kinds, set_sizes in SIZES:
        if isinstance(module, kinds):
            set_sizes(module, len(counts) or groups)
    if type(module).__name__ == "Conv1D":  # of GPT-2
        module.nx, module.nf = module.weight.shape


def _convolution(module: Any, groups: int) -> None:
    module.groups = groups
    module.out_channels = module.weight.shape[0]
    module.in_channels = module.weight.shape[1] * groups


def _transposed(module: Any, groups: int) -> None:
    module.groups = groups
    module.in_channels = module.weight.shape[0]
    module.out_channels = module.weight.shape[1] * groups


def _linear(module: Any, _groups: int) -> None:
    module.out_features, module.in_features = module.weight.shape


def _bilinear(module: Any, _groups: int) -> None:
    module.out_features, module.in1_features, module.in2_features = module.weight.shape


def _norm(module: Any, _groups: int) -> None:
    module.normalized_shape = tuple(module.weight.shape)


def _group_norm(module: Any, groups: int) -> None:
    module.num_groups = groups
    module.num_channels = len(module.weight)


def _statistics(module: Any, _groups: int) -> None:
    module.num_features = len(module.weight)


def _embedding(module: Any, _groups: int) -> None:
    module.num_embeddings, module.embedding_dim = module.weight.shape


def _prelu(module: Any, _groups: int) -> None:
    module.num_parameters = len(module.weight)


def _recurrent(module: Any, _groups: int) -> None:
    last = "_l0" if isinstance(module, nn.RNNBase) else ""
    module.input_size = getattr(module, f"weight_ih{last}").shape[1]
    module.hidden_size = getattr(module, f"weight_hh{last}").shape[1]
    if getattr(module, "proj_size", 0):
        module.proj_size, module.hidden_size = module.weight_hr_l0.shape


def _attention(module: Any, _groups: int) -> None:
    packed = module.in_proj_weight
    query = module.q_proj_weight if packed is None else packed[: len(packed) // 3]
    module.embed_dim = query.shape[1]
    module.kdim = query.shape[1] if packed is not None else module.k_proj_weight.shape[1]
    module.vdim = query.shape[1] if packed is not None else module.v_proj_weight.shape[1]
    module.num_heads = query.shape[0] // module.head_dim
    module._qkv_same_embed_dim = False  # its users then leave out kernels for equal widths


SIZES: tuple[tuple[Any, Callable[[Any, int], None]], ...] = (
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _transposed),
    (nn.Linear, _linear),
    (nn.Bilinear, _bilinear),
    ((nn.LayerNorm, nn.RMSNorm), _norm),
    (nn.GroupNorm, _group_norm),
    (nn.modules.batchnorm._NormBase, _statistics),
    (nn.Embedding, _embedding),
    (nn.PReLU, _prelu),
    ((nn.RNNBase, nn.RNNCellBase), _recurrent),
    (nn.MultiheadAttention, _attention),
)
"""Kinds of modules, and what sets their sizes: module, number of groups that are left."""

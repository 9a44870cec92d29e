"""Finds the rule of every torch operation, and notes a network's first run by them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pruning_core.model.coupling import rules, weight_rules
from pruning_core.model.coupling.budget import Budget
from pruning_core.model.coupling.first_run import FirstRun
from pruning_core.model.coupling.rules import Result, Rule, weight_name
from pruning_core.model.model_io import storage, tensors_in
from pruning_core.model.operation_mode import OperationMode

RULES: dict[str, Rule] = {
    **dict.fromkeys(("clone", "_to_copy", "contiguous"), rules.copied),
    **dict.fromkeys(
        (
            "lift_fresh",
            "zeros_like",
            "ones_like",
            "empty_like",
            "full_like",
            "rand_like",
            "randn_like",
            "new_zeros",
            "new_ones",
            "new_empty",
            "new_full",
            "zero",
            "fill",
            "nonzero",
            "bernoulli",
            "uniform",
            "normal",
            "_local_scalar_dense",
            "_assert_async",
            "equal",
            "item",
            "one_hot",
            "bincount",
            "histc",
            "zeros",
            "ones",
            "empty",
            "full",
            "arange",
            "scalar_tensor",
            "eye",
            "linspace",
            "rand",
            "randn",
        ),
        rules.created,
    ),
    **dict.fromkeys(
        (
            "cat",
            "stack",
            "constant_pad_nd",
            "reflection_pad1d",
            "reflection_pad2d",
            "reflection_pad3d",
            "replication_pad1d",
            "replication_pad2d",
            "replication_pad3d",
            "roll",
            "flip",
            "index_select",
            "index",
            "gather",
            "repeat",
            "repeat_interleave",
            "pixel_shuffle",
            "pixel_unshuffle",
            "channel_shuffle",
            "native_channel_shuffle",
            "im2col",
            "tril",
            "triu",
            "take",
            "masked_select",
            "select_scatter",
            "slice_scatter",
            "diagonal_copy",
            "unfold_copy",
            "expand_copy",
            "view_copy",
            "permute_copy",
            "rot90",
            "slice_backward",
            "_reshape_copy",
        ),
        rules.moved,
    ),
    **dict.fromkeys(
        ("index_put", "_index_put_impl", "index_add", "index_copy", "scatter", "scatter_add"),
        rules.set_in_place,
    ),
    **dict.fromkeys(
        (
            "mean",
            "sum",
            "amax",
            "amin",
            "max",
            "min",
            "var",
            "std",
            "var_mean",
            "std_mean",
            "logsumexp",
            "prod",
            "any",
            "all",
            "linalg_vector_norm",
            "norm",
            "aminmax",
            "median",
        ),
        rules.reduced,
    ),
    **dict.fromkeys(
        (
            "_softmax",
            "_log_softmax",
            "_safe_softmax",
            "softmax",
            "log_softmax",
            "cumsum",
            "cumprod",
            "logcumsumexp",
            "sort",
            "topk",
            "argsort",
            "argmax",
            "argmin",
            "kthvalue",
            "cummax",
        ),
        rules.along_axis,
    ),
    **{
        name: rules.pooled(spatial)
        for spatial in (1, 2, 3)
        for name in (
            f"max_pool{spatial}d_with_indices",
            f"avg_pool{spatial}d",
            f"max_pool{spatial}d",
            f"_adaptive_avg_pool{spatial}d",
            f"adaptive_avg_pool{spatial}d",
            f"adaptive_max_pool{spatial}d",
            f"upsample_nearest{spatial}d",
            f"_upsample_nearest_exact{spatial}d",
            f"grid_sampler_{spatial}d",
            f"mkldnn_max_pool{spatial}d",
        )
    },
    "upsample_linear1d": rules.pooled(1),
    **dict.fromkeys(
        (
            "upsample_bilinear2d",
            "upsample_bicubic2d",
            "_upsample_bilinear2d_aa",
            "_upsample_bicubic2d_aa",
        ),
        rules.pooled(2),
    ),
    "upsample_trilinear3d": rules.pooled(3),
    "max_unpool2d": rules.unpooled(2),
    "max_unpool3d": rules.unpooled(3),
    "glu": rules.gated_halves,
    **dict.fromkeys(
        (
            "native_batch_norm",
            "_native_batch_norm_legit",
            "cudnn_batch_norm",
            "_native_batch_norm_legit_no_training",
            "_batch_norm_no_update",
            "_batch_norm_with_update",
            "batch_norm",
        ),
        rules.batch_norm,
    ),
    "native_group_norm": rules.group_norm,
    "native_layer_norm": rules.layer_norm,
    "_fused_rms_norm": rules.layer_norm,
    "convolution": weight_rules.convolution,
    "mm": weight_rules.matrix(0, 1),
    "bmm": weight_rules.matrix(0, 1),
    "addmm": weight_rules.matrix(1, 2, 0),
    "baddbmm": weight_rules.matrix(1, 2, 0),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_attention_math",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_fused_attention_overrideable",
            "mv",
            "addmv",
            "dot",
            "_grouped_mm",
            "cdist",
            "_cdist_forward",
            "_trilinear",
            "linalg_solve_ex",
        ),
        rules.product,
    ),
    **dict.fromkeys(
        ("embedding", "_embedding_bag", "_embedding_bag_forward_only"), weight_rules.embedding
    ),
}
"""Rule by the operation's name, without the underscore of its in-place form."""
ELEMENTWISE = {
    *("prelu", "_prelu_kernel", "masked_fill", "where", "lerp", "copy", "clamp", "rsub"),
    *("hardswish", "hardsigmoid", "hardtanh", "hardshrink", "softshrink", "leaky_relu", "elu"),
    *("celu", "selu", "gelu", "silu", "mish", "softplus", "relu", "relu6", "threshold"),
    *("log_sigmoid_forward", "native_dropout", "rrelu_with_noise"),
    *("fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine_cachemask"),
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    *("_fake_quantize_learnable_per_tensor_affine", "_fake_quantize_learnable_per_channel_affine"),
}
"""Elementwise operations that torch does not mark so."""
ZEROS = {"zeros", "zeros_like", "new_zeros"}
VIEWS_IN_PLACE = {"as_strided", "squeeze", "unsqueeze", "t", "transpose", "detach", "swapaxes"}
"""Operations that change a tensor's shape in place, and none of its values."""
RULE_ERRORS = (RuntimeError, LookupError, TypeError, ValueError, AttributeError, StopIteration)
"""What a rule raises for a form of its operation that it was not written for."""


def _name(op: Any) -> str:
    """The operation's name, the same for its in-place form."""
    name: str = op._schema.name.removeprefix("aten::")
    return name if name.endswith("__") else name.removesuffix("_")


def _stored_in(value: Any) -> list[Tensor]:
    """The tensors with a storage, which sparse ones do not have."""
    return [tensor for tensor in tensors_in(value) if tensor.layout == torch.strided]


def _lstm_layer(*args: Any) -> tuple[Tensor, ...]:
    """One direction of a layer of nn.LSTM in single steps, in place of torch's fused kernel.

    args: those of aten.mkldnn_rnn_layer; x is step x sample x input.
    """
    x, w_ih, w_hh, b_ih, b_hh, hidden, cell, reverse = args[:8]
    biases = (b_ih, b_hh) if args[12] else ()
    steps = []
    for step in (x.flip(0) if reverse else x).unbind(0):
        hidden, cell = torch.lstm_cell(step, (hidden, cell), w_ih, w_hh, *biases)
        steps.append(hidden)
    out = torch.stack(steps[::-1] if reverse else steps)
    return out, hidden, cell, x.new_empty(0)


class Operations(OperationMode):
    """Passes every operation of a run to `step`, and numbers them."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.budget = budget
        self.index = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket is torch.ops.aten.mkldnn_rnn_layer:
            with self:
                return _lstm_layer(*args)
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                return func.decompose(*args, **kwargs)
        self.budget.step()
        self.index += 1
        return self.step(func, args, kwargs)

    def step(self, op: Any, args: Any, kwargs: Any) -> Any:
        """Runs one operation."""
        return op(*args, **kwargs)


class NotingMode(Operations):
    """Runs the network's operations and notes what each does to channels."""

    def __init__(self, run: FirstRun, budget: Budget) -> None:
        super().__init__(budget)
        self.run = run

    def step(self, op: Any, args: Any, kwargs: Any) -> Any:
        """Runs one operation and its rule."""
        run = self.run
        run.index = self.index
        given = _stored_in((args, kwargs))
        storages = set(map(storage, given))
        out = op(*args, **kwargs)
        results = _stored_in(out)
        same = all(storage(t) in storages for t in results)
        if same and (not op._schema.is_mutable or _name(op) in VIEWS_IN_PLACE):
            return out  # a view: its labels are those of its storage
        labels = self._labels(op, args, kwargs, out, given)
        several = labels if isinstance(labels, tuple) else (labels,) * len(results)
        for result, own in zip(results, several, strict=False):
            run.memory.write(result, own, fresh=storage(result) not in storages)
            if own is None:
                self._note_weight(given, result)
            if _name(op) in ZEROS:
                run.memory.set_zeros(result)
        if self.index in run.steps:
            run.names[self.index] = op._schema.name
            self.budget.hold(sum(t.numel() * t.element_size() for t in results))
        return out

    def _note_weight(self, given: Sequence[Tensor], result: Tensor) -> None:
        """Notes that a result of a weight's size is computed from that weight."""
        if self.run.memory.weight(result) is None and result.ndim > 1:
            for tensor in given:
                own = weight_name(self.run, tensor)
                if own and tensor.ndim > 1 and tensor.numel() == result.numel():
                    self.run.memory.set_weight(result, own[0], copied=False)
                    return

    def _labels(self, op: Any, args: Any, kwargs: Any, out: Any, given: list[Tensor]) -> Result:
        run = self.run
        name = _name(op)
        rule = RULES.get(name)
        if rule is None and (torch.Tag.pointwise in op.tags or name in ELEMENTWISE):
            rule = rules.elementwise
        try:
            if rule is not None:
                return rule(run, op, args, kwargs, out)
        except RULE_ERRORS:
            run.steps.pop(self.index, None)
        for tensor in given:
            run.channels.refuse(
                run.memory.all_labels(tensor),
                f"It is not known what torch.{name} does to channels.",
            )
        return None

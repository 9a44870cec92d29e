"""What convolutions, matrix products with a weight, and tables do to channels."""

from typing import Any

import torch
from torch import Tensor

from pruning_core.model.coupling.first_run import (
    COMPUTED_WEIGHT,
    ChannelRead,
    FirstRun,
    WeightStep,
    varies,
)
from pruning_core.model.coupling.label_memory import Labels
from pruning_core.model.coupling.parameter_views import ParameterAxis
from pruning_core.model.coupling.rules import Args, Kwargs, Result, Rule, product, weight_name

FIXED = (
    "They are multiplied by numbers that are not the plain weight of a layer and summed, so that "
    "removing one changes other values."
)


def convolution(run: FirstRun, _op: Any, args: Args, _kwargs: Kwargs, out: Any) -> Result:
    """aten.convolution: x, weight, bias, stride, padding, dilation, transposed, _, groups."""
    x, weight = args[:2]
    transposed = bool(args[6])
    groups = int(args[8])
    own = weight_name(run, weight)
    labels = run.memory.labels(x)
    if own is None and run.memory.labels(weight) is None:
        return _fixed_kernel(run, args, out)
    if own is None or weight.shape != run.views.by_name[own[0]].shape:
        return product(run, _op, args, {}, out)
    name, plain = own
    one, many = (1, 0) if transposed else (0, 1)
    size = run.views.by_name[name].shape
    outputs = ParameterAxis(name, one, torch.arange(size[one]))
    channel = x.ndim - weight.ndim + 1
    read = _positions(run, labels, channel, x.shape[channel], name)
    in_columns = transposed and groups > 1
    made = _grouped_rows(run, name, plain=plain) if in_columns else run.rows(outputs)
    if made is None:
        run.channels.refuse([] if labels is None else labels.unique().tolist(), COMPUTED_WEIGHT)
        return None
    if groups == x.shape[channel] and groups > 1:
        _tie_rows(run, made, read)
        read = torch.zeros_like(read)
    elif groups > 1:
        _tie_groups(run, name, read, made, groups)
    zeros = run.memory.is_zeros(x)
    if groups > 1 and not transposed:
        _read_groups(run, name, read, groups, size, plain=plain)
    else:
        inputs = ParameterAxis(name, many, torch.arange(size[many]))
        _read(run, inputs, read, None, plain=plain, blank=not zeros)
    added = _bias(run, args, 2, made)
    run.steps[run.index] = WeightStep(
        0, 1, channel, channel, (many, one), read, made, not plain, out.clone(), added, zeros
    )
    return made.reshape(-1, *(1,) * (out.ndim - channel - 1)).expand(out.shape)


def _fixed_kernel(run: FirstRun, args: Args, out: Any) -> Result:
    """A convolution with numbers that are no parameter, as a blur's, mixes none by channel."""
    x, kernel = args[:2]
    labels = run.memory.labels(x)
    channel = x.ndim - kernel.ndim + 1
    if labels is None:
        return None
    if int(args[8]) != x.shape[channel]:
        run.channels.refuse(labels.unique().tolist(), FIXED)
        return None
    read = _positions(run, labels, channel, x.shape[channel], "A kernel without a parameter")
    made = read.repeat_interleave(out.shape[channel] // len(read))
    return made.reshape(-1, *(1,) * (out.ndim - channel - 1)).expand(out.shape)


def _positions(run: FirstRun, labels: Labels | None, dim: int, size: int, name: str) -> Tensor:
    """The channel at every position along an axis of an input, 0 for none."""
    if labels is None:
        return torch.zeros(size, dtype=torch.int32)
    rows = labels.movedim(dim, 0).flatten(1)
    why = f"{name} reads them along another axis, behind which channels are not followed."
    read = run.one_per_position(rows, why)
    statistics = {n for n in read.tolist() if run.channels.is_statistic(n)}
    if not statistics:
        return read
    shared = [n for s in statistics for n in run.channels.sources([s])]
    if len(statistics) == 1 or len(set(shared)) < len(shared):
        run.channels.refuse(statistics, f"{name} reads a mean, a sum or a maximum over them.")
        return torch.where(torch.isin(read, torch.tensor(list(statistics))), 0, read).int()
    for number in statistics:
        first, *others = run.channels.sources([number])
        run.channels.tie((first, other) for other in others)
        read[read == number] = first
    return read


def _tie_rows(run: FirstRun, made: Tensor, read: Tensor) -> None:
    """Depthwise: every input channel has as many output rows."""
    inputs = read.repeat_interleave(len(made) // len(read))
    run.tie_elements(made, inputs)


def _grouped_rows(run: FirstRun, name: str, *, plain: bool) -> Tensor | None:
    """The channels of a grouped transposed convolution, whose weight has no axis for them.

    None where they are not followed.
    """
    rows = next((layer.shape[0] for layer in run.layers if layer.name == name), None)
    if rows is None or not plain:
        return None
    run.used.add(name)
    return run.starts[name] + torch.arange(rows, dtype=torch.int32)


def _unequal_groups(module: str) -> str:
    return (
        f"{module} is a grouped convolution: the same number of channels must stay in each group, "
        "and some of its groups read channels that no layer computes."
    )


def _tie_groups(run: FirstRun, name: str, read: Tensor, made: Tensor, groups: int) -> None:
    """Ties channels so that the same number stays in every group, in one of two ways.

    Many narrow groups are removed as a whole, with what they read. Of few wide ones the k-th
    channel of every group is removed at once, on each side alone.
    """
    ins = read.view(groups, -1)
    outs = made.view(groups, -1)
    narrow = groups >= max(ins.shape[1], outs.shape[1])
    whole = narrow and not bool((read == 0).any())
    for own in torch.cat([outs, ins], 1) if whole else [*outs.T, *ins.T]:
        first, *others = set(own.tolist())
        if 0 in (first, *others):
            run.channels.refuse((first, *others), _unequal_groups(name.rpartition(".")[0] or name))
        else:
            run.channels.tie((first, other) for other in others)


def _read_groups(
    run: FirstRun, name: str, read: Tensor, groups: int, size: torch.Size, *, plain: bool
) -> None:
    """Each group's rows read that group's channels, along an axis of inputs / groups."""
    rows = size[0] // groups
    for group, channels in enumerate(read.view(groups, -1)):
        axis = ParameterAxis(name, 1, torch.arange(size[1]))
        _read(run, axis, channels, (group * rows, (group + 1) * rows), plain=plain)


def _read(
    run: FirstRun,
    axis: ParameterAxis,
    channels: Tensor,
    rows: tuple[int, int] | None,
    *,
    plain: bool,
    blank: bool = False,
) -> None:
    """blank: note it also where it reads no channel."""
    if not plain:
        run.computed.add(axis.parameter)
        run.channels.refuse(channels.tolist(), COMPUTED_WEIGHT)
    if blank or bool(channels.any()):
        run.reads.append(ChannelRead(axis, channels, rows))


def matrix(x_at: int, weight_at: int, bias_at: int | None = None) -> Rule:
    """mm, addmm, bmm and baddbmm: the places of inputs, weight and bias among the arguments."""

    def rule(run: FirstRun, op: Any, args: Args, kwargs: Kwargs, out: Any) -> Result:
        x = args[x_at]
        weight = args[weight_at]
        axes = _matrix_axes(run, weight)
        if axes is not None:
            return _product_with_weight(run, (x_at, weight_at), args, bias_at, axes, out)
        swapped = _matrix_axes(run, x.mT)
        if swapped is not None and bias_at is None:
            return _product_with_weight(run, (weight_at, x_at), args, None, swapped, out)
        fixed = bias_at is None and (x.ndim == 2 or x.ndim == out.ndim)
        if fixed and run.memory.labels(weight) is None and run.memory.weight(weight) is None:
            return _fixed_matrix(run, x, x.ndim - 1, weight, out)
        return product(run, op, args, kwargs, out)

    return rule


def _fixed_matrix(run: FirstRun, x: Tensor, dim: int, matrix: Tensor, out: Tensor) -> Result:
    """A product with numbers that are no parameter: along an axis of one channel it mixes none."""
    labels = run.memory.labels(x)
    if labels is None or run.views.name(matrix) is not None:
        return product(run, None, (x, matrix), {}, out)
    if varies(labels, dim):
        run.channels.refuse(labels.unique().tolist(), FIXED)
        return None
    return labels.narrow(dim, 0, 1).expand(out.shape)


def _matrix_axes(run: FirstRun, weight: Tensor) -> tuple[ParameterAxis, ParameterAxis, bool] | None:
    """The axes of a weight operand, inputs x outputs; True where it has the parameter's values."""
    if weight.ndim == 3:
        if weight.shape[0] > 1 and weight.stride(0) != 0:
            return None
        weight = weight[0]
    plain = run.views.matrix(weight)
    if plain is not None:
        return *plain, True
    base = weight.mT
    own = run.memory.weight(base)
    if own is None or base.shape != run.views.by_name[own[0]].shape:
        return None
    outputs, inputs = (ParameterAxis(own[0], d, torch.arange(base.shape[d])) for d in range(2))
    return inputs, outputs, own[1]


def _product_with_weight(
    run: FirstRun,
    at: tuple[int, int],
    args: Args,
    bias: int | None,
    axes: tuple[ParameterAxis, ParameterAxis, bool],
    out: Tensor,
) -> Labels:
    inputs, outputs, plain = axes
    x_at, weight_at = at
    forward = x_at < weight_at
    x = args[x_at]
    dim = x.ndim - (1 if forward else 2)
    out_dim = out.ndim - (1 if forward else 2)
    read = _positions(run, run.memory.labels(x), dim, x.shape[dim], inputs.parameter)
    made = run.rows(outputs)
    zeros = run.memory.is_zeros(x)
    _read(run, inputs, read, _rows_of(run, inputs, outputs), plain=plain, blank=not zeros)
    added = _bias(run, args, bias, made)
    last = args[weight_at].ndim - 1
    dims = (last - 1, last) if forward else (last, last - 1)
    run.steps[run.index] = WeightStep(
        x_at, weight_at, dim, out_dim, dims, read, made, not plain, out.clone(), added, zeros
    )
    return made.expand(out.shape) if forward else made[:, None].expand(out.shape)


def _bias(run: FirstRun, args: Args, at: int | None, made: Tensor) -> int | None:
    """The place of a vector that is added to the outputs, and is zeroed with them.

    Outputs that another sum is added to cannot be removed, because it stays.
    """
    bias = None if at is None else args[at]
    if not isinstance(bias, Tensor):
        return None
    if bias.ndim == 1 and run.views.name(bias) is not None:
        run.follow(bias, made)
        return at
    name, is_copy = run.memory.weight(bias) or ("", False)
    if bias.ndim == 1 and is_copy:  # of another type, as in autocast
        run.follow(run.views.by_name[name], made)
        return at
    run.channels.refuse(made.tolist(), "The sum that is added to its outputs is not its bias.")
    return None


def _rows_of(
    run: FirstRun, inputs: ParameterAxis, outputs: ParameterAxis
) -> tuple[int, int] | None:
    """The rows of a packed weight that read; None for all rows."""
    size = run.views.by_name[inputs.parameter].shape[outputs.axis]
    if outputs.axis != 0 or len(outputs.positions) == size:
        return None
    return int(outputs.positions.min()), int(outputs.positions.max()) + 1


def embedding(run: FirstRun, _op: Any, args: Args, _kwargs: Kwargs, out: Any) -> Result:
    """A table gives one row per index, or a sum or mean of rows; its columns are channels."""
    table = args[0]
    axis = run.views.axis(table, 1) if table.ndim == 2 else None
    if axis is None:
        return None
    if isinstance(out, Tensor):
        return run.columns(axis).expand(out.shape)
    return run.columns(axis).expand(out[0].shape), *(None for _ in out[1:])

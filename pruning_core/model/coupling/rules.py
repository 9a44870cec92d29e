"""What torch's operations do to channels: elementwise, moving, reducing and mixing ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from pruning_core.model.coupling.first_run import (
    ACROSS,
    FirstRun,
    NormStep,
    Operand,
    StatisticStep,
    varies,
)
from pruning_core.model.coupling.label_memory import Labels
from pruning_core.model.model_io import tensors_in

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]
Result = Labels | None | tuple[Labels | None, ...]
"""Labels of the result; of several results, one for each, or one for all."""
Rule = Callable[[FirstRun, Any, Args, Kwargs, Any], Result]
MEANS = ("mean", "var", "std", "var_mean", "std_mean")
PRODUCT = (
    "Its outputs are multiplied and summed with values that are not the plain weight of a layer, "
    "as in attention, so that single ones cannot be removed."
)


def elementwise(run: FirstRun, _op: Any, args: Args, kwargs: Kwargs, out: Any) -> Result:
    """Element k of the result depends on element k of every operand."""
    tensors = tensors_in((args, kwargs))
    known = [(t, labels) for t in tensors if (labels := run.memory.labels(t)) is not None]
    if not known:
        return None
    first, *others = (Operand(labels, tensor) for tensor, labels in known)
    for other in others:
        labels = run.combined(first, other)
        first = Operand(labels, labels)
    shape = out.shape if isinstance(out, Tensor) else first.labels.shape
    labels = first.labels.expand(shape)
    for tensor in tensors:
        if run.views.name(tensor) is not None:
            run.follow(tensor, labels)
    return labels


def weight_name(run: FirstRun, tensor: Tensor) -> tuple[str, bool] | None:
    """The parameter that all of the tensor is computed from, and whether it is just that."""
    name = run.views.name(tensor)
    if name is None:
        return run.memory.weight(tensor)
    parameter = run.views.by_name[name]
    if tensor.numel() != parameter.numel():
        return None
    same = (tensor.shape, tensor.stride()) == (parameter.shape, parameter.stride())
    return name, same


def copied(run: FirstRun, _op: Any, args: Args, _kwargs: Kwargs, out: Any) -> Result:
    """A copy of the first operand, perhaps of another type."""
    named_weight = weight_name(run, args[0])
    if named_weight and out.shape == args[0].shape:
        run.memory.set_weight(out, named_weight[0], copied=named_weight[1])
    return run.memory.labels(args[0])


def created(_run: FirstRun, _op: Any, _args: Args, _kwargs: Kwargs, _out: Any) -> Result:
    """A result that depends on no channel."""
    return None


def moved(run: FirstRun, op: Any, args: Args, kwargs: Kwargs, _out: Any) -> Result:
    """Elements change their places only: the operation itself moves their labels."""
    values = tensors_in((args, kwargs))
    bare = any(x.is_floating_point() and run.elements(x) is not None for x in values)
    if not bare and all(run.memory.labels(x) is None for x in values):
        return None
    floating = any(x.is_floating_point() for x in values)

    def labels(x: Any) -> Any:
        if not isinstance(x, Tensor) or (floating and not x.is_floating_point()):
            return x
        own = run.memory.labels(x)
        own = run.elements(x) if own is None else own
        return torch.zeros(x.shape).double() if own is None else own.double()

    changed = tree_map(labels, args)
    if op._schema.name == "aten::constant_pad_nd":
        changed = changed[:2]
    result = op(*changed, **tree_map(labels, dict(kwargs)))
    return tree_map(lambda x: x.round().int(), result)  # type: ignore[no-any-return]


def set_in_place(run: FirstRun, op: Any, args: Args, kwargs: Kwargs, _out: Any) -> Result:
    """index_put, index_add, scatter and the like: places of the first operand are set or added."""
    own, *where, source = args[:3] if "index_put" in op._schema.name else args[:4]
    if not isinstance(source, Tensor):
        return run.memory.labels(own)
    old = run.memory.labels(own)
    new = run.memory.labels(source)
    if new is None:
        return old
    old = torch.zeros(own.shape, dtype=torch.int32) if old is None else old.clone()
    placed = _placed(op, old, where, new)
    both = torch.where((old != 0) & (placed != 0), old, 0)
    run.tie_elements(both, torch.where(both != 0, placed, 0))
    return torch.where(placed != 0, placed, old)


def _placed(op: Any, old: Labels, where: Sequence[Any], new: Labels) -> Labels:
    """The new labels at their places, 0 elsewhere."""
    blank = torch.zeros_like(old)
    name = op._schema.name
    if "index_put" in name:
        return blank.index_put(tuple(where[0]), new)
    if "scatter" in name:
        return blank.scatter(where[0], where[1], new)
    return blank.index_copy(
        where[0],
        where[1],
        new.expand(
            *(len(where[1]) if d == where[0] % old.ndim else s for d, s in enumerate(old.shape))
        ),
    )


def dims_of(args: Args, kwargs: Kwargs, ndim: int) -> list[int]:
    """The axes that a reduction runs over."""
    given = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if isinstance(given, int) and not isinstance(given, bool):
        given = [given]
    if not isinstance(given, list | tuple) or not given:
        return list(range(ndim))
    return [int(dim) % ndim for dim in given]


def reduced(run: FirstRun, op: Any, args: Args, kwargs: Kwargs, out: Any) -> Result:
    """mean, sum, amax and the like. Over several channels the result is a statistic of them."""
    x = args[0]
    if op._schema.name == "aten::linalg_vector_norm":
        args = (x, *args[2:])
    labels = run.memory.labels(x)
    if labels is None:
        return None
    dims = dims_of(args, kwargs, x.ndim)
    first = next(iter(tensors_in(out)))
    kept = [dim for dim in range(x.ndim) if dim not in dims]
    rows = labels.permute(*kept, *dims).reshape(*(x.shape[d] for d in kept), -1)
    mean = op._schema.name.removeprefix("aten::") in MEANS
    made = _statistics(run, rows, mean=mean).reshape(first.shape)
    if any(varies(labels, dim) for dim in dims):
        sources = (tuple(run.channels.sources([n])) for n in made.unique().tolist())
        results = (t.clone() for t in tensors_in(out))
        run.steps[run.index] = StatisticStep(tuple(sources), tuple(results))
    return made


def _statistics(run: FirstRun, rows: Labels, *, mean: bool) -> Labels:
    """For labels A x B x ... x M one number per row of M: its channel, or their statistic."""
    if not varies(rows, rows.ndim - 1):
        return rows[..., 0]
    shape = rows.shape[:-1]
    for dim in range(rows.ndim - 1):
        if not varies(rows, dim):
            rows = rows.narrow(dim, 0, 1)
    numbers = []
    for row in rows.reshape(-1, rows.shape[-1]).unique(dim=1).tolist():
        several = {n for n in row if n}
        several = {run.channels.statistic(several, mean=mean)} if len(several) > 1 else several
        numbers.append(max(several, default=0))
    made = torch.tensor(numbers, dtype=torch.int32).reshape(rows.shape[:-1])
    return made.expand(shape).clone()


def along_axis(run: FirstRun, op: Any, args: Args, kwargs: Kwargs, out: Any) -> Result:
    """softmax, cumsum, sort, argmax: a result along an axis depends on all elements along it."""
    x = args[0]
    labels = run.memory.labels(x)
    if labels is None:
        return None
    given = {own.name: own.default_value for own in op._schema.arguments} | dict(kwargs)
    given |= dict(zip(given, args, strict=False))
    dim = given["dim"]
    if any(varies(labels, own) for own in (range(x.ndim) if dim is None else (dim % x.ndim,))):
        name = op._schema.name.removeprefix("aten::").strip("_")
        run.channels.refuse(
            labels.unique().tolist(),
            f"torch.{name} combines the channels with each other, "
            "so that removing one changes the others.",
        )
        return tuple(labels if own.shape == x.shape else None for own in tensors_in(out))
    one = labels.reshape(-1)[0] if dim is None else labels.select(dim, 0)
    return tuple(
        (one if dim is None or own.ndim == one.ndim else one.unsqueeze(dim)).expand(own.shape)
        for own in tensors_in(out)
    )


def pooled(spatial: int) -> Rule:
    """Pooling and resizing: the last `spatial` axes are combined."""

    def rule(run: FirstRun, _op: Any, args: Args, _kwargs: Kwargs, out: Any) -> Result:
        x = args[0]
        labels = run.memory.labels(x)
        if labels is None:
            return None
        lead = x.ndim - spatial
        rows = labels.flatten(lead).flatten(0, lead - 1) if lead else labels.reshape(1, -1)
        one = run.one_per_position(rows, ACROSS)
        first = out[0] if isinstance(out, tuple) else out
        return one.reshape(*x.shape[:lead], *(1,) * spatial).expand(first.shape)

    return rule


def unpooled(spatial: int) -> Rule:
    """max_unpool: values and their places, which must be of the same channels."""

    def rule(run: FirstRun, op: Any, args: Args, kwargs: Kwargs, out: Any) -> Result:
        spread = pooled(spatial)
        values, places = (spread(run, op, (given,), kwargs, out) for given in args[:2])
        if isinstance(values, Tensor) and isinstance(places, Tensor):
            run.tie_elements(values, places)
        return places if values is None else values

    return rule


def gated_halves(run: FirstRun, _op: Any, args: Args, kwargs: Kwargs, _out: Any) -> Result:
    """glu: the first half along an axis times a function of the second."""
    labels = run.memory.labels(args[0])
    if labels is None:
        return None
    dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
    one, other = labels.chunk(2, dim)
    return run.combined(Operand(one, one), Operand(other, other))


def batch_norm(run: FirstRun, _op: Any, args: Args, _kwargs: Kwargs, _out: Any) -> Result:
    """One scale and shift per channel along axis 1."""
    labels = run.memory.labels(args[0])
    if labels is not None:
        _follow_along(run, args[1:3], labels)
    return labels, None, None


def group_norm(run: FirstRun, _op: Any, args: Args, _kwargs: Kwargs, out: Any) -> Result:
    """Averages over the channels of each group."""
    x, weight, bias = args[:3]
    groups = args[6]
    labels = run.memory.labels(x)
    if labels is not None:
        _follow_along(run, (weight, bias), labels)
        rows = labels.reshape(x.shape[0] * groups, -1)
        if varies(rows, 1):
            run.average(labels.unique().tolist())
            run.steps[run.index] = NormStep("group", out[1].clone(), out[2].clone())
    return labels, None, None


def _follow_along(run: FirstRun, vectors: Sequence[Any], labels: Labels) -> None:
    for vector in vectors:
        if not isinstance(vector, Tensor):
            continue
        along = (-1, *(1,) * (labels.ndim - 2))
        own = run.memory.labels(vector)
        if run.views.name(vector) is not None:
            run.follow(vector.view(along), labels)
        elif own is not None:  # of an instance norm: a copy for every sample
            run.combined(Operand(labels, labels), Operand(own.view(along), vector.view(along)))


def layer_norm(run: FirstRun, op: Any, args: Args, _kwargs: Kwargs, out: Any) -> Result:
    """Averages over the last axes; `_fused_rms_norm` has no mean and no shift."""
    x, axes, *vectors = args
    rms = "rms" in op._schema.name
    labels = run.memory.labels(x)
    if labels is None:
        return None
    for vector in vectors[: 1 if rms else 2]:
        if isinstance(vector, Tensor) and run.views.name(vector) is not None:
            run.follow(vector, labels)
    if any(varies(labels, x.ndim - 1 - k) for k in range(len(axes))):
        run.average(labels.unique().tolist())
        mean, scale = (None, out[1]) if rms else (out[1].clone(), out[2])
        run.steps[run.index] = NormStep("layer", mean, scale.clone())
    return labels, None, None


def product(run: FirstRun, _op: Any, args: Args, kwargs: Kwargs, _out: Any) -> Result:
    """A product of two activations, as in attention."""
    for x in tensors_in((args, kwargs)):
        if (labels := run.memory.labels(x)) is not None:
            run.channels.refuse(labels.unique().tolist(), PRODUCT)
    return None

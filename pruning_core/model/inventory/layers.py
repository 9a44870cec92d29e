"""Lists the prunable parameters of a model, every weight as an OIHW view."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pruning_core.model.inventory.heads import with_heads
from pruning_core.model.model_io import arguments, call, find_logits, first_input, first_sample
from pruning_core.types import Example, Inputs, Layer, PruningError, Unprunable

Shape4 = tuple[int, int, int, int]
NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
)
CONVOLUTIONS = ("conv1d", "conv2d", "depthwise")
SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


def inventory(model: nn.Module, shape: Example) -> tuple[Layer, ...]:
    """Lists every prunable parameter once, in module order.

    These are Conv1d, Conv2d (grouped and depthwise too) and Linear weights, and the
    `in_proj_weight` (or q, k, v) and `out_proj.weight` of MultiheadAttention. Query, key, value and
    output Linears of other attention (such as BERT's) have their number of heads
    (`heads.with_heads`). A tied weight is listed under its first name; the others are its aliases.

    shape: one input, C x H x W (zeros are run), or a batch whose first sample is run: a tensor, a
    tuple or a dict (input_ids, attention_mask). It is run once to count multiply-adds per sample
    and to find the batch norm after each convolution. Raises PruningError where the model has no
    prunable weight or one that is not finite, or does not accept the input.

    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    >>> [(layer.name, layer.shape) for layer in inventory(network, (1, 8, 8))]
    [('0.weight', (4, 1, 3, 3)), ('2.weight', (2, 144, 1, 1))]
    """
    listed: dict[int, Layer] = {}
    for layer, parameter in _candidates(model):
        if not parameter.isfinite().all():
            raise PruningError(
                f"{layer.name} has weights that are NaN or infinite: "
                "load the model again from an undamaged file."
            )
        first = listed.get(id(parameter))
        listed[id(parameter)] = (
            replace(first, aliases=(*first.aliases, layer.name)) if first else layer
        )
    if not listed:
        raise PruningError("This model has no convolution, linear or attention weight to prune.")
    return _traced(model, tuple(listed.values()), shape)


def without_classifier(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """All layers but the one that gives the model's outputs.

    SEVEN prunes these (Xiao et al. 2024, arXiv:2403.12688).
    """
    return tuple(layer for layer in layers if not layer.is_output)


def unprunable_parameters(model: nn.Module, layers: tuple[Layer, ...]) -> tuple[Unprunable, ...]:
    """The parameters that are shown but cannot be pruned, each with its reason."""
    prunable = {name for layer in layers for name in (layer.name, *layer.aliases)}
    owners = dict(model.named_modules())
    return tuple(
        Unprunable(name, tuple(p.shape), _reason(name, owners[name.rpartition(".")[0]]))
        for name, p in model.named_parameters()
        if name not in prunable
    )


def oihw(tensor: Tensor, layer: Layer) -> Tensor:
    """The layer's tensor as output x input x height x width (Linear: O I 1 1; Conv1d: O I 1 K)."""
    return tensor.reshape(layer.shape)


def stored(tensor: Tensor, layer: Layer) -> Tensor:
    """The inverse of `oihw`: a tensor of the OIHW view in the parameter's own shape."""
    return tensor.reshape(layer.param_shape)


def weights(model: nn.Module, layers: tuple[Layer, ...]) -> dict[str, Float[Tensor, "_o _i _h _w"]]:
    """The current weights in the OIHW view, detached, on the CPU.

    They are views of the model's own where it is on the CPU.
    """
    return {
        layer.name: oihw(model.get_parameter(layer.name).detach().cpu(), layer) for layer in layers
    }


def _candidates(model: nn.Module) -> Iterator[tuple[Layer, nn.Parameter]]:
    for path, module in model.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        if isinstance(module, nn.MultiheadAttention):
            yield from _attention(prefix, path, module)
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) and not _inside_attention(
            model, path
        ):
            yield _plain(prefix, path, module), module.get_parameter("weight")


def _inside_attention(model: nn.Module, path: str) -> bool:
    parent = path.rpartition(".")[0]
    return isinstance(model.get_submodule(parent), nn.MultiheadAttention) if path else False


def _plain(prefix: str, path: str, module: nn.Linear | nn.Conv1d | nn.Conv2d) -> Layer:
    shape = _view(module.weight)
    stored = tuple(module.weight.shape)
    if isinstance(module, nn.Linear):
        return Layer(f"{prefix}weight", path, "linear", shape, stored)
    depthwise = module.groups > 1 and module.groups == module.in_channels
    kind = "depthwise" if depthwise else "conv2d" if module.weight.ndim == 4 else "conv1d"
    return Layer(f"{prefix}weight", path, kind, shape, stored, groups=module.groups)


def _attention(
    prefix: str, path: str, module: nn.MultiheadAttention
) -> Iterator[tuple[Layer, nn.Parameter]]:
    packed = module.in_proj_weight is not None
    names = (
        [("in_proj_weight", "attention_in")]
        if packed
        else [(name, "attention_proj") for name in SEPARATE]
    )
    for name, kind in [*names, ("out_proj.weight", "attention_out")]:
        parameter = module.get_parameter(name)
        yield (
            Layer(
                prefix + name,
                path,
                kind,
                _view(parameter),
                tuple(parameter.shape),
                heads=module.num_heads,
                attention=path,
            ),
            parameter,
        )


def _view(weight: Tensor) -> Shape4:
    o, i, *kernel = weight.shape
    h, w = [1, 1, *kernel][-2:]
    return o, i, h, w


def _reason(name: str, owner: nn.Module) -> str:
    if isinstance(owner, NORMS):
        return "normalisation scale or shift: one value per channel, little to gain"
    if isinstance(owner, nn.Embedding):
        return "embedding: a lookup table, not pruned"
    if name.endswith("bias"):
        return "bias: one value per output, little to gain"
    return "not the weight of a convolution, linear or attention layer"


def _traced(model: nn.Module, layers: tuple[Layer, ...], shape: Example) -> tuple[Layer, ...]:
    """Runs one input and fills in macs, bn, is_output, is_first and the attention fields."""
    calls, norms, result = _run(model, shape)
    owners = {layer.name: layer.module for layer, _ in _candidates(model)}
    # A softmax or a pooling may follow the layer that computes the classes.
    last = next(reversed(calls), None)
    classes = None if result is None else result.shape[-1]
    first = next((layer.name for layer in layers if layer.kind in ("conv1d", "conv2d")), None)
    traced = []
    for layer in layers:
        paths = dict.fromkeys(owners[name] for name in (layer.name, *layer.aliases))
        outputs = [out for path in paths for out in calls.get(path, [])]
        positions = sum(_positions(out, layer) for out in outputs)
        bn = next((path for out in outputs for fed, path in norms if fed is out), None)
        ends = last in paths or any(out is result for out in outputs)
        is_output = ends and layer.shape[0] == classes and not layer.heads
        traced.append(
            replace(
                layer,
                macs=positions * layer.numel,
                bn=bn,
                is_output=is_output,
                is_first=layer.name == first,
            )
        )
    return with_heads(
        model,
        tuple(traced),
        [path for path in calls if path],
        first_sample(shape, next(model.parameters())),
    )


def _positions(out: Tensor, layer: Layer) -> int:
    """How many times one image reads the layer's weight (pixels of the output map, or tokens)."""
    channels = out.shape[-1] if layer.heads else layer.shape[0]
    return out.numel() // channels


def _run(
    model: nn.Module, shape: Example
) -> tuple[dict[str, list[Tensor]], list[tuple[Tensor, str]], Tensor | None]:
    calls: dict[str, list[Tensor]] = {}
    norms: list[tuple[Tensor, str]] = []  # holding the tensors keeps their ids unique
    # A copy of the modules for the hooks, with the same tensors.
    model = deepcopy(
        model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    ).eval()
    for path, module in model.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            module.register_forward_pre_hook(
                lambda m, args, kwargs, path=path: norms.append(
                    (first_input(m, args, kwargs), path)
                ),
                with_kwargs=True,
            )
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.MultiheadAttention):
            module.register_forward_hook(
                lambda _m, _a, out, path=path: calls.setdefault(path, []).append(
                    out[0] if isinstance(out, tuple) else out
                )
            )
    x = first_sample(shape, next(model.parameters()))
    try:
        with torch.no_grad():
            result = find_logits(call(model, x))
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise PruningError(
            f"The model does not accept an input of shape {_shapes(x)}: {reason}."
        ) from error
    return calls, norms, result


def _shapes(x: Inputs) -> str:
    """The shapes of one sample."""
    args, kwargs = arguments(x)
    named = [*(("", t) for t in args), *((f"{name} ", t) for name, t in kwargs.items())]
    return ", ".join(f"{name}{tuple(t.shape[1:])}" for name, t in named)

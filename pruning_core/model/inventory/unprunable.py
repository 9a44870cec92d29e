"""The parameters that are not pruned, each with its reason."""

from torch import Tensor, nn

from pruning_core.model.inventory.kinds import candidates, is_adapter, is_replaced, is_scripted
from pruning_core.model.inventory.reparametrised import computed_weights
from pruning_core.types import Layer, Unprunable

NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.RMSNorm,
)


REPLACED = "a copy that the network does not read: peft keeps it beside the one it has trained"
SCRIPTED = "part of a TorchScript module: use the nn.Module that it was made from"


def unprunable_parameters(model: nn.Module, layers: tuple[Layer, ...]) -> tuple[Unprunable, ...]:
    """The parameters that are shown but cannot be pruned, each with its reason.

    layers: those of `inventory`.
    """
    prunable = {id(model.get_parameter(layer.name)) for layer in layers}
    owners = dict(model.named_modules())
    computed = {name: each.reason for each in computed_weights(model) for name in each.parameters}
    known = {layer.name for layer, _ in candidates(model)}
    return tuple(
        Unprunable(name, tuple(p.shape), reason)
        for name, p in model.named_parameters()
        if id(p) not in prunable
        for owner in [owners[name.rpartition(".")[0]]]
        for reason in [
            computed.get(name)
            or (SCRIPTED if is_scripted(model, name) else None)
            or (REPLACED if is_replaced(model, name) and p.ndim > 1 else None)
            or _reason(name, p, owner, is_known=name in known)
        ]
    )


def _reason(name: str, parameter: Tensor, owner: nn.Module, *, is_known: bool) -> str:
    """Why a parameter is not prunable."""
    if is_adapter(name):
        return (
            "matrix of a LoRA adapter: its base layer is pruned; "
            "merge the adapter (merge_and_unload) to prune both"
        )
    if isinstance(owner, NORMS) or (type(owner).__name__.endswith("Norm") and parameter.ndim < 2):
        return "normalisation scale or shift: one value per channel, little to gain"
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return "embedding: a lookup table, pruned only on request (embeddings=True)"
    if isinstance(owner, nn.PReLU):
        return "slope of a PReLU: one value per channel, little to gain"
    if name.rpartition(".")[2].startswith("bias") or name.endswith("bias"):
        return "bias: one value per output, little to gain"
    if parameter.is_complex():
        return "complex numbers, which the criteria do not rank"
    if not parameter.numel():
        return "it has no values"
    if is_known:
        return (
            "the model computes with this weight in a way that cannot be followed, "
            "so no criterion could see its inputs"
        )
    if parameter.ndim < 2:
        return "a single value or one value per channel, little to gain"
    return (
        "no matrix or kernel that was seen to multiply the model's inputs: the model adds it, "
        "multiplies it value by value, uses it in an operation that is not followed, or does not "
        "read it"
    )

"""A flow that prunes block by block, on the inputs that the pruned blocks before give."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pruning_core.flows.protocol import Event, FlowContext, FlowDefaults
from pruning_core.tied_layers import tied_parts
from pruning_core.types import Layer, Masks, Pruned


def block_of(name: str) -> str:
    """The block of a weight: its name up to the first number, else up to the module.

    >>> block_of("blocks.0.attention.in_proj_weight"), block_of("fc1.weight")
    ('blocks.0', 'fc1')
    """
    parts = name.split(".")
    numbers = [at for at, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1] if numbers else parts[:-1])


def blocks(context: FlowContext) -> tuple[tuple[Layer, ...], ...]:
    """The layers by blocks, in the network's order.

    Layers that are pruned together are all in the first block that has one of them.
    """
    plan = context.plan
    members: dict[str, list[Layer]] = {}
    for part in tied_parts(context.layers, plan.granularity, plan.couplings):
        members.setdefault(block_of(part[0].name), []).extend(part)
    return tuple(tuple(layers) for layers in members.values())


@dataclass(frozen=True)
class Blockwise(FlowDefaults):
    """Prune block by block: each block is scored with the blocks before it already pruned.

    As in the authors' code of Wanda, all layers of a block are scored before one of them is pruned;
    then the next block reads the outputs of the pruned one. A block: the layers whose names agree
    up to the first number, as in blocks.0. The ratios are those of the dense network's scores. The
    flow Rounds scores all layers in one pass through the dense network.
    """

    help: str = (
        "Prunes block by block: a block is scored on the outputs of the pruned blocks before it. "
        "Removed weights stay removed."
    )
    formula: str = "for every block b: m_b = top(score_b(w m), r_b), m the masks of earlier blocks"
    needs: ClassVar[str] = (
        "what the criterion reads; labelled images and epochs for the training after it"
    )
    passes: ClassVar[str] = "the criterion's per block; training: 1 forward, 1 backward per step"
    trains: ClassVar[bool] = False
    scored: ClassVar[bool] = True
    label: str = "Block by block, on pruned inputs"
    source: str = "Sun et al. 2023 (Wanda), arXiv:2306.11695"
    published: tuple[tuple[str, str], ...] = (
        ("criterion", "wanda"),
        ("granularity", "row"),
        ("allocation", "uniform"),
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        plan = context.plan
        scores = plan.scores()
        ratios = plan.ratios(scores)
        masks = Masks()
        for layers in blocks(context):
            if masks:
                scores = plan.scores(plan.masked_copy(masks, context.model))
            chosen = plan.masks(scores, ratios)
            masks = masks | {layer.name: chosen[layer.name] for layer in layers}
        masks = chosen | masks
        model = plan.masked_copy(masks)
        yield Pruned(1, 1, 1.0, ratios, masks, model)
        if context.config.epochs:
            yield from context.fine_tune(model, masks)

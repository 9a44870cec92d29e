"""A plan in words, and the differences of two plans. This module does not use Streamlit."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from explorer.texts.formats import percent
from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA
from pruning_core.flows import flow
from pruning_core.granularity import granularity
from pruning_core.penalties import NONE, parse_penalty
from pruning_core.plan import Plan
from pruning_core.repairs import REPAIRS
from pruning_core.schedule import schedule
from pruning_core.start_masks import ZEROS
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import known_datasets, known_models

Words = tuple[str, Callable[[Any], str]]
"""The name of a field, and a function that writes its value."""

OPTIMIZER_LABELS = {"sgd": "SGD", "adamw": "AdamW"}


def _label(registry: Mapping[str, Any]) -> Callable[[Any], str]:
    return lambda name: str(registry[name].label) if name in registry else str(name)


def schedule_words(text: str) -> str:
    """agp:4 -> Gradual (AGP cubic), 4 rounds."""
    chosen = schedule(text)
    return chosen.label if chosen.rounds == 1 else f"{chosen.label}, {chosen.rounds} rounds"


def flow_words(text: str) -> str:
    """seven_dyn:delay=0.2 -> SEVEN while fine-tuning (delay=0.2)."""
    label = str(flow(text).label)
    settings = text.partition(":")[2]
    return f"{label} ({settings.replace(',', ', ')})" if settings else label


def penalty_words(text: str) -> str:
    """group_lasso:filter -> Group lasso (Filter)."""
    penalty = parse_penalty(text)
    if penalty is None:
        return "none"
    chosen, g = penalty
    return f"{chosen.label} ({g.label})" if g else chosen.label


def _ratios_by_hand(overrides: tuple[tuple[str, float], ...]) -> str:
    return f"{len(overrides)} set by hand" if overrides else "none set by hand"


def _on_or_off(value: bool) -> str:
    return "on" if value else "off"


def _optimizer_label(name: str) -> str:
    return OPTIMIZER_LABELS.get(name, name)


def _number(value: float) -> str:
    return f"{value:g}"


WORDS: dict[str, Words] = {
    "model": ("network", lambda name: _label(known_models(name))(name)),
    "dataset": ("images", lambda name: _label(known_datasets(name))(name)),
    "criterion": ("criterion", _label(CRITERIA)),
    "granularity": ("granularity", lambda name: granularity(name).label),
    "allocation": ("allocation", _label(ALLOCATIONS)),
    "sparsity": ("sparsity", percent),
    "schedule": ("schedule", schedule_words),
    "flow": ("flow", flow_words),
    "overrides": ("ratios", _ratios_by_hand),
    "edits": (
        "groups by hand",
        lambda edits: f"{sum(len(layer.groups) for layer in edits):,} edited",
    ),
    "allow_collapse": ("a layer may collapse", _on_or_off),
    "start": ("zeros at the start", lambda name: "kept" if name == ZEROS else "not kept"),
    "norms": ("norms average over", lambda name: f"{name} channels"),
    "repair": ("repair", _label(REPAIRS)),
    "tied": ("tied layers", lambda tied: "lose the same channels" if tied else "independent"),
    "probe": ("probe images", str),
    "calibration": ("calibration images", str),
    "seed": ("seed", str),
}
"""A field of Plan -> its words."""

TRAINING_WORDS: dict[str, Words] = {
    "epochs": ("epochs per round", str),
    "lr": ("learning rate", _number),
    "batch_size": ("batch size", str),
    "optimizer": ("optimizer", _optimizer_label),
    "momentum": ("momentum", _number),
    "weight_decay": ("weight decay", _number),
    "cosine": ("cosine decay", _on_or_off),
    "warmup": ("warm-up", percent),
    "seed": ("training seed", str),
    "augment": ("augmentation", _on_or_off),
    "label_smoothing": ("label smoothing", _number),
    "penalty": ("penalty", penalty_words),
    "penalty_strength": ("penalty strength", _number),
}
"""A field of TrainConfig -> its words."""


def differences(then: Plan, now: Plan, skip: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The fields that changed, such as "sparsity 50%, now 80%". skip: fields of Plan left out."""
    changes = [
        _change(words, getattr(then, field), getattr(now, field))
        for field, words in WORDS.items()
        if field not in skip and getattr(then, field) != getattr(now, field)
    ]
    if "fine_tune" not in skip:
        changes += _training_changes(then.fine_tune, now.fine_tune)
    return tuple(changes)


def _training_changes(then: TrainConfig, now: TrainConfig) -> list[str]:
    return [
        _change(TRAINING_WORDS[field.name], getattr(then, field.name), getattr(now, field.name))
        for field in fields(TrainConfig)
        if getattr(then, field.name) != getattr(now, field.name)
    ]


def _change(words: Words, then: Any, now: Any) -> str:
    name, write = words
    if write(then) == write(now):
        return f"{name} changed"
    return f"{name} {write(then)}, now {write(now)}"


def ranked_by(plan: Plan) -> str:
    """What ranks the weights in the plan's flow: the criterion or the flow's own score."""
    uses_criterion = "criterion" in dict(flow(plan.flow).published)
    return CRITERIA[plan.criterion].label if uses_criterion else "the flow's own score"


def cut_words(plan: Plan, by_hand: float | None = None, ranked: str = "") -> str:
    """What the plan removes, in one sentence.

    by_hand: the fraction that ratios set by hand request in total, where it is known.
    ranked: what ranks the weights, where that is not the plan's criterion.
    """
    g = granularity(plan.granularity)
    network = WORDS["model"][1](plan.model)
    images = WORDS["dataset"][1](plan.dataset)
    ranking = ranked or CRITERIA[plan.criterion].label
    request = _request(plan) if by_hand is None else _total_request(plan, by_hand)
    return (
        f"{network} on {images}: {g.label} by {ranking}, {ALLOCATIONS[plan.allocation].label}, "
        f"{request}{_edited_groups(plan)}."
    )


def _request(plan: Plan) -> str:
    """The requested sparsity, with the number of layers whose ratio is set by hand."""
    fixed = granularity(plan.granularity).fixed_ratio
    request = f"{percent(plan.sparsity if fixed is None else fixed)} requested"
    if not ALLOCATIONS[plan.allocation].uses_target:
        request = "each layer's ratio set by hand"
    layers = len(plan.overrides)
    return f"{request}, but {layers} layer{'s' * (layers > 1)} set by hand" if layers else request


def _total_request(plan: Plan, by_hand: float) -> str:
    """The fraction that all layers request in total, where some ratios are set by hand."""
    layers = len(plan.overrides)
    owner = {0: "each layer's ratio", 1: "1 layer's ratio"}.get(layers, f"{layers} layers' ratios")
    return f"{owner} set by hand, {percent(by_hand)} requested in total"


def _edited_groups(plan: Plan) -> str:
    count = sum(len(edits.groups) for edits in plan.edits_now)
    return f", {count:,} group{'s' * (count > 1)} kept or removed by hand" if count else ""


def tune_words(plan: Plan) -> str:
    """When the plan prunes and how it fine-tunes, in one sentence."""
    if not plan.fine_tune.epochs:
        return f"{schedule_words(plan.schedule)}, without fine-tuning."
    schedule = schedule_words(plan.schedule)
    return f"{schedule}; {_epochs(plan)} after each pruning step, {_optimizer(plan)}."


def flow_tune_words(plan: Plan) -> str:
    """When the plan's flow prunes, and how often and how it trains."""
    chosen = flow(plan.flow)
    per_round, more = chosen.trainings
    trainings = per_round * schedule(plan.schedule).rounds + more
    when = (
        f"schedule {schedule_words(plan.schedule)}"
        if chosen.scheduled
        else "its own schedule, not the plan's"
    )
    if not plan.fine_tune.epochs:
        return f"{when}; no training."
    number = f"{trainings} trainings" if trainings > 1 else "one training"
    return f"{when}; {number} of {_epochs(plan)}, {_optimizer(plan)}."


def _epochs(plan: Plan) -> str:
    return f"{plan.fine_tune.epochs} epoch{'s' * (plan.fine_tune.epochs > 1)}"


def _optimizer(plan: Plan) -> str:
    """Optimizer, learning rate, batch size and penalty."""
    config = plan.fine_tune
    rate = f"learning rate {config.lr:g}{' with cosine decay' if config.cosine else ''}"
    more = f", with the penalty {penalty_words(config.penalty)}" if config.penalty != NONE else ""
    return f"{OPTIMIZER_LABELS[config.optimizer]}, {rate}, batches of {config.batch_size}{more}"

"""A plan in words, and how two plans differ. Knows no Streamlit."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from explorer.texts.formats import percent
from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA
from pruning_core.flows import flow
from pruning_core.granularity import granularity
from pruning_core.penalties import NONE, parsed
from pruning_core.plan import Plan
from pruning_core.schedule import schedule
from pruning_core.training.fine_tune import TrainConfig
from pruning_core.zoo import DATASETS, MODELS

OPTIMIZER_LABELS = {"sgd": "SGD", "adamw": "AdamW"}


def _label(registry: Mapping[str, Any]) -> Callable[[Any], str]:
    return lambda name: str(registry[name].label) if name in registry else str(name)


def schedule_words(spec: str) -> str:
    """agp:4 -> Gradual (AGP cubic), 4 rounds."""
    found = schedule(spec)
    return found.label if found.rounds == 1 else f"{found.label}, {found.rounds} rounds"


def flow_words(text: str) -> str:
    """seven_dyn:delay=0.2 -> SEVEN while fine-tuning (delay=0.2)."""
    found = flow(text)
    settings = text.partition(":")[2]
    return f"{found.label} ({settings.replace(',', ', ')})" if settings else found.label


def penalty_words(text: str) -> str:
    """group_lasso:filter -> Group lasso (Filter)."""
    found = parsed(text)
    if found is None:
        return "none"
    chosen, g = found
    return f"{chosen.label} ({g.label})" if g else chosen.label


def _by_hand(overrides: tuple[tuple[str, float], ...]) -> str:
    return f"{len(overrides)} set by hand" if overrides else "none set by hand"


def _yes(value: bool) -> str:
    return "on" if value else "off"


WORDS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "model": ("network", _label(MODELS)),
    "dataset": ("images", _label(DATASETS)),
    "criterion": ("importance", _label(CRITERIA)),
    "granularity": ("shape of a cut", lambda name: granularity(name).label),
    "allocation": ("share per layer", _label(ALLOCATIONS)),
    "sparsity": ("sparsity", percent),
    "schedule": ("schedule", schedule_words),
    "flow": ("flow", flow_words),
    "overrides": ("ratios", _by_hand),
    "edits": (
        "groups by hand",
        lambda edits: f"{sum(len(each.groups) for each in edits):,} edited",
    ),
    "allow_collapse": ("a layer may collapse", _yes),
    "probe": ("probe images", str),
    "calibration": ("calibration images", str),
    "seed": ("seed", str),
}
TUNE_WORDS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "epochs": ("epochs per round", str),
    "lr": ("learning rate", lambda value: f"{value:g}"),
    "batch_size": ("batch size", str),
    "optimizer": ("optimizer", lambda name: OPTIMIZER_LABELS.get(name, name)),
    "momentum": ("momentum", lambda value: f"{value:g}"),
    "weight_decay": ("weight decay", lambda value: f"{value:g}"),
    "cosine": ("cosine decay", _yes),
    "warmup": ("warm-up", percent),
    "seed": ("training seed", str),
    "augment": ("augmentation", _yes),
    "label_smoothing": ("label smoothing", lambda value: f"{value:g}"),
    "penalty": ("penalty", penalty_words),
    "penalty_strength": ("penalty's strength", lambda value: f"{value:g}"),
}
"""Field -> what it is called and how its value is written."""


def differences(then: Plan, now: Plan, skip: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What has changed, such as "sparsity 50%, now 80%"."""
    plain = [
        name for name in WORDS if name not in skip and getattr(then, name) != getattr(now, name)
    ]
    tuned = [
        field.name
        for field in fields(TrainConfig)
        if getattr(then.fine_tune, field.name) != getattr(now.fine_tune, field.name)
    ]
    said = [_change(WORDS[name], getattr(then, name), getattr(now, name)) for name in plain]
    if "fine_tune" not in skip:
        said += [
            _change(TUNE_WORDS[name], getattr(then.fine_tune, name), getattr(now.fine_tune, name))
            for name in tuned
        ]
    return tuple(said)


def _change(word: tuple[str, Callable[[Any], str]], then: Any, now: Any) -> str:
    label, shown = word
    return (
        f"{label} then changed"
        if shown(then) == shown(now)
        else f"{label} {shown(then)}, now {shown(now)}"
    )


def ranked_by(plan: Plan) -> str:
    """What ranks the weights where the plan's flow runs: the criterion, unless the flow has a score
    of its own.
    """
    used = "criterion" in dict(flow(plan.flow).published)
    return CRITERIA[plan.criterion].label if used else "the flow's own score"


def cut_words(plan: Plan, by_hand: float | None = None, ranked: str = "") -> str:
    """What is cut and how, in one sentence. by_hand: the share that ratios set by hand ask for in
    all, where that is known; ranked: what ranks the weights, where that is not the plan's
    criterion.
    """
    g = granularity(plan.granularity)
    model = WORDS["model"][1](plan.model)
    share = g.fixed_ratio if g.fixed_ratio is not None else plan.sparsity
    how = (
        "each layer's ratio set by hand"
        if plan.allocation == "manual"
        else f"{percent(share)} requested"
    )
    hands = (
        f", but {len(plan.overrides)} layer{'s' * (len(plan.overrides) > 1)} set by hand"
        if plan.overrides
        else ""
    )
    if by_hand is not None:
        whose = {0: "each layer's ratio", 1: "1 layer's ratio"}.get(
            len(plan.overrides), f"{len(plan.overrides)} layers' ratios"
        )
        hands = ""
        how = f"{whose} set by hand, {percent(by_hand)} requested in all"
    edited = sum(len(each.groups) for each in plan.edits_now)
    hands += f", {edited:,} group{'s' * (edited > 1)} kept or pruned by hand" if edited else ""
    return (
        f"{model} on {WORDS['dataset'][1](plan.dataset)}: {g.label} by {ranked or CRITERIA[plan.criterion].label}, "
        f"{ALLOCATIONS[plan.allocation].label}, {how}{hands}."
    )


def tune_words(plan: Plan) -> str:
    """When it is cut and how it is fine-tuned, in one sentence."""
    if not plan.fine_tune.epochs:
        return f"{schedule_words(plan.schedule)}, without fine-tuning."
    return f"{schedule_words(plan.schedule)}; {_epochs(plan)} after each cut, {_how(plan)}."


def flow_tune_words(plan: Plan) -> str:
    """How often and how the plan's flow trains, and whether the schedule has a say."""
    found = flow(plan.flow)
    each, besides = found.trainings
    number = each * schedule(plan.schedule).rounds + besides
    when = (
        f"schedule {schedule_words(plan.schedule)}"
        if found.scheduled
        else "its own timetable, so the schedule rests"
    )
    if not plan.fine_tune.epochs:
        return f"{when}; no training."
    return f"{when}; {f'{number} trainings' if number > 1 else 'one training'} of {_epochs(plan)}, {_how(plan)}."


def _epochs(plan: Plan) -> str:
    return f"{plan.fine_tune.epochs} epoch{'s' * (plan.fine_tune.epochs > 1)}"


def _how(plan: Plan) -> str:
    config = plan.fine_tune
    rate = f"learning rate {config.lr:g}{' with cosine decay' if config.cosine else ''}"
    more = f", with the penalty {penalty_words(config.penalty)}" if config.penalty != NONE else ""
    return f"{OPTIMIZER_LABELS[config.optimizer]}, {rate}, batches of {config.batch_size}{more}"

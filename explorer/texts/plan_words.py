"""A plan in words, and the differences of two plans. This module does not use Streamlit."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from explorer.texts.formats import listed, percent
from explorer.texts.translate import N_, _, from_core, n_
from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA
from pruning_core.flows import flow
from pruning_core.granularity import granularity
from pruning_core.hand_edits import HandEdits
from pruning_core.model.kept_norms import ALL, KEPT
from pruning_core.penalties import NONE, parse_penalty
from pruning_core.plan import Plan
from pruning_core.repairs import REPAIRS
from pruning_core.schedule import schedule
from pruning_core.start_masks import ZEROS
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import known_datasets, known_models

Words = tuple[str, Callable[[Any], str]]
"""The name of a field in English, and a function that writes its value in the page's language."""

OPTIMIZER_LABELS = {"sgd": "SGD", "adamw": "AdamW"}


def _label(registry: Mapping[str, Any]) -> Callable[[Any], str]:
    return lambda name: from_core(registry[name].label) if name in registry else str(name)


def schedule_words(text: str) -> str:
    """agp:4 -> Gradual (AGP cubic), 4 rounds."""
    chosen = schedule(text)
    label = from_core(chosen.label)
    if chosen.rounds == 1:
        return label
    return _("{schedule}, {n} rounds", schedule=label, n=chosen.rounds)


def flow_words(text: str) -> str:
    """seven_dyn:delay=0.2 -> SEVEN while fine-tuning (delay=0.2)."""
    label = from_core(flow(text).label)
    settings = text.partition(":")[2]
    return f"{label} ({settings.replace(',', ', ')})" if settings else label


def penalty_words(text: str) -> str:
    """group_lasso:filter -> Group lasso (Filter)."""
    penalty = parse_penalty(text)
    if penalty is None:
        return _("none")
    chosen, g = penalty
    label = from_core(chosen.label)
    return f"{label} ({from_core(g.label)})" if g else label


def _ratios_by_hand(overrides: tuple[tuple[str, float], ...]) -> str:
    return _("{n} set by hand", n=len(overrides)) if overrides else _("none set by hand")


def _edited(edits: tuple[HandEdits, ...]) -> str:
    count = sum(len(layer.groups) for layer in edits)
    return _("{n} edited", n=f"{count:,}")


def _on_or_off(value: bool) -> str:
    return _("on") if value else _("off")


def _optimizer_label(name: str) -> str:
    return OPTIMIZER_LABELS.get(name, name)


def _number(value: float) -> str:
    return f"{value:g}"


def _tied(value: bool) -> str:
    return _("lose the same channels") if value else _("independent")


NORM_CHANNELS = {ALL: N_("all channels"), KEPT: N_("kept channels")}


def network_label(name: str) -> str:
    """resnet20 -> ResNet-20. An unknown name stays as it is."""
    return _label(known_models(name))(name)


def data_label(name: str) -> str:
    """digits -> Digits. An unknown name stays as it is."""
    return _label(known_datasets(name))(name)


WORDS: dict[str, Words] = {
    "model": (N_("network"), network_label),
    "dataset": (N_("data"), data_label),
    "criterion": (N_("criterion"), _label(CRITERIA)),
    "granularity": (N_("granularity"), lambda name: from_core(granularity(name).label)),
    "allocation": (N_("allocation"), _label(ALLOCATIONS)),
    "sparsity": (N_("sparsity"), percent),
    "schedule": (N_("schedule"), schedule_words),
    "flow": (N_("flow"), flow_words),
    "overrides": (N_("ratios"), _ratios_by_hand),
    "edits": (N_("groups by hand"), _edited),
    "allow_collapse": (N_("a layer may collapse"), _on_or_off),
    "start": (N_("zeros at the start"), lambda name: _("kept") if name == ZEROS else _("not kept")),
    "norms": (N_("norms average over"), lambda name: _(NORM_CHANNELS[name])),
    "repair": (N_("repair"), _label(REPAIRS)),
    "tied": (N_("tied layers"), _tied),
    "probe": (N_("probe samples"), str),
    "calibration": (N_("calibration samples"), str),
    "seed": (N_("seed"), str),
}
"""A field of Plan -> its words."""

TRAINING_WORDS: dict[str, Words] = {
    "epochs": (N_("epochs per round"), str),
    "lr": (N_("learning rate"), _number),
    "batch_size": (N_("batch size"), str),
    "optimizer": (N_("optimizer"), _optimizer_label),
    "momentum": (N_("momentum"), _number),
    "weight_decay": (N_("weight decay"), _number),
    "cosine": (N_("cosine decay"), _on_or_off),
    "warmup": (N_("warm-up"), percent),
    "seed": (N_("training seed"), str),
    "augment": (N_("augmentation"), _on_or_off),
    "label_smoothing": (N_("label smoothing"), _number),
    "penalty": (N_("penalty"), penalty_words),
    "penalty_strength": (N_("penalty strength"), _number),
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
        return _("{name} changed", name=_(name))
    return _("{name} {then}, now {now}", name=_(name), then=write(then), now=write(now))


def ranked_by(plan: Plan) -> str:
    """What ranks the weights in the plan's flow: the criterion or the flow's own score."""
    if not flow(plan.flow).scored:
        return _("the flow's own score")
    return from_core(CRITERIA[plan.criterion].label)


def cut_words(plan: Plan, by_hand: float | None = None, ranked: str = "") -> str:
    """What the plan removes, in one sentence.

    by_hand: the fraction that ratios set by hand request in total, where it is known.
    ranked: what ranks the weights, where that is not the plan's criterion.
    """
    g = granularity(plan.granularity)
    network = WORDS["model"][1](plan.model)
    images = WORDS["dataset"][1](plan.dataset)
    return _(
        "{network} on {images}: {granularity} by {ranking}, {allocation}, {request}.",
        network=network,
        images=images,
        granularity=from_core(g.label),
        ranking=ranked or from_core(CRITERIA[plan.criterion].label),
        allocation=from_core(ALLOCATIONS[plan.allocation].label),
        request=_with_edits(
            plan, _request(plan) if by_hand is None else _total_request(plan, by_hand)
        ),
    )


def _request(plan: Plan) -> str:
    """The requested sparsity, with the number of layers whose ratio is set by hand."""
    fixed = granularity(plan.granularity).fixed_ratio
    request = _("{ratio} requested", ratio=percent(plan.sparsity if fixed is None else fixed))
    if not ALLOCATIONS[plan.allocation].uses_target:
        request = _("each layer's ratio set by hand")
    if not plan.overrides:
        return request
    return n_(
        "{request}, but {n} layer set by hand",
        "{request}, but {n} layers set by hand",
        len(plan.overrides),
        request=request,
    )


def _total_request(plan: Plan, by_hand: float) -> str:
    """The fraction that all layers request in total, where some ratios are set by hand."""
    layers = len(plan.overrides)
    if not layers:
        return _(
            "each layer's ratio set by hand, {ratio} requested in total", ratio=percent(by_hand)
        )
    return n_(
        "{n} layer's ratio set by hand, {ratio} requested in total",
        "{n} layers' ratios set by hand, {ratio} requested in total",
        layers,
        ratio=percent(by_hand),
    )


def _with_edits(plan: Plan, request: str) -> str:
    count = sum(len(edits.groups) for edits in plan.edits_now)
    if not count:
        return request
    return n_(
        "{request}, {n} group kept or removed by hand",
        "{request}, {n} groups kept or removed by hand",
        count,
        request=request,
    )


def tune_words(plan: Plan) -> str:
    """When the plan prunes and how it fine-tunes, in one sentence."""
    if not plan.fine_tune.epochs:
        return _("{schedule}, without fine-tuning.", schedule=schedule_words(plan.schedule))
    return _(
        "{schedule}; {epochs} after each pruning step, {optimizer}.",
        schedule=schedule_words(plan.schedule),
        epochs=_epochs(plan),
        optimizer=_optimizer(plan),
    )


def flow_tune_words(plan: Plan) -> str:
    """When the plan's flow prunes, and how often and how it trains."""
    chosen = flow(plan.flow)
    per_round, more = chosen.trainings
    trainings = per_round * schedule(plan.schedule).rounds + more
    when = (
        _("schedule {schedule}", schedule=schedule_words(plan.schedule))
        if chosen.scheduled
        else _("its own schedule, not the plan's")
    )
    if not plan.fine_tune.epochs:
        return _("{when}; no training.", when=when)
    values = {"when": when, "epochs": _epochs(plan), "optimizer": _optimizer(plan)}
    if trainings == 1:
        return _("{when}; one training of {epochs}, {optimizer}.", **values)
    return _("{when}; {n} trainings of {epochs}, {optimizer}.", n=trainings, **values)


def _epochs(plan: Plan) -> str:
    return n_("{n} epoch", "{n} epochs", plan.fine_tune.epochs)


def _optimizer(plan: Plan) -> str:
    """Optimizer, learning rate, batch size and penalty."""
    config = plan.fine_tune
    rate = _("learning rate {rate}", rate=_number(config.lr))
    if config.cosine:
        rate = _("learning rate {rate} with cosine decay", rate=_number(config.lr))
    parts = [
        OPTIMIZER_LABELS[config.optimizer],
        rate,
        _("batches of {size}", size=config.batch_size),
    ]
    if config.penalty != NONE:
        parts.append(_("with the penalty {penalty}", penalty=penalty_words(config.penalty)))
    return listed(parts)

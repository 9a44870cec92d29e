"""The form of a training: all its choices are in the plan, and so in the address."""

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.limits import limits
from explorer.session import state
from explorer.session.foldable import foldable
from explorer.texts.help import HELP, entry_help
from explorer.texts.plan_words import OPTIMIZER_LABELS
from explorer.texts.translate import _, from_core
from pruning_core.flows import flow
from pruning_core.granularity import GRANULARITIES, granularity
from pruning_core.penalties import NONE, PENALTIES, parse_penalty
from pruning_core.plan import Plan
from pruning_core.schedule import MAX_ROUNDS, SCHEDULES, schedule
from pruning_core.training.config import TrainConfig

USUAL_RATES = {"sgd": TrainConfig().lr, "adamw": 0.001}


def training_form(plan: Plan) -> None:
    """Schedule, where the plan's flow has one, length, optimizer; the rest in an expander."""
    row = st.grid("auto", min_column_width=140, vertical_alignment="bottom")
    scheduled = flow(plan.flow).scheduled
    if scheduled:
        _schedule(row, plan)
    _main_row(row, plan)
    g = granularity(plan.granularity)
    rounds = schedule(plan.schedule).rounds if scheduled else 1
    if g.fixed_ratio is not None and rounds > 1:
        st.caption(
            _(
                ":material/info: {granularity} has one fixed sparsity: the first round prunes to "
                "it, the later rounds only train.",
                granularity=from_core(g.label),
            )
        )
    with foldable(_("More settings"), "tune_more", ":material/tune:"):
        _more_settings(plan)


def _schedule(row: DeltaGenerator, plan: Plan) -> None:
    chosen = schedule(plan.schedule)
    name = plan.schedule.partition(":")[0]
    state.set_widget("tune_schedule", name)
    row.selectbox(
        _("Schedule"),
        tuple(SCHEDULES),
        format_func=lambda key: from_core(SCHEDULES[key].label),
        key="tune_schedule",
        help=entry_help("schedule", chosen),
        on_change=_schedule_changed,
    )
    state.set_widget("tune_rounds", chosen.rounds)
    row.number_input(
        _("Rounds"),
        1,
        MAX_ROUNDS,
        step=1,
        key="tune_rounds",
        help=HELP["rounds"],
        disabled=chosen.fixed_rounds,
        on_change=_rounds_changed,
    )


def _main_row(row: DeltaGenerator, plan: Plan) -> None:
    config = plan.fine_tune
    _number(row, _epochs_label(plan), "epochs", config, (0, min(200, limits().epochs), 1))
    state.set_widget("tune_optimizer", config.optimizer)
    row.selectbox(
        _("Optimizer"),
        tuple(OPTIMIZER_LABELS),
        format_func=lambda key: OPTIMIZER_LABELS[key],
        key="tune_optimizer",
        help=HELP["optimizer"],
        on_change=_optimizer_changed,
    )
    _number(row, _("Learning rate"), "lr", config, (1e-6, 10.0, 0.001), format="%g")
    _number(row, _("Batch size"), "batch_size", config, (1, 4096, 16))


def _epochs_label(plan: Plan) -> str:
    """Epochs of one round, of one training, or of the flow's only training."""
    per_round, besides = flow(plan.flow).trainings
    if per_round:
        return _("Epochs per round")
    return _("Epochs per training") if besides > 1 else _("Epochs")


def _more_settings(plan: Plan) -> None:
    config = plan.fine_tune
    row = st.grid("auto", min_column_width=140, vertical_alignment="bottom")
    _number(row, _("Weight decay"), "weight_decay", config, (0.0, 1.0, 1e-4), format="%g")
    _number(
        row,
        _("Momentum"),
        "momentum",
        config,
        (0.0, 0.999, 0.05),
        format="%g",
        disabled=config.optimizer != "sgd",
    )
    _number(row, _("Warm-up"), "warmup", config, (0.0, 0.99, 0.05), format="%g")
    _number(row, _("Label smoothing"), "label_smoothing", config, (0.0, 0.9, 0.05), format="%g")
    seeds = (0, 2**31 - 1, 1)
    _number(row, _("Training seed"), "seed", config, seeds, help=HELP["tune_seed"])
    _penalty(row, config)
    switches = st.container(horizontal=True)
    switches.toggle(_("Cosine decay"), help=HELP["cosine"], **_bound("cosine", config))
    switches.toggle(_("Augmentation"), help=HELP["augment"], **_bound("augment", config))


def _penalty(row: DeltaGenerator, config: TrainConfig) -> None:
    """The penalty, its groups where it has groups, and its strength."""
    chosen = parse_penalty(config.penalty)
    state.set_widget("tune_penalty_name", config.penalty.partition(":")[0])
    row.selectbox(
        _("Penalty"),
        (NONE, *PENALTIES),
        format_func=_penalty_label,
        key="tune_penalty_name",
        help=entry_help("penalty", chosen[0]) if chosen else HELP["penalty"],
        on_change=_penalty_changed,
    )
    if chosen is None:
        return
    g = chosen[1]
    if g is not None:
        state.set_widget("tune_penalty_shape", g.name)
        row.selectbox(
            _("Groups"),
            tuple(dict.fromkeys((*GRANULARITIES, g.name))),
            format_func=lambda key: from_core(granularity(key).label),
            key="tune_penalty_shape",
            help=HELP["penalty_shape"],
            on_change=_penalty_changed,
        )
    _number(row, _("Strength"), "penalty_strength", config, (0.0, 10.0, 1e-4), format="%g")


def _penalty_label(name: str) -> str:
    return from_core(PENALTIES[name].label) if name in PENALTIES else _("None")


def _penalty_changed() -> None:
    """The groups start with the plan's granularity."""
    before = state.plan().fine_tune.penalty
    name = state.widget_value("tune_penalty_name", before.partition(":")[0])
    groups = before.partition(":")[2] or state.plan().granularity
    groups = state.widget_value("tune_penalty_shape", groups)
    has_groups = name in PENALTIES and PENALTIES[name].per_group
    state.change_fine_tuning(penalty=f"{name}:{groups}" if has_groups else name)


def _number(
    row: DeltaGenerator,
    label: str,
    field: str,
    config: TrainConfig,
    bounds: tuple[float, float, float],
    **options: Any,
) -> None:
    """A number of the training settings.

    bounds: least, most, step. A plan from a file or address may have a value beyond; the field
    then shows that value. options: of the widget; its help is the field's if left out.
    """
    least, most, step = bounds
    value = getattr(config, field)
    help_text = options.pop("help", None) or HELP[field]
    row.number_input(
        label,
        min(least, value),
        max(most, value),
        step=step,
        help=help_text,
        **options,
        **_bound(field, config),
    )


def _bound(field: str, config: TrainConfig) -> dict[str, Any]:
    """Widget options: it starts with the plan's value, and a change sets the plan's field."""
    state.set_widget(f"tune_{field}", getattr(config, field))
    return {"key": f"tune_{field}", "on_change": _changed, "args": (field,)}


def _changed(field: str) -> None:
    before = getattr(state.plan().fine_tune, field)
    state.change_fine_tuning(**{field: state.widget_value(f"tune_{field}", before)})


def _optimizer_changed() -> None:
    """A new optimizer sets its usual learning rate, unless the user chose a learning rate."""
    config = state.plan().fine_tune
    name = state.widget_value("tune_optimizer", config.optimizer)
    usual = config.lr == USUAL_RATES[config.optimizer] and name in USUAL_RATES
    state.change_fine_tuning(optimizer=name, lr=USUAL_RATES[name] if usual else config.lr)


def _schedule_changed() -> None:
    state.change(schedule=state.widget_value("tune_schedule", "one_shot"))


def _rounds_changed() -> None:
    name = state.plan().schedule.partition(":")[0]
    if not SCHEDULES[name].fixed_rounds:
        state.change(schedule=f"{name}:{state.widget_value('tune_rounds', 1)}")

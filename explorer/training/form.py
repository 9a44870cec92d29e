"""The form of a fine-tuning run: every choice is in the plan, so it is in the address too."""

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.session import state
from explorer.texts.formats import HELP, entry_help
from explorer.texts.plan_words import OPTIMIZER_LABELS
from pruning_core.flows import flow
from pruning_core.granularity import GRANULARITIES, granularity
from pruning_core.penalties import NONE, PENALTIES, parsed
from pruning_core.plan import Plan
from pruning_core.schedule import MOST_ROUNDS, SCHEDULES, schedule
from pruning_core.training.fine_tune import TrainConfig

USUAL_RATES = {"sgd": TrainConfig().lr, "adamw": 0.001}


def tune_form(plan: Plan) -> None:
    """Schedule, where the plan's flow has one, length and optimizer; what is rarely changed is
    folded away.
    """
    row = st.grid("auto", min_column_width=140, vertical_alignment="bottom")
    if flow(plan.flow).scheduled:
        _rounds(row, plan)
    _main_row(row, plan)
    g = granularity(plan.granularity)
    if (
        g.fixed_ratio is not None
        and flow(plan.flow).scheduled
        and schedule(plan.schedule).rounds > 1
    ):
        st.caption(
            f":material/info: {g.label} is all or nothing: the first round cuts everything, the later ones only train."
        )
    with st.expander("More settings", icon=":material/tune:"):
        _more(plan)


def _rounds(row: DeltaGenerator, plan: Plan) -> None:
    found = schedule(plan.schedule)
    name = plan.schedule.partition(":")[0]
    state.set_widget("tune_schedule", name)
    row.selectbox(
        "Schedule",
        tuple(SCHEDULES),
        format_func=lambda key: SCHEDULES[key].label,
        key="tune_schedule",
        help=entry_help("schedule", found),
        on_change=_schedule_changed,
    )
    state.set_widget("tune_rounds", found.rounds)
    row.number_input(
        "Rounds",
        1,
        MOST_ROUNDS,
        step=1,
        key="tune_rounds",
        help=HELP["rounds"],
        disabled=name == "one_shot",
        on_change=_rounds_changed,
    )


def _main_row(row: DeltaGenerator, plan: Plan) -> None:
    config = plan.fine_tune
    (each, besides) = flow(plan.flow).trainings
    per = " per round" if each else " per training" if besides > 1 else ""
    _number(row, f"Epochs{per}", "epochs", config, (0, 200, 1))
    row.selectbox(
        "Optimizer",
        tuple(OPTIMIZER_LABELS),
        format_func=lambda key: OPTIMIZER_LABELS[key],
        help=HELP["optimizer"],
        **_seeded("optimizer", config) | {"on_change": _optimizer_changed, "args": ()},
    )
    _number(row, "Learning rate", "lr", config, (1e-6, 10.0, 0.001), format="%g")
    _number(row, "Batch size", "batch_size", config, (1, 4096, 16))


def _more(plan: Plan) -> None:
    config = plan.fine_tune
    row = st.grid("auto", min_column_width=140, vertical_alignment="bottom")
    _number(row, "Weight decay", "weight_decay", config, (0.0, 1.0, 1e-4), format="%g")
    _number(
        row,
        "Momentum",
        "momentum",
        config,
        (0.0, 0.999, 0.05),
        format="%g",
        disabled=config.optimizer != "sgd",
    )
    _number(row, "Warm-up", "warmup", config, (0.0, 0.99, 0.05), format="%g")
    _number(row, "Label smoothing", "label_smoothing", config, (0.0, 0.9, 0.05), format="%g")
    _number(row, "Training seed", "seed", config, (0, 2**31 - 1, 1), help=HELP["tune_seed"])
    _penalty(row, config)
    switches = st.container(horizontal=True)
    switches.toggle("Cosine decay", help=HELP["cosine"], **_seeded("cosine", config))
    switches.toggle("Augmentation", help=HELP["augment"], **_seeded("augment", config))


def _penalty(row: DeltaGenerator, config: TrainConfig) -> None:
    """What training is to make small, over which groups, and how strongly."""
    found = parsed(config.penalty)
    name = config.penalty.partition(":")[0]
    state.set_widget("tune_penalty_name", name)
    row.selectbox(
        "Penalty",
        (NONE, *PENALTIES),
        format_func=lambda key: PENALTIES[key].label if key in PENALTIES else "None",
        key="tune_penalty_name",
        help=entry_help("penalty", found[0]) if found else HELP["penalty"],
        on_change=_penalty_changed,
    )
    if found is None:
        return
    if (g := found[1]) is not None:
        state.set_widget("tune_penalty_shape", g.name)
        row.selectbox(
            "Groups",
            tuple(dict.fromkeys((*GRANULARITIES, g.name))),
            format_func=lambda key: granularity(key).label,
            key="tune_penalty_shape",
            help=HELP["penalty_shape"],
            on_change=_penalty_changed,
        )
    _number(row, "Strength", "penalty_strength", config, (0.0, 10.0, 1e-4), format="%g")


def _penalty_changed() -> None:
    """Groups at first have the plan's own shape of a cut."""
    before = state.plan().fine_tune.penalty
    name = state.widget_value("tune_penalty_name", before.partition(":")[0])
    shape = state.widget_value(
        "tune_penalty_shape", before.partition(":")[2] or state.plan().granularity
    )
    state.change_fine_tuning(
        penalty=f"{name}:{shape}" if name in PENALTIES and PENALTIES[name].shaped else name
    )


def _number(
    row: DeltaGenerator,
    label: str,
    field: str,
    config: TrainConfig,
    steps: tuple[float, float, float],
    **look: Any,
) -> None:
    """A number of the config. steps: least, most, step; a plan from elsewhere may lie beyond, and
    is shown as it is.
    """
    least, most, step = steps
    value = getattr(config, field)
    options: dict[str, Any] = (
        {"help": HELP[field] if "help" not in look else look.pop("help")}
        | look
        | _seeded(field, config)
    )
    row.number_input(label, min(least, value), max(most, value), step=step, **options)


def _seeded(field: str, config: TrainConfig) -> dict[str, Any]:
    """The widget of a field starts with the plan's value and gives changes back to the plan."""
    state.set_widget(f"tune_{field}", getattr(config, field))
    return {"key": f"tune_{field}", "on_change": _changed, "args": (field,)}


def _changed(field: str) -> None:
    before = getattr(state.plan().fine_tune, field)
    state.change_fine_tuning(**{field: state.widget_value(f"tune_{field}", before)})


def _optimizer_changed() -> None:
    """Another optimizer brings its usual learning rate, unless another one than the usual was
    chosen.
    """
    config = state.plan().fine_tune
    name = state.widget_value("tune_optimizer", config.optimizer)
    usual = config.lr == USUAL_RATES[config.optimizer] and name in USUAL_RATES
    state.change_fine_tuning(optimizer=name, lr=USUAL_RATES[name] if usual else config.lr)


def _schedule_changed() -> None:
    state.change(schedule=state.widget_value("tune_schedule", "one_shot"))


def _rounds_changed() -> None:
    name = state.plan().schedule.partition(":")[0]
    if name != "one_shot":
        state.change(schedule=f"{name}:{state.widget_value('tune_rounds', 1)}")

"""The form of a fine-tuning run: every choice is in the plan, so it is in the address too."""

from typing import Any

import streamlit as st

from explorer import state
from explorer.plan_words import OPTIMIZER_LABELS
from explorer.text import HELP, entry_help
from pruning_core.plan import Plan
from pruning_core.schedule import MOST_ROUNDS, SCHEDULES, schedule

MOST_EPOCHS = 200


def tune_form(plan: Plan) -> None:
    """Schedule, length and optimizer; what is rarely changed is folded away."""
    _main_row(plan)
    with st.expander("More settings", icon=":material/tune:"):
        _more(plan)


def _main_row(plan: Plan) -> None:
    config, found, name = plan.fine_tune, schedule(plan.schedule), plan.schedule.partition(":")[0]
    row = st.grid("auto", min_column_width=150, vertical_alignment="bottom")
    state.seed("tune_schedule", name)
    row.selectbox("Schedule", tuple(SCHEDULES), format_func=lambda key: SCHEDULES[key].label, key="tune_schedule",
                  help=entry_help("schedule", found), on_change=_schedule_changed)  # fmt: skip
    state.seed("tune_rounds", found.rounds)
    row.number_input("Rounds", 1, MOST_ROUNDS, step=1, key="tune_rounds", help=HELP["rounds"], disabled=name == "one_shot",
                     on_change=_rounds_changed)  # fmt: skip
    _seeded("epochs", config.epochs)
    row.number_input("Epochs per round", 0, MOST_EPOCHS, step=1, help=HELP["epochs"], **_keyed("epochs"))
    _seeded("optimizer", config.optimizer)
    row.selectbox("Optimizer", tuple(OPTIMIZER_LABELS), format_func=lambda key: OPTIMIZER_LABELS[key], help=HELP["optimizer"],
                  **_keyed("optimizer"))  # fmt: skip
    _seeded("lr", config.lr)
    row.number_input("Learning rate", 1e-6, 10.0, step=0.001, format="%g", help=HELP["lr"], **_keyed("lr"))
    _seeded("batch_size", config.batch_size)
    row.number_input("Batch size", 1, 4096, step=16, help=HELP["batch_size"], **_keyed("batch_size"))


def _more(plan: Plan) -> None:
    config = plan.fine_tune
    row = st.grid("auto", min_column_width=150, vertical_alignment="bottom")
    _seeded("weight_decay", config.weight_decay)
    row.number_input("Weight decay", 0.0, 1.0, step=1e-4, format="%g", help=HELP["weight_decay"], **_keyed("weight_decay"))
    _seeded("momentum", config.momentum)
    row.number_input("Momentum", 0.0, 0.999, step=0.05, format="%g", help=HELP["momentum"], disabled=config.optimizer != "sgd",
                     **_keyed("momentum"))  # fmt: skip
    _seeded("warmup", config.warmup)
    row.number_input("Warm-up", 0.0, 0.99, step=0.05, format="%g", help=HELP["warmup"], **_keyed("warmup"))
    _seeded("label_smoothing", config.label_smoothing)
    row.number_input(
        "Label smoothing", 0.0, 0.9, step=0.05, format="%g", help=HELP["label_smoothing"], **_keyed("label_smoothing")
    )
    _seeded("seed", config.seed)
    row.number_input("Training seed", 0, 2**31 - 1, step=1, help=HELP["tune_seed"], **_keyed("seed"))
    switches = st.container(horizontal=True)
    _seeded("cosine", config.cosine)
    switches.toggle("Cosine decay", help=HELP["cosine"], **_keyed("cosine"))
    _seeded("augment", config.augment)
    switches.toggle("Augmentation", help=HELP["augment"], **_keyed("augment"))


def _seeded(field: str, value: Any) -> None:
    state.seed(f"tune_{field}", value)


def _keyed(field: str) -> dict[str, Any]:
    return {"key": f"tune_{field}", "on_change": _changed, "args": (field,)}


def _changed(field: str) -> None:
    before = getattr(state.plan().fine_tune, field)
    state.tune(**{field: state.widget(f"tune_{field}", before)})


def _schedule_changed() -> None:
    state.change(schedule=state.widget("tune_schedule", "one_shot"))


def _rounds_changed() -> None:
    name = state.plan().schedule.partition(":")[0]
    if name != "one_shot":
        state.change(schedule=f"{name}:{state.widget('tune_rounds', 1)}")

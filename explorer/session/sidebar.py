"""The side bar: one widget per choice of the plan, each with help; what a network cannot take is
marked, with the sentence why.

    render() -> Choice(plan, space, notes)

`plan` can be carried out: ratios set by hand that wait for another granularity are left out of it
(`notes` says so). `space` is None where network or images could not be opened; then `notes` says
why. The plan as the user set it is `state.plan()`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from explorer.session import cache, state
from explorer.session.axis_forms import granularity_form, schedule_form
from explorer.texts.formats import HELP, count, entry_help, percent, whole_percent
from pruning_core.allocation import ALLOCATIONS, total_ratio
from pruning_core.criteria import CRITERIA, refusal
from pruning_core.granularity import granularity, supports
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan
from pruning_core.registry import Entry, find
from pruning_core.types import PruningError
from pruning_core.zoo import DATASETS, MODELS, PRETRAINED, card, datasets_for

MARK = " · not here"
PROBES = (64, 128, 256, 512, 1024, 2048, 5000)


@dataclass(frozen=True, eq=False)
class Choice:
    """What the side bar came to. notes: sentences for the user, each with its kind: warning |
    error.
    """

    plan: Plan
    space: Workspace | None
    notes: tuple[tuple[str, str], ...]


def render() -> Choice:
    """Draws the side bar and gives the plan that the pages show."""
    plan = _known(state.plan())
    space = None
    notes = tuple(("warning", sentence) for sentence in state.problems())
    _subject(plan)
    try:
        space = _opened(plan)
    except PruningError as problem:
        notes += (("error", str(problem)),)
    st.subheader("What to remove", anchor=False)
    granularity_form(plan, space)
    _axis("criterion", "Importance", CRITERIA, plan.criterion, _refused(plan, space))
    _axis("allocation", "Share per layer", ALLOCATIONS, plan.allocation, {})
    _sparsity(plan, space)
    with st.expander("More settings", icon=":material/tune:"):
        _advanced(plan, space)
    if space is not None:
        notes += tuple(
            ("warning", sentence)
            for sentence in state.drop_unknown_layers(layer.name for layer in space.layers)
        )
        plan, waiting = cache.runnable_plan(state.plan(), space)
        notes += tuple(("warning", sentence) for sentence in waiting)
    return Choice(plan, space, notes)


def _opened(plan: Plan) -> Workspace:
    """The network and its images; a download shows how far it is."""
    place = st.empty()
    shown = [-1]

    def progress(share: float, file: str) -> None:
        if (now := int(100 * share)) != shown[0]:
            shown[0] = now
            place.progress(min(now, 100), f"Downloading {file}")

    with st.spinner("Loading the network and its images …"):
        space = cache.workspace(plan.model, plan.dataset, progress)
    place.empty()
    return space


def _known(plan: Plan) -> Plan:
    """The plan, with the default in place of a network or images that the zoo does not know (from
    an imported plan).
    """
    sentences = []
    defaults = {}
    for field, names in known_names().items():
        try:
            find(dict.fromkeys(names), getattr(plan, field), field)
        except PruningError as problem:
            defaults[field] = getattr(Plan(), field)
            sentences.append(f"{problem} The default, {defaults[field]}, is shown.")
    if defaults:
        state.change(**defaults)
    for sentence in sentences:
        state.add_problem(sentence)
    return state.plan()


def known_names() -> dict[str, tuple[str, ...]]:
    """The names that an address may give for network and images."""
    return {"model": tuple(MODELS), "dataset": tuple(DATASETS)}


def _subject(plan: Plan) -> None:
    """Network and images: only data that the network can be opened with, and the one that the plan
    asks for.
    """
    state.set_widget("model", plan.model)
    net = MODELS[plan.model]
    st.selectbox(
        "Network",
        tuple(MODELS),
        format_func=lambda name: MODELS[name].label if name in MODELS else name,
        key="model",
        help=f"{HELP['model']}\n\n**{net.label}**: {net.help}\n\n{net.source}",
        on_change=_model_changed,
    )
    options = tuple(dict.fromkeys((*datasets_for(plan.model), plan.dataset)))
    state.set_widget("dataset", plan.dataset)
    source = DATASETS[plan.dataset]
    st.selectbox(
        "Images",
        options,
        format_func=lambda name: DATASETS[name].label if name in DATASETS else name,
        key="dataset",
        help=f"{HELP['dataset']}\n\n**{source.label}**: {source.help} {source.get}",
        on_change=state.change_from_widget,
        args=("dataset",),
    )
    st.caption(_origin(plan))


def _origin(plan: Plan) -> str:
    """Where the trained weights come from, and how good they are."""
    if plan.model in PRETRAINED:
        return (
            "Pretrained on ImageNet by torchvision; measured on the classes that these images have."
        )
    if plan.dataset not in datasets_for(plan.model):
        return "Not trained on these images yet."
    found = card(plan.model, plan.dataset)
    return f"{count(found.parameters)} parameters; {percent(found.test_top1)} of {found.test_images:,} test images right."


def _model_changed() -> None:
    """Another network starts on images that it knows."""
    model = state.widget_value("model", state.plan().model)
    dataset = state.plan().dataset
    if model not in MODELS:
        return state.add_problem(f"There is no network '{model}'.")
    able = datasets_for(model)
    return state.change(
        model=model, dataset=dataset if dataset in able else next(iter(able), dataset)
    )


def _axis(
    field: str, label: str, entries: Mapping[str, Entry], chosen: str, refused: Mapping[str, str]
) -> None:
    """One axis as a select box; refused entries are marked, and the chosen one's sentence is told."""

    def shown(name: str) -> str:
        return entries[name].label + (MARK if name in refused else "") if name in entries else name

    state.set_widget(field, chosen)
    st.selectbox(
        label,
        tuple(entries),
        format_func=shown,
        key=field,
        help=entry_help(field, entries[chosen]),
        on_change=state.change_from_widget,
        args=(field,),
    )
    st.caption(refused.get(chosen) or entries[chosen].help)


def _refused(plan: Plan, space: Workspace | None) -> dict[str, str]:
    """The criteria that can rank no layer that the granularity can cut, with the reason of the
    first one.
    """
    if space is None:
        return {}
    g = granularity(plan.granularity)
    able = [layer for layer in space.layers if supports(g, layer) is None] or space.layers
    reasons = {name: [refusal(how, g, layer) for layer in able] for name, how in CRITERIA.items()}
    return {
        name: f"No layer of this network can use it: {why[0]}"
        for name, why in reasons.items()
        if all(why)
    }


def _sparsity(plan: Plan, space: Workspace | None) -> None:
    """The global slider, or the sentence why it has no say."""
    share, why = _resting(plan, space)
    state.set_widget("sparsity", whole_percent(share))
    st.slider(
        "Sparsity",
        0,
        100,
        step=1,
        format="%d%%",
        key="sparsity",
        help=HELP["sparsity"],
        disabled=bool(why),
        on_change=_sparsity_changed,
    )
    if why:
        st.caption(why)
    elif abs(100 * share - whole_percent(share)) > 1e-6:
        st.caption(f"The plan asks for {percent(share)}; this slider moves in whole percent.")


def _resting(plan: Plan, space: Workspace | None) -> tuple[float, str]:
    """The share that the slider shows, and the sentence why it rests ("" where it has a say)."""
    g = granularity(plan.granularity)
    by_hand = dict(plan.overrides)
    if g.fixed_ratio is not None:
        return (
            g.fixed_ratio,
            f"{g.label} itself removes {percent(g.fixed_ratio)} of every layer, so this slider rests.",
        )
    able = cache.prunable(plan, space)[0] if space is not None else ()
    if able and all(layer.name in by_hand for layer in able):
        asked = total_ratio(able, by_hand)
        return asked, (
            f"Every layer's ratio is set by hand; together they ask for {percent(asked)}, so this slider rests. "
            "*Reset all* on the Explore page gives the layers back to it."
        )
    if plan.allocation == "manual":
        return (
            plan.sparsity,
            "With manual shares each layer has its own slider on the Explore page, so this one rests.",
        )
    return plan.sparsity, ""


def _sparsity_changed() -> None:
    state.change(sparsity=state.widget_value("sparsity", 50) / 100)


def _advanced(plan: Plan, space: Workspace | None) -> None:
    """What a first visit does not need."""
    available = len(space.dataset.val) if space else max(PROBES)
    shown = min(plan.probe, available)
    sizes = sorted(
        {size for size in PROBES if size < available} | {shown, min(available, max(PROBES))}
    )
    state.set_widget("probe", shown)
    st.select_slider(
        "Probe images",
        sizes,
        key="probe",
        help=HELP["probe"],
        on_change=state.change_from_widget,
        args=("probe",),
    )
    state.set_widget("calibration", plan.calibration)
    st.number_input(
        "Calibration images",
        1,
        50_000,
        step=64,
        key="calibration",
        help=HELP["calibration"],
        disabled=not find(CRITERIA, plan.criterion, "criterion").needs_data,
        on_change=state.change_from_widget,
        args=("calibration",),
    )
    state.set_widget("seed", plan.seed)
    st.number_input(
        "Seed",
        0,
        2**31 - 1,
        step=1,
        key="seed",
        help=HELP["seed"],
        on_change=state.change_from_widget,
        args=("seed",),
    )
    state.set_widget("allow_collapse", plan.allow_collapse)
    st.toggle(
        "A layer may collapse",
        key="allow_collapse",
        help=HELP["allow_collapse"],
        on_change=state.change_from_widget,
        args=("allow_collapse",),
    )
    schedule_form(plan)

"""The side bar: one widget with help for each choice of the plan."""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st
from torch import nn

from explorer.session import cache, state, upload_dialog
from explorer.session.axis_forms import UNAVAILABLE, granularity_form, schedule_form
from explorer.session.idle_choices import all_by_hand, decided_by_hand, idle_repairs
from explorer.session.notices import plain
from explorer.session.url import is_upload
from explorer.texts.formats import count, percent, whole_percent
from explorer.texts.help import HELP, entry_help
from pruning_core.allocation import ALLOCATIONS, total_ratio
from pruning_core.criteria import CRITERIA, refusal
from pruning_core.granularity import granularity, supports
from pruning_core.model.kept_norms import ALL, KEPT
from pruning_core.pipeline import start_note
from pruning_core.plan import Plan
from pruning_core.registry import Entry, find
from pruning_core.repairs import NONE, REPAIRS
from pruning_core.start_masks import DENSE, ZEROS, start_sparsity
from pruning_core.subjects import read_subjects, subjects
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace, datasets_of, known_datasets, known_models
from pruning_core.zoo import PRETRAINED, available, card
from pruning_core.zoo.uploads import is_upload_name, uploads

PROBES = (64, 128, 256, 512, 1024, 2048, 5000)


@dataclass(frozen=True, eq=False)
class Choice:
    """What the pages show.

    plan: the part of the session's plan that can run now; `state.plan()` is the whole plan.
    space: None where the network or the images could not be opened.
    notes: sentences for the user, each with its kind, warning or error.
    """

    plan: Plan
    space: Workspace | None
    notes: tuple[tuple[str, str], ...]


def render() -> Choice:
    """Draws the side bar and returns what the pages show."""
    plan = _replace_unknown_names(state.plan())
    space = None
    notes = _warnings((*state.problems(), *read_subjects()[1]))
    _network_and_images(plan)
    upload_dialog.entry()
    try:
        space = _open_workspace(plan)
        _reading_notes(space)
    except PruningError as problem:
        notes += (("error", str(problem)),)
    st.subheader("What to remove", anchor=False)
    granularity_form(plan, space)
    _axis("criterion", "Criterion", CRITERIA, plan.criterion, _unusable_criteria(plan, space))
    by_hand = decided_by_hand(plan, space)
    _axis("allocation", "Allocation", ALLOCATIONS, plan.allocation, by_hand, " · not used now")
    _sparsity(plan, space)
    _axis("repair", "Repair", REPAIRS, plan.repair, idle_repairs(space))
    if space is not None and space.removed_at_start:
        _start(plan, space)
    with st.expander("More settings", icon=":material/tune:"):
        _more_settings(plan, space)
    if space is not None:
        notes += _warnings(state.drop_unknown_layers(layer.name for layer in space.layers))
        plan, unused = cache.runnable_plan(state.plan(), space)
        notes += _warnings(unused)
    return Choice(plan, space, notes)


def known_names() -> dict[str, tuple[str, ...]]:
    """The names that an address may contain for network and images, with the visitor's uploads."""
    own = _own_uploads()
    return {"model": tuple(known_models(*own)), "dataset": tuple(known_datasets(*own))}


def _own_uploads() -> tuple[str, ...]:
    return tuple(stored.name for stored in uploads(state.owner()))


def _warnings(sentences: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(("warning", sentence) for sentence in sentences)


def _open_workspace(plan: Plan) -> Workspace:
    """Opens the network and its images, and shows the progress of a download."""
    place = st.empty()
    shown = [-1]

    def show_progress(done: float, file: str) -> None:
        if (now := int(100 * done)) != shown[0]:
            shown[0] = now
            place.progress(min(now, 100), f"Downloading {file}")

    with st.spinner("Loading the network and its images …"):
        space = cache.workspace(plan.model, plan.dataset, show_progress)
    place.empty()
    return space


def _reading_notes(space: Workspace) -> None:
    """How a network and data of the user's were read."""
    if space.notes:
        with st.expander("How your network and data were read", icon=":material/info:"):
            for sentence in space.notes:
                st.caption(plain(sentence))


def _replace_unknown_names(plan: Plan) -> Plan:
    """Sets an unknown network or unknown images, from an imported plan, to the default."""
    sentences = []
    defaults = {}
    for field, names in known_names().items():
        if is_upload(field, getattr(plan, field)):
            continue
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


def _network_and_images(plan: Plan) -> None:
    """Two select boxes. The images are those that the network can be opened with."""
    networks = known_models(*_own_uploads(), plan.model)
    network = networks[plan.model]
    state.set_widget("model", plan.model)
    st.selectbox(
        "Network",
        tuple(networks),
        format_func=lambda name: networks[name].label if name in networks else name,
        key="model",
        help=f"{HELP['model']}\n\n**{network.label}**: {plain(network.help)}\n\n"
        f"{plain(network.source)}",
        on_change=_model_changed,
    )
    usable = tuple(dict.fromkeys((*datasets_of(plan.model), plan.dataset)))
    data = known_datasets(*usable)
    images = data[plan.dataset]
    state.set_widget("dataset", plan.dataset)
    st.selectbox(
        "Data" if plan.model in subjects() else "Images",
        usable,
        format_func=lambda name: data[name].label if name in data else name,
        key="dataset",
        help=f"{HELP['dataset']}\n\n**{images.label}**: {plain(f'{images.help} {images.get}')}",
        on_change=state.change_from_widget,
        args=("dataset",),
    )
    st.caption(_weights_origin(plan, network.source))


def _weights_origin(plan: Plan, source: str) -> str:
    """Where the trained weights come from, and their test accuracy. source: of the network."""
    if plan.model in PRETRAINED:
        return (
            f"Pretrained on ImageNet by {PRETRAINED[plan.model].trained_by}. "
            "Accuracy is measured on the classes that these images have."
        )
    if plan.model in subjects():
        return f"Your own network: {plain(source)}."
    if is_upload_name(plan.model):
        return f"An upload. {plain(source)}"
    if (plan.model, plan.dataset) not in available():
        return "Not trained on these images yet."
    trained = card(plan.model, plan.dataset)
    return (
        f"{count(trained.parameters)} parameters; {percent(trained.test_top1)} of "
        f"{trained.test_images:,} test images are classified correctly."
    )


def _model_changed() -> None:
    """Keeps the images if the new network can be opened with them, else takes its first ones."""
    model = state.widget_value("model", state.plan().model)
    dataset = state.plan().dataset
    if model not in known_models(model):
        return state.add_problem(f"There is no network '{model}'.")
    usable = datasets_of(model)
    return state.change(
        model=model, dataset=dataset if dataset in usable else next(iter(usable), dataset)
    )


def _axis(
    field: str,
    label: str,
    entries: Mapping[str, Entry],
    chosen: str,
    reasons: Mapping[str, str],
    mark: str = UNAVAILABLE,
) -> None:
    """A select box for one axis. reasons: for each unusable entry, a sentence why.

    Unusable entries get the mark. The caption is the reason of the chosen entry, or its help.
    """

    def entry_label(name: str) -> str:
        if name not in entries:
            return name
        return entries[name].label + (mark if name in reasons else "")

    state.set_widget(field, chosen)
    st.selectbox(
        label,
        tuple(entries),
        format_func=entry_label,
        key=field,
        help=entry_help(field, entries[chosen]),
        on_change=state.change_from_widget,
        args=(field,),
    )
    st.caption(reasons.get(chosen) or entries[chosen].help)


def _unusable_criteria(plan: Plan, space: Workspace | None) -> dict[str, str]:
    """The criteria that can rank no layer that the granularity can prune, with a reason."""
    if space is None:
        return {}
    g = granularity(plan.granularity)
    layers = [layer for layer in space.layers if supports(g, layer) is None] or space.layers
    reasons = {
        name: [refusal(criterion, g, layer) for layer in layers]
        for name, criterion in CRITERIA.items()
    }
    return {
        name: f"No layer of this network can use it: {layer_reasons[0]}"
        for name, layer_reasons in reasons.items()
        if all(layer_reasons)
    }


def _sparsity(plan: Plan, space: Workspace | None) -> None:
    """The slider of the global sparsity. Where it has no effect it is disabled, with the reason."""
    fraction, reason = _slider_state(plan, space)
    state.set_widget("sparsity", whole_percent(fraction))
    st.slider(
        "Sparsity",
        0,
        100,
        step=1,
        format="%d%%",
        key="sparsity",
        help=HELP["sparsity"],
        disabled=bool(reason),
        on_change=_sparsity_changed,
    )
    if reason:
        st.caption(reason)
        if plan.overrides:
            st.button(
                f"Back to {ALLOCATIONS[plan.allocation].label}",
                key="back_to_allocation",
                icon=":material/undo:",
                help=HELP["reset_all"],
                on_click=state.set_ratios,
                args=({},),
            )
    elif abs(100 * fraction - whole_percent(fraction)) > 1e-6:
        st.caption(f"The plan requests {percent(fraction)}; this slider has steps of 1%.")


def _slider_state(plan: Plan, space: Workspace | None) -> tuple[float, str]:
    """The fraction that the slider shows, and why it has no effect ("" where it has one)."""
    g = granularity(plan.granularity)
    if g.fixed_ratio is not None:
        return g.fixed_ratio, (
            f"{g.label} removes {percent(g.fixed_ratio)} of every layer, "
            "so this slider has no effect."
        )
    if space is not None and all_by_hand(plan, space):
        requested = total_ratio(cache.prunable(plan, space)[0], dict(plan.overrides))
        return requested, (
            f"Every layer's ratio is set by hand. Together they request {percent(requested)}, "
            "so this slider has no effect."
        )
    if not ALLOCATIONS[plan.allocation].uses_target:
        return plan.sparsity, (
            "With the allocation Manual each layer has its own slider on the Explore page, "
            "so this slider has no effect."
        )
    return plan.sparsity, ""


def _start(plan: Plan, space: Workspace) -> None:
    """A check box for a network that is sparse already."""
    state.set_widget("start", plan.start == ZEROS)
    st.checkbox(
        "Keep weights that are zero already",
        key="start",
        help=HELP["start"],
        on_change=_start_changed,
    )
    share = start_sparsity(space.removed_at_start, space.layers)
    st.caption(
        start_note(plan, space)
        or f"{share:.1%} of the prunable weights are zero. Pruning may keep them, and training may "
        "change them."
    )


def _start_changed() -> None:
    state.change(start=ZEROS if state.widget_value("start", False) else DENSE)


def _sparsity_changed() -> None:
    state.change(sparsity=state.widget_value("sparsity", 50) / 100)


def _more_settings(plan: Plan, space: Workspace | None) -> None:
    """The settings that a first visit does not need."""
    _probe(plan, space)
    needs_data = find(CRITERIA, plan.criterion, "criterion").needs_data
    samples = space.dataset.task.samples if space else "images"
    _number(
        "calibration",
        f"Calibration {samples}",
        plan.calibration,
        (1, 50_000, 64),
        needs_data or plan.repair != NONE,
    )
    _number("seed", "Seed", plan.seed, (0, 2**31 - 1, 1))
    state.set_widget("allow_collapse", plan.allow_collapse)
    st.toggle(
        "A layer may collapse",
        key="allow_collapse",
        help=HELP["allow_collapse"],
        on_change=state.change_from_widget,
        args=("allow_collapse",),
    )
    if space is not None and granularity(plan.granularity).removes_outputs:
        _norms(plan, space)
    schedule_form(plan)


def _norms(plan: Plan, space: Workspace) -> None:
    """A switch for networks with norms over channels."""
    over_channels = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    if plan.norms == KEPT or any(isinstance(m, over_channels) for m in space.model.modules()):
        state.set_widget("norms", plan.norms == KEPT)
        st.toggle(
            "Norms average over kept channels only",
            key="norms",
            help=HELP["norms"],
            on_change=lambda: state.change(
                norms=KEPT if state.widget_value("norms", False) else ALL
            ),
        )


def _probe(plan: Plan, space: Workspace | None) -> None:
    """The number of probe images, at most as many as the validation split has."""
    available = len(space.dataset.val) if space else max(PROBES)
    chosen = min(plan.probe, available)
    sizes = {size for size in PROBES if size < available}
    state.set_widget("probe", chosen)
    st.select_slider(
        f"Probe {space.dataset.task.samples if space else 'images'}",
        sorted(sizes | {chosen, min(available, max(PROBES))}),
        key="probe",
        help=HELP["probe"],
        on_change=state.change_from_widget,
        args=("probe",),
    )


def _number(
    field: str, label: str, value: int, limits: tuple[int, int, int], enabled: bool = True
) -> None:
    """A whole number of the plan. limits: smallest, largest, step."""
    smallest, largest, step = limits
    state.set_widget(field, value)
    st.number_input(
        label,
        smallest,
        largest,
        step=step,
        key=field,
        help=HELP[field],
        disabled=not enabled,
        on_change=state.change_from_widget,
        args=(field,),
    )

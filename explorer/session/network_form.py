"""The side bar's choice of the network and of its images."""

from collections.abc import Iterable

import streamlit as st

from explorer.session import state
from explorer.session.notices import plain
from explorer.texts.formats import count, decimal_percent
from explorer.texts.glossary_links import with_one_link
from explorer.texts.help import HELP, named
from explorer.texts.translate import N_, _, from_core
from pruning_core.plan import Plan
from pruning_core.subjects import subjects
from pruning_core.types import PruningError
from pruning_core.workspaces import datasets_of, known_datasets, known_models
from pruning_core.zoo import PRETRAINED, available, card
from pruning_core.zoo.uploads import is_upload_name


def network_form(plan: Plan, uploaded: Iterable[str]) -> None:
    """Two select boxes. The images are those that the network can be opened with.

    uploaded: the names of the visitor's uploads.
    """
    networks = known_models(*uploaded, plan.model)
    network = networks[plan.model]
    state.set_widget("model", plan.model)
    st.selectbox(
        _("Network"),
        tuple(networks),
        format_func=lambda name: from_core(networks[name].label) if name in networks else name,
        key="model",
        help=with_one_link(
            HELP["model"],
            named(from_core(network.label), plain(network.help)),
            plain(network.source),
        ),
        on_change=_model_changed,
    )
    usable = tuple(dict.fromkeys((*datasets_of(plan.model), plan.dataset)))
    data = known_datasets(*usable)
    images = data[plan.dataset]
    state.set_widget("dataset", plan.dataset)
    st.selectbox(
        _("Data") if plan.model in subjects() else _("Images"),
        usable,
        format_func=lambda name: from_core(data[name].label) if name in data else name,
        key="dataset",
        help=with_one_link(
            HELP["dataset"],
            named(from_core(images.label), plain(f"{images.help} {images.get}")),
        ),
        on_change=state.change_from_widget,
        args=("dataset",),
    )
    st.caption(_weights_origin(plan, network.source))


def _weights_origin(plan: Plan, source: str) -> str:
    """Where the trained weights come from, and their test accuracy. source: of the network."""
    if plan.model in PRETRAINED:
        return _(
            "Pretrained on ImageNet by {author}. "
            "Accuracy is measured on the classes that these images have.",
            author=PRETRAINED[plan.model].trained_by,
        )
    if plan.model in subjects():
        return _("Your own network: {source}.", source=plain(source))
    if is_upload_name(plan.model):
        return _("An upload. {source}", source=plain(source))
    if (plan.model, plan.dataset) not in available():
        return _("Not trained on these images yet.")
    try:
        trained = card(plan.model, plan.dataset)
    except PruningError as problem:
        return plain(str(problem))
    return _(
        "{parameters} parameters; {accuracy} of {n} test images correct.",
        parameters=count(trained.parameters),
        accuracy=decimal_percent(trained.test_top1),
        n=f"{trained.test_images:,}",
    )


def _model_changed() -> None:
    """Keeps the images if the new network can be opened with them, else takes its first ones."""
    model = state.widget_value("model", state.plan().model)
    dataset = state.plan().dataset
    if model not in known_models(model):
        return state.add_problem(N_("There is no network '{name}'.").format(name=model))
    usable = datasets_of(model)
    return state.change(
        model=model, dataset=dataset if dataset in usable else next(iter(usable), dataset)
    )

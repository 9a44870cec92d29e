"""One candidate: its ratios as bars and on the network map, and what to do with it."""

import streamlit as st

from explorer.charts import alt
from explorer.charts.search import ratio_bars
from explorer.components.net_map import map_view, net_map
from explorer.pages.search.charts_panel import WIDTH
from explorer.pages.search.events import BASELINES
from explorer.pages.search.form import cost_share
from explorer.pages.search.run import SearchRun, plan_of
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.texts.formats import value_text
from explorer.texts.help import HELP
from explorer.texts.translate import _
from pruning_core.plan import Plan
from pruning_core.search import Candidate
from pruning_core.tasks import Task
from pruning_core.workspaces import Workspace


def candidate_panel(run: SearchRun, candidate: Candidate, plan: Plan, space: Workspace) -> None:
    """Draws the candidate. plan: the present one, which the buttons change."""
    _buttons(run, candidate, plan)
    started = run.started
    assert started is not None
    task = space.dataset.task
    _caption(candidate, task)
    row = st.grid(2, min_column_width=WIDTH)
    bars = row.container()
    network = row.container()
    names = [part.layers[0] for part in started.parts]
    figure = ratio_bars(
        {name: candidate.ratios[name] for name in names},
        {_(BASELINES[name]): other.ratios for name, other in started.baselines.items()},
    )
    with bars:
        st.plotly_chart(
            figure, key="search_ratios", alt=alt(figure), config={"displayModeBar": False}
        )
        if any(len(part.layers) > 1 for part in started.parts):
            st.caption(
                _("Layers whose filters are removed together are one bar, by its first layer.")
            )
    with network:
        net_map(
            map_view(cache.layer_map(plan, space), space.layers),
            chosen=state.selected_layer() or names[0],
            kept={name: 1 - ratio for name, ratio in candidate.ratios.items()},
            sensitivity=None,
            task=task,
            key="search_map",
            on_select=state.select_layer,
        )


def _caption(candidate: Candidate, task: Task) -> None:
    """Its value and its costs."""
    loss = candidate.judged.loss
    st.caption(
        _(
            "{value}{loss}, {costs} remain. Proposed as: {origin}.",
            value=value_text(candidate.judged.value, task),
            loss="" if loss is None else _(", loss {loss:.3f}", loss=loss),
            costs=_(", ").join(cost_share(*cost) for cost in candidate.costs.items()),
            origin=plain(candidate.origin),
        )
    )


def _buttons(run: SearchRun, candidate: Candidate, plan: Plan) -> None:
    """The buttons that set the ratios in the plan and open a page."""
    with st.container(horizontal=True):
        opened = st.button(
            _("Open in Explore"),
            type="primary",
            key="search_open",
            icon=":material/grid_view:",
            help=HELP["search_open"],
        )
        tuned = st.button(
            _("Fine-tune it"),
            key="search_tune",
            icon=":material/model_training:",
            help=HELP["search_tune"],
        )
    if opened or tuned:
        state.set_plan(plan_of(run, candidate.ratios, plan))
        state.go_to("explore" if opened else "finetune")
        st.rerun()

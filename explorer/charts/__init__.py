"""Plotly figures from arrays and core events. `alt(figure)` says in a sentence what one shows."""

from explorer.charts.comparison import class_change, comparison_bars, sensitivity_slice
from explorer.charts.curves import preview_curves, sensitivity_curves
from explorer.charts.distributions import weight_histograms
from explorer.charts.flows import WEIGHT_STATES, mask_over_time, mask_update_chart, weight_states
from explorer.charts.methods import tradeoff
from explorer.charts.storage import storage_bars
from explorer.charts.style import alt, robust_limit
from explorer.charts.training import training_curves
from explorer.charts.units import unit_bars
from explorer.charts.widths import width_bars

__all__ = [
    "WEIGHT_STATES",
    "alt",
    "class_change",
    "comparison_bars",
    "mask_over_time",
    "mask_update_chart",
    "preview_curves",
    "robust_limit",
    "sensitivity_curves",
    "sensitivity_slice",
    "storage_bars",
    "tradeoff",
    "training_curves",
    "unit_bars",
    "weight_histograms",
    "weight_states",
    "width_bars",
]

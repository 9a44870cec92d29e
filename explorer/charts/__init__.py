"""Pure drawing: arrays and core events in, Plotly figures out. `alt(figure)` is the sentence for
those who cannot see it.
"""

from explorer.charts.comparison import class_change, comparison_bars, sensitivity_slice
from explorer.charts.curves import preview_curves, sensitivity_curves
from explorer.charts.distributions import score_histogram, weight_histograms
from explorer.charts.flows import FATES, fates, mask_over_time, moments_chart
from explorer.charts.methods import tradeoff
from explorer.charts.style import alt, robust_limit
from explorer.charts.training import training_curves
from explorer.charts.units import unit_bars

__all__ = [
    "FATES",
    "alt",
    "class_change",
    "comparison_bars",
    "fates",
    "mask_over_time",
    "moments_chart",
    "preview_curves",
    "robust_limit",
    "score_histogram",
    "sensitivity_curves",
    "sensitivity_slice",
    "tradeoff",
    "training_curves",
    "unit_bars",
    "weight_histograms",
]

"""The mask lab: one layer's weights, group scores and mask on a canvas.

The browser computes the mask on every frame of a drag. It keeps the chosen pictures and the zoom
while other pages are shown.

    view = lab_view(layer, weight, scores, g)  # slow for large layers: cache it
    detail = LabDetail(layer, weight, scores, g)  # copies nothing; used where the view is reduced
    result = mask_lab(view, ratio=0.5, edits=(), key="lab", on_report=..., detail=detail)

One element receives the layer's bytes, which Streamlit sends once while they stay the same; another
element draws. Python receives a report when the slider is released, and for an edit, undo and redo;
not during a drag. For a reduced layer, a third element, a fragment of its own, requests the weights
of the visible part: `LabDetail.window` answers, and nothing else runs.
"""

from explorer.components.mask_lab.component import Edit, Result, mask_lab, source
from explorer.components.mask_lab.view import MAX_CELLS, LabView, lab_view
from explorer.components.mask_lab.window import LabDetail, LabWindow, Window, lab_window

__all__ = [
    "MAX_CELLS",
    "Edit",
    "LabDetail",
    "LabView",
    "LabWindow",
    "Result",
    "Window",
    "lab_view",
    "lab_window",
    "mask_lab",
    "source",
]

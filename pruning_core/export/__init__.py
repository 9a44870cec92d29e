"""Files of an export: masks, weights, report, script and zip archive, one writer per file."""

from pruning_core.export.archive import zip_archive
from pruning_core.export.load_script import script_or_reason, script_text
from pruning_core.export.masks import (
    MASK_FORMATS,
    masks_by_parameter,
    masks_npz,
    masks_pt,
    masks_safetensors,
)
from pruning_core.export.named_lines import DENSE
from pruning_core.export.report import evaluation_dict, evaluations_by_state, report_dict
from pruning_core.export.task_lines import value_line
from pruning_core.export.weights import weights_safetensors

__all__ = [
    "DENSE",
    "MASK_FORMATS",
    "evaluation_dict",
    "evaluations_by_state",
    "masks_by_parameter",
    "masks_npz",
    "masks_pt",
    "masks_safetensors",
    "report_dict",
    "script_or_reason",
    "script_text",
    "value_line",
    "weights_safetensors",
    "zip_archive",
]

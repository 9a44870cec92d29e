"""Studies: several methods at several compressions and seeds, on equal terms, each finished run kept on disk."""

from pruning_core.runs.conduct import Begun, Event, Failed, Measured, study
from pruning_core.runs.measuring import Accuracy, Result, measuring
from pruning_core.runs.store import fingerprint, folder_of, kept, known, results, saved, studies_root
from pruning_core.runs.study import BASELINES, COMPRESSIONS, Run, Study, plan_of, refused, wanted
from pruning_core.runs.table import HEAD, Row, summary, to_csv, to_text, told

__all__ = [
    "BASELINES",
    "COMPRESSIONS",
    "HEAD",
    "Accuracy",
    "Begun",
    "Event",
    "Failed",
    "Measured",
    "Result",
    "Row",
    "Run",
    "Study",
    "fingerprint",
    "folder_of",
    "kept",
    "known",
    "measuring",
    "plan_of",
    "refused",
    "results",
    "saved",
    "studies_root",
    "study",
    "summary",
    "to_csv",
    "to_text",
    "told",
    "wanted",
]

"""Studies: several methods at several compressions and seeds, on equal terms, each finished run
kept on disk.
"""

from pruning_core.studies.run import Accuracy, Result, run_events
from pruning_core.studies.runner import Event, RunFailed, RunFinished, RunStarted, study
from pruning_core.studies.store import (
    fingerprint,
    folder_of,
    kept,
    known,
    results,
    saved,
    studies_root,
)
from pruning_core.studies.study import BASELINES, COMPRESSIONS, Run, Study, plan_of, refused, wanted
from pruning_core.studies.table import HEAD, Row, event_line, summary, to_csv, to_text

__all__ = [
    "BASELINES",
    "COMPRESSIONS",
    "HEAD",
    "Accuracy",
    "Event",
    "Result",
    "Row",
    "Run",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "Study",
    "event_line",
    "fingerprint",
    "folder_of",
    "kept",
    "known",
    "plan_of",
    "refused",
    "results",
    "run_events",
    "saved",
    "studies_root",
    "study",
    "summary",
    "to_csv",
    "to_text",
    "wanted",
]

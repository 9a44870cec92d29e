"""The history: every run that is kept, found again after a restart, compared and replayed."""

from pruning_core.history.database import HistoryFailed
from pruning_core.history.history import VARIABLE, History, history_root
from pruning_core.history.recording import Keeping, kept_run, kept_search, kept_study
from pruning_core.history.records import evaluated_plan
from pruning_core.history.run import KINDS, Run, Value

__all__ = [
    "KINDS",
    "VARIABLE",
    "History",
    "HistoryFailed",
    "Keeping",
    "Run",
    "Value",
    "evaluated_plan",
    "history_root",
    "kept_run",
    "kept_search",
    "kept_study",
]

"""The history: every run that is kept, found again after a restart, compared and replayed."""

from pruning_core.history.archive import import_zip, to_zip
from pruning_core.history.database import HistoryFailed
from pruning_core.history.history import VARIABLE, History, history_root
from pruning_core.history.recording import Keeping, kept_run, kept_scan, kept_search, kept_study
from pruning_core.history.records import evaluated_plan, scan_record
from pruning_core.history.replay import Replayed, replay
from pruning_core.history.run import KINDS, Run, Value
from pruning_core.history.tables import to_csv, tree_order
from pruning_core.history.tensorboard import event_files

__all__ = [
    "KINDS",
    "VARIABLE",
    "History",
    "HistoryFailed",
    "Keeping",
    "Replayed",
    "Run",
    "Value",
    "evaluated_plan",
    "event_files",
    "history_root",
    "import_zip",
    "kept_run",
    "kept_scan",
    "kept_search",
    "kept_study",
    "replay",
    "scan_record",
    "to_csv",
    "to_zip",
    "tree_order",
]

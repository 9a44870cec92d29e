"""The history: every run that is kept, found again after a restart, compared and replayed."""

from pruning_core.history.database import HistoryFailed
from pruning_core.history.history import VARIABLE, History, history_root
from pruning_core.history.run import KINDS, Run, Value

__all__ = ["KINDS", "VARIABLE", "History", "HistoryFailed", "Run", "Value", "history_root"]

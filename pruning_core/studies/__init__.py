"""Studies compare several methods at several compressions and seeds; finished runs are saved."""

from pruning_core.studies.best import Best, Lead, best_method
from pruning_core.studies.run import Measurement, Result, run_events
from pruning_core.studies.runner import Event, RunFailed, RunFinished, RunStarted, run_study
from pruning_core.studies.sharing import RunElsewhere
from pruning_core.studies.store import (
    count_saved_runs,
    fingerprint,
    load_result,
    load_results,
    saved_studies,
    studies_root,
    study_folder,
)
from pruning_core.studies.study import (
    BASELINES,
    COMPRESSIONS,
    Run,
    Study,
    run_plan,
    runnable_runs,
    unsupported_methods,
)
from pruning_core.studies.table import COLUMNS, Row, event_line, row_dict, summary, to_csv, to_text

__all__ = [
    "BASELINES",
    "COLUMNS",
    "COMPRESSIONS",
    "Best",
    "Event",
    "Lead",
    "Measurement",
    "Result",
    "Row",
    "Run",
    "RunElsewhere",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "Study",
    "best_method",
    "count_saved_runs",
    "event_line",
    "fingerprint",
    "load_result",
    "load_results",
    "row_dict",
    "run_events",
    "run_plan",
    "run_study",
    "runnable_runs",
    "saved_studies",
    "studies_root",
    "study_folder",
    "summary",
    "to_csv",
    "to_text",
    "unsupported_methods",
]

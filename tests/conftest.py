"""Shapes are checked at run time over the whole suite: jaxtyping and beartype wrap every module of
the core.
"""

import gc
import os
import sys
from collections.abc import Iterator
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # for PyTorch here and in scripts, whatever the machine
os.environ["PRUNING_EXPLORER_THREADS"] = "1"  # for jobs, commands and servers
os.environ["PRUNING_EXPLORER_JOB_PROCESSES"] = "0"  # a worker process takes 2 seconds to start
os.environ["PRUNING_EXPLORER_HISTORY"] = "off"  # tests of the history name a folder of their own
# Memory that a tensor gives back stays with the process: to ask the system again for each large
# tensor takes a third of the time that the suite spends in the system. Bytes.
os.environ["MALLOC_TRIM_THRESHOLD_"] = str(2**30)
os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**29)
os.environ["MALLOC_TOP_PAD_"] = str(2**25)
# Where no bytecode is written, every process compiles all modules again: 6 seconds for each worker
# of the suite, 2 for each command and server.
os.environ["PYTHONDONTWRITEBYTECODE"] = ""

import pytest
from _pytest.logging import LogCaptureHandler, caplog_handler_key, catching_logs
from xdist.scheduler import LoadFileScheduling

from tests.typechecks import install

# PyTorch is not imported here: the process that gives out the tests does not need it.
sys.dont_write_bytecode = False
install()

BROWSER = "tests/browser/"
SECOND_BROWSER = ("test_mask_lab", "test_network_map")
"""Beginnings of the names of browser tests that are not in the first of two processes: those of a
component alone, which need another server."""
LONGEST_FIRST = (
    "tests/explorer/test_chinese.py",
    "tests/core/cli/test_thin.py",
    "tests/core/test_invariants.py",
    "tests/core/export/test_load_script.py",
    "tests/core/flows/test_flows.py",
    "tests/core/compress/test_thin.py",
    "tests/test_wheel.py",
    "tests/explorer/pages/sensitivity/test_page.py",
    "tests/core/cli/test_choices.py",
    "tests/core/evaluation/test_partial_forward.py",
    "tests/explorer/pages/learn/test_learn.py",
    "tests/core/sensitivity/test_grid.py",
    "tests/explorer/pages/explore/test_page.py",
    "tests/explorer/pages/methods/test_page.py",
    "tests/explorer/pages/finetune/test_page.py",
    "tests/core/sensitivity/test_preview.py",
    "tests/core/subjects/test_third_party.py",
    "tests/core/search/test_methods.py",
    "tests/core/sensitivity/test_farthest.py",
)
"""Of the other files, those that begin first, so that all processes end together."""
TOGETHER = {
    "tests/core/cli/test_thin.py": "ONNX",
    "tests/core/compress/test_runtimes.py": "ONNX",
    "tests/core/export/test_thinned.py": "ONNX",
    "tests/explorer/pages/export/test_page.py": "ONNX",
    "tests/explorer/pages/export/test_thinned.py": "ONNX",
    "tests/core/subjects/test_hugging_face.py": "transformers",
    "tests/core/subjects/test_language_models.py": "transformers",
    "tests/core/compress/test_thin.py": "couplings",
    "tests/core/evaluation/test_metrics.py": "couplings",
    "tests/core/model/coupling/test_foreign.py": "couplings",
    "tests/core/model/coupling/test_trace.py": "couplings",
}
"""Files of one process, by what takes it 2 seconds to import or to compute."""


def work_unit(nodeid: str) -> str:
    """One process's work: a file, or some that import the same.

    Browser tests are the work of two processes, because they wait often; the other processes use
    the time.
    """
    file = nodeid.partition("::")[0]
    if not file.startswith(BROWSER):
        return TOGETHER.get(file, file)
    return f"browser {file.removeprefix(BROWSER).startswith(SECOND_BROWSER)}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # pytest-xdist would sort by number of tests
    scheduling: Any = LoadFileScheduling(config, log)
    scheduling._split_scope = work_unit
    return scheduling


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests begin first, then the long files."""

    def place(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0]
        if file.startswith(BROWSER):
            item.add_marker(pytest.mark.browser)
            return -1
        return LONGEST_FIRST.index(file) if file in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=place)


def pytest_collectstart() -> None:
    """Half a million objects are made at collection, and hardly any is garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Garbage is collected rarely, and without what is imported: 0.2 s for each full collection."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.fixture
def caplog(request: pytest.FixtureRequest) -> Iterator[pytest.LogCaptureFixture]:
    """As pytest's own. Its plugin, which is not loaded, looks at all loggers around every test.

    That takes 2 ms for each test.
    """
    handler = request.node.stash[caplog_handler_key] = LogCaptureHandler()
    with catching_logs(handler):
        captured = pytest.LogCaptureFixture(request.node, _ispytest=True)
        yield captured
        captured._finalize()

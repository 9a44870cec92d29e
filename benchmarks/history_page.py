"""The page Runs with 1,000 runs: how long the history and a whole run of the page take.

    python -m benchmarks.history_page

Makes the runs in a temporary folder. The times are of this process, the server's part of a page:
without the browser, which draws only the rows of the table that are visible.
"""

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from streamlit.testing.v1 import AppTest

from pruning_core.history import History, Run, Value
from pruning_core.history.run import TEST
from pruning_core.plan import Plan

RUNS = 1000
REPEATS = 5


def fill(history: History, count: int) -> None:
    """Keeps that many runs of LeNet-5, each made from one of the ten before it."""
    numbers = random.Random(0)
    names: list[str] = []
    for number in range(count):
        share = numbers.uniform(0.05, 0.95)
        plan = replace(Plan(model="lenet5"), sparsity=round(share, 3), seed=number)
        value = Value(1 - share / 2, 0.9 - share / 2, 1.0, 359, 0.5, TEST)
        run = Run(
            numbers.choice(("tune", "flow", "run", "plan")),
            plan.to_json(),
            "f" * 64,
            parent=numbers.choice(names[-10:]) if names and numbers.random() < 0.7 else None,
            values={"dense": Value(0.975, 0.95, 0.987, 359, 0.1, TEST), "tuned": value},
            counts={"parameters": 21386, "nonzeros": round(21386 * (1 - share))},
            kept={f"conv{layer}.weight": 1 - share for layer in range(20)},
            machine={"device": "cpu", "threads": 1, "versions": {"torch": "2"}},
            started=float(number),
        )
        history.save(run, {"masks": run.id.encode()})
        names.append(run.id)


def page() -> None:
    """The page as the app shows it, without the side bar."""
    import streamlit as st

    from explorer.pages.runs import page
    from explorer.session import cache, state
    from pruning_core.plan import Plan

    state.read_address("runs", {"model": ("lenet5",), "dataset": ("digits",)})
    plan = Plan(model="lenet5")
    page.render(plan, cache.workspace(plan.model, plan.dataset))
    st.write("end")


def median(work: Callable[[], object]) -> str:
    """Median of the seconds, by the clock and of the processor, after a first time that fills
    caches.
    """
    work()
    clock = []
    processor = []
    for _ in range(REPEATS):
        began = (time.perf_counter(), time.process_time())
        work()
        clock.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
    return f"{statistics.median(clock):.3f} s ({statistics.median(processor):.3f} s of processor)"


def main() -> None:
    """Prints a line per measurement."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PRUNING_EXPLORER_HISTORY"] = folder
        history = History(Path(folder))
        began = time.perf_counter()
        fill(history, RUNS)
        print(f"keep a run: {(time.perf_counter() - began) / RUNS * 1000:.1f} ms", flush=True)
        print(f"read {RUNS} runs: {median(history.runs)}", flush=True)
        at = AppTest.from_function(page, default_timeout=60)
        print(f"the page with {RUNS} runs: {median(at.run)}", flush=True)
        assert not at.exception


if __name__ == "__main__":
    main()

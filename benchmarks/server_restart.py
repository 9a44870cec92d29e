"""A server that is killed (-9) in the middle of a fine-tune, and started again.

    OMP_NUM_THREADS=1 nice python -m benchmarks.server_restart

A browser's session (WebSocket, with the cookie of a browser) fine-tunes ResNet-20 on digits. The
server is killed when two epochs are kept. On a new server with the same data folder, another
browser must see nothing of the run; the same browser must see it as interrupted, and continues it.
It must end as one run of the history, with the weights of a run that nobody interrupted, bit for
bit, and leave no file of an unfinished run.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from benchmarks.sessions import Answer, Session, served
from explorer.session.owners import COOKIE
from pruning_core.evaluation.thread_pool import configured_kernel_threads
from pruning_core.history import History
from pruning_core.history.tensors import WEIGHTS, unpack_tensors
from pruning_core.pipeline import prune
from pruning_core.types import Finished
from pruning_core.workspaces import open_workspace
from pruning_core.zoo.request import VARIABLE as DATA

ADDRESS = "model=resnet20&dataset=digits&sparsity=0.7&fine_tune=epochs~30"
PAGE = "finetune"
KEPT = 2
SECONDS = 600.0
WORDS = re.compile(r"Fine-tuning was interrupted after epoch \d+ of \d+")
CONTINUE = re.compile(r'id: "([^"]+)"\s+label: "Continue"')


def connected(port: int, browser: str) -> connect:
    """A connection of that browser: 32 hexadecimal digits."""
    return connect(
        f"ws://127.0.0.1:{port}/_stcore/stream",
        subprotocols=[Subprotocol("streamlit")],
        max_size=None,
        additional_headers={"Cookie": f"{COOKIE}=2|00000000|{browser}|1700000000"},
    )


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the run did not come so far")
        await asyncio.sleep(0.2)


def kept(data: Path) -> int:
    """How many epochs of the run are kept."""
    return max((int(path.read_text()) for path in (data / "jobs").glob("*/done")), default=0)


async def begin(port: int, data: Path) -> None:
    """Fine-tunes until some epochs are kept."""
    async with connected(port, "a" * 32) as connection:
        page = Session(connection, ADDRESS, PAGE)
        await page.press((await page.open()).start)
        await until(lambda: kept(data) >= KEPT)


async def go_on(port: int, data: Path) -> str:
    """Continues the run to its end: what the page said about it before."""
    async with connected(port, "b" * 32) as connection:
        assert not found(WORDS, await Session(connection, ADDRESS, PAGE).open())
    async with connected(port, "a" * 32) as connection:
        page = Session(connection, ADDRESS, PAGE)
        opened = await page.open()
        await page.press(found(CONTINUE, opened))
        await until(lambda: not list((data / "jobs").iterdir()))
        return found(WORDS, opened)


def found(pattern: re.Pattern[str], answer: Answer) -> str:
    """What the pattern finds on the page; "" for nothing."""
    matches = (pattern.search(words) for words in answer.words)
    return next((match[match.lastindex or 0] for match in matches if match), "")


def main() -> None:
    data = Path(tempfile.mkdtemp())
    folder = data / "history"
    os.environ[DATA] = str(data)
    try:
        with served(str(folder)) as (port, process):
            asyncio.run(begin(port, data))
            os.kill(process, signal.SIGKILL)
            epochs = kept(data)
        (run,) = History(folder).runs()
        figures = {"state_after_the_kill": run.state, "epochs_kept": epochs}
        start = time.monotonic()
        with served(str(folder)) as (port, _process):
            figures["the_page_says"] = asyncio.run(go_on(port, data))
        history = History(folder)
        (again,) = history.runs()
        weights = unpack_tensors(history.file(again, WEIGHTS) or b"")
        with configured_kernel_threads():
            plan = again.read_plan()
            *_, whole = prune(plan, open_workspace(plan.model, plan.dataset))
        assert isinstance(whole, Finished)
        same = all(torch.equal(weights[n], t) for n, t in whole.model.state_dict().items())
        figures |= {
            "one_run": again.id == run.id,
            "state_at_the_end": again.state,
            "seconds_of_the_rest": round(time.monotonic() - start),
            "weights_equal_bit_for_bit": same,
            "files_left": len(list((data / "jobs").iterdir())),
        }
        print(json.dumps(figures, indent=2))
    finally:
        shutil.rmtree(data)


if __name__ == "__main__":
    main()

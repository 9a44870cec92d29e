"""Many browsers at once: how long a release of the slider takes, errors, cross-talk, memory.

    OMP_NUM_THREADS=1 python -m benchmarks.sessions --sessions 25 --seconds 180

Starts the app, and connects to it as browsers do (WebSocket, Streamlit's messages). Every session
opens LeNet-5 on digits, and moves the slider *Sparsity* to a new value again and again, with a
pause of `--pause` seconds on average (uniform between half and one and a half times as much). A
release lasts until the script of the page is finished. Each answer must show the percentage that
this session asked for. First one session alone, then all of them; opening is not counted.

With `--training NETWORK` another session fine-tunes that network meanwhile, and looks at its page
every second; before that, one session alone is measured without it. Where runs compute is the
server's setting: PRUNING_EXPLORER_JOB_PROCESSES=0 for threads of the server.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

HISTORY = "PRUNING_EXPLORER_HISTORY"
QUERY = "model=lenet5&dataset=digits"
SLIDER = "Sparsity"
START = "Start"
TRAINING = "&dataset=digits&fine_tune=epochs~5000"
STEP = " · step "
"""In what the page says of a training that has begun."""
ANSWER_SECONDS = 120.0
ALONE_SECONDS = 30.0
SHARE_SECONDS = 10.0


@dataclass
class Seen:
    """What one session measured. seconds: of each release; wrong: answers without its value."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass
class Answer:
    """The messages of one run of the page, as far as they are needed."""

    slider: str = ""
    start: str = ""
    fragment: str = ""
    words: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Session:
    """A browser's connection to the app."""

    def __init__(self, connection: ClientConnection, address: str = QUERY, page: str = "") -> None:
        self._connection = connection
        self.slider = ""
        self._address = address
        self._page = page

    async def open(self) -> Answer:
        """Opens the page and remembers its slider."""
        await self._send(self._rerun())
        answer = await self._answer()
        self.slider = answer.slider
        return answer

    async def move(self, percent: int) -> tuple[float, Answer]:
        """Releases the slider at that value: the seconds, and what the page shows then."""
        message = self._rerun()
        state = message.rerun_script.widget_states.widgets.add()
        state.id = self.slider
        state.double_array_value.data.append(percent)
        start = time.perf_counter()
        await self._send(message)
        answer = await self._answer()
        return time.perf_counter() - start, answer

    async def press(self, button: str) -> Answer:
        """Presses a button: what the page shows then."""
        message = self._rerun()
        state = message.rerun_script.widget_states.widgets.add()
        state.id = button
        state.trigger_value = True
        await self._send(message)
        return await self._answer()

    async def refresh(self, fragment: str) -> Answer:
        """Runs a part of the page again, as the page's timer does."""
        message = self._rerun()
        message.rerun_script.fragment_id = fragment
        message.rerun_script.is_auto_rerun = True
        await self._send(message)
        return await self._answer()

    def _rerun(self) -> BackMsg:
        message = BackMsg()
        message.rerun_script.query_string = self._address
        message.rerun_script.page_name = self._page
        return message

    async def _send(self, message: BackMsg) -> None:
        await self._connection.send(message.SerializeToString())

    async def _answer(self) -> Answer:
        answer = Answer()
        while True:
            content = await asyncio.wait_for(self._connection.recv(decode=False), ANSWER_SECONDS)
            message = ForwardMsg.FromString(content)
            kind = message.WhichOneof("type")
            if kind == "script_finished" and not _runs_again(message):
                return answer
            if kind == "page_info_changed":  # the app writes the plan into the address
                self._address = message.page_info_changed.query_string
            elif kind == "auto_rerun":
                answer.fragment = message.auto_rerun.fragment_id
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                _read(message.delta.new_element, answer)


def _runs_again(finished: ForwardMsg) -> bool:
    """Has the script ended only to run again at once?"""
    return finished.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN


def _read(element: Element, answer: Answer) -> None:
    kind = element.WhichOneof("type")
    content = getattr(element, str(kind))
    if kind == "slider" and content.label == SLIDER:
        answer.slider = content.id
    elif kind == "button" and content.label == START:
        answer.start = content.id
    elif kind == "exception":
        answer.failures.append(content.message)
    else:
        answer.words.append(str(content))


@contextmanager
def served(history: str = "off") -> Iterator[tuple[int, int]]:
    """The app on a free port of this machine: the port, and the id of its process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, HISTORY: history}
        )
        try:
            while not _healthy(port):
                time.sleep(0.2)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait()


def _healthy(port: int) -> bool:
    try:
        address = f"http://127.0.0.1:{port}/_stcore/health"
        return bool(urllib.request.urlopen(address, timeout=2).read() == b"ok")
    except OSError:
        return False


def megabytes(process: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _connected(port: int) -> connect:
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    return connect(address, subprotocols=[Subprotocol("streamlit")], max_size=None)


def processor_seconds(process: int) -> float:
    """Processor time of a process since its start."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _use(
    port: int, number: int, opened: asyncio.Barrier, seconds: float, pause: float, seen: Seen
) -> None:
    """One session: opens the page, waits until all have, and moves the slider for those seconds."""
    chance = random.Random(number)
    try:
        async with _connected(port) as connection:
            session = Session(connection)
            await session.open()
            await opened.wait()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await asyncio.sleep(pause * chance.uniform(0.5, 1.5))
                percent = chance.randrange(1, 99)
                seconds, answer = await session.move(percent)
                seen.seconds.append(seconds)
                seen.errors.extend(answer.failures)
                seen.wrong += not any(f"requested {percent}%" in words for words in answer.words)
    except (OSError, TimeoutError) as error:
        seen.errors.append(f"{type(error).__name__}: {error}")


async def _train(port: int, network: str, running: asyncio.Event) -> None:
    """A session that fine-tunes, and looks at the run every second, until it is cancelled."""
    address = f"model={network}{TRAINING}"
    async with _connected(port) as connection:
        session = Session(connection, address, "finetune")
        opened = await session.open()
        answer = await session.press(opened.start)
        fragment = answer.fragment
        while True:
            if any(STEP in words for words in answer.words):
                running.set()
            await asyncio.sleep(1)
            answer = await session.refresh(fragment)


@asynccontextmanager
async def training(port: int, network: str) -> AsyncIterator[None]:
    """A context in which one fine-tune runs."""
    running = asyncio.Event()
    trainer = asyncio.create_task(_train(port, network, running))
    try:
        started = asyncio.create_task(running.wait())
        await asyncio.wait((started, trainer), return_when=asyncio.FIRST_COMPLETED)
        yield
        if trainer.done():
            raise RuntimeError(f"The training ended: {trainer.exception()}")
    finally:
        trainer.cancel()


async def together(port: int, sessions: int, seconds: float, pause: float) -> Seen:
    """That many sessions at once: everything that they measured."""
    each = [Seen() for _ in range(sessions)]
    opened = asyncio.Barrier(sessions)
    users = (_use(port, n, opened, seconds, pause, seen) for n, seen in enumerate(each))
    await asyncio.gather(*users)
    return Seen(
        [value for seen in each for value in seen.seconds],
        sum(seen.wrong for seen in each),
        [error for seen in each for error in seen.errors],
    )


def figures(seen: Seen) -> dict[str, float | int]:
    """Median and 95th percentile of the seconds, and the numbers of releases and faults."""
    middle, high = np.percentile(seen.seconds, [50, 95]) if seen.seconds else (np.nan, np.nan)
    return {
        "releases": len(seen.seconds),
        "median_seconds": round(float(middle), 3),
        "p95_seconds": round(float(high), 3),
        "wrong_answers": seen.wrong,
        "errors": len(seen.errors),
    }


async def measure(options: argparse.Namespace, port: int, process: int) -> dict[str, object]:
    """All figures."""
    one = figures(await together(port, 1, ALONE_SECONDS, options.pause))
    async with training(port, options.training) if options.training else nullcontext():
        start = processor_seconds(process)
        await asyncio.sleep(SHARE_SECONDS)
        share = (processor_seconds(process) - start) / SHARE_SECONDS
        beside = options.training and await together(port, 1, ALONE_SECONDS, options.pause)
        before = megabytes(process)
        busy = await together(port, options.sessions, options.seconds, options.pause)
        during = megabytes(process)
    await asyncio.sleep(options.after)
    many = figures(busy)
    return {
        "cores_of_the_server_without_moves": round(share, 3),
        "alone": one,
        "alone_beside_a_training": figures(beside) if beside else None,
        "together": many,
        "p95_ratio": round(many["p95_seconds"] / one["p95_seconds"], 2),
        "first_errors": busy.errors[:3],
        "megabytes_before": round(before),
        "megabytes_per_session": round((during - before) / options.sessions, 1),
        "megabytes_after": round(megabytes(process)),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between two releases")
    parser.add_argument("--training", metavar="NETWORK", help="fine-tune it meanwhile")
    parser.add_argument("--after", type=float, default=90.0, help="seconds until memory is read")
    options = parser.parse_args()
    with served() as (port, process):
        print(json.dumps(asyncio.run(measure(options, port, process)), indent=2))


if __name__ == "__main__":
    main()

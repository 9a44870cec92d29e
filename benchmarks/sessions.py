"""Many browsers at once: how long a release of the slider takes, errors, cross-talk, memory.

    OMP_NUM_THREADS=1 python -m benchmarks.sessions --sessions 25 --seconds 180

Starts the app, and connects to it as browsers do (WebSocket, Streamlit's messages). Every session
opens LeNet-5 on digits, and moves the slider *Sparsity* to a new value again and again, with a
pause of `--pause` seconds on average (uniform between half and one and a half times as much). A
release lasts until the script of the page is finished. Each answer must show the percentage that
this session asked for. First one session alone, then all of them; opening is not counted.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

QUERY = "model=lenet5&dataset=digits"
SLIDER = "Sparsity"
ANSWER_SECONDS = 120.0
ALONE_SECONDS = 30.0


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
    words: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Session:
    """A browser's connection to the app."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.slider = ""
        self._address = QUERY

    async def open(self) -> None:
        """Opens the page and remembers its slider."""
        message = BackMsg()
        message.rerun_script.query_string = self._address
        await self._send(message)
        answer = await self._answer()
        self.slider = answer.slider

    async def move(self, percent: int) -> tuple[float, Answer]:
        """Releases the slider at that value: the seconds, and what the page shows then."""
        message = BackMsg()
        message.rerun_script.query_string = self._address
        state = message.rerun_script.widget_states.widgets.add()
        state.id = self.slider
        state.double_array_value.data.append(percent)
        start = time.perf_counter()
        await self._send(message)
        answer = await self._answer()
        return time.perf_counter() - start, answer

    async def _send(self, message: BackMsg) -> None:
        await self._connection.send(message.SerializeToString())

    async def _answer(self) -> Answer:
        answer = Answer()
        while True:
            content = await asyncio.wait_for(self._connection.recv(decode=False), ANSWER_SECONDS)
            message = ForwardMsg.FromString(content)
            kind = message.WhichOneof("type")
            if kind == "script_finished":
                return answer
            if kind == "page_info_changed":  # the app writes the plan into the address
                self._address = message.page_info_changed.query_string
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                _read(message.delta.new_element, answer)


def _read(element: Element, answer: Answer) -> None:
    kind = element.WhichOneof("type")
    content = getattr(element, str(kind))
    if kind == "slider" and content.label == SLIDER:
        answer.slider = content.id
    elif kind == "exception":
        answer.failures.append(content.message)
    else:
        answer.words.append(str(content))


@contextmanager
def served() -> Iterator[tuple[int, int]]:
    """The app on a free port of this machine: the port, and the id of its process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "PRUNING_EXPLORER_HISTORY": "off"}
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


async def _use(
    port: int, number: int, opened: asyncio.Barrier, seconds: float, pause: float, seen: Seen
) -> None:
    """One session: opens the page, waits until all have, and moves the slider for those seconds."""
    chance = random.Random(number)
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    protocols = [Subprotocol("streamlit")]
    try:
        async with connect(address, subprotocols=protocols, max_size=None) as connection:
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
    alone = await together(port, 1, ALONE_SECONDS, options.pause)
    before = megabytes(process)
    busy = await together(port, options.sessions, options.seconds, options.pause)
    during = megabytes(process)
    await asyncio.sleep(options.after)
    one = figures(alone)
    many = figures(busy)
    return {
        "alone": one,
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
    parser.add_argument("--after", type=float, default=90.0, help="seconds until memory is read")
    options = parser.parse_args()
    with served() as (port, process):
        print(json.dumps(asyncio.run(measure(options, port, process)), indent=2))


if __name__ == "__main__":
    main()

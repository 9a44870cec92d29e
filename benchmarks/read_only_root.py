"""The installed app with a read-only root, as a container runs it; then a demonstration.

    nice python -m benchmarks.read_only_root

Needs Linux and the rights of root. Builds the wheel, and serves it as user 10001 where everything
but the data folder and an empty /tmp is read-only. A browser's session opens LeNet-5 on digits and
fine-tunes it to the end. Then the same with `--demo`: no byte of the data folder may change. Last,
20 sessions open at once on a server for 5. Every line of the servers' logs must be JSON.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from benchmarks.sessions import QUERY, Session
from explorer.session.admission import MANY

ROOT = Path(__file__).resolve().parents[1]
USER = "10001"
SECONDS = 120.0
CROWD = 20
PLACES = 5
MOUNTS = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t tmpfs tmpfs /tmp
for place in $(findmnt -rn -o TARGET); do
    case $place in "$1"|/tmp|/proc*|/sys*|/dev*) ;; *) mount -o remount,ro,bind "$place";; esac
done
if touch "$2/written" 2> /dev/null; then echo "the root can be written"; exit 1; fi
shift 2
exec setpriv --reuid "$0" --regid "$0" --clear-groups --inh-caps +dac_read_search \
    --ambient-caps +dac_read_search "$@"
"""
"""A shell program: user as $0, data folder, the folder with the wheel's files, command."""


def unpacked_wheel(folder: Path) -> Path:
    """The wheel of this repository, unpacked."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        *options,
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@contextmanager
def served(site: Path, data: Path, *flags: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The app on a free port, with a read-only root: the port and the process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    program = "import sys; from explorer.launch import main; sys.exit(main())"
    server = [sys.executable, "-c", program, "--port", str(port), "--log-format", "json", *flags]
    values = {"HOME": "/tmp", "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    values |= {"PATH": os.environ["PATH"], "PRUNING_EXPLORER_DATA": str(data)}
    command = ["unshare", "--mount", "sh", "-c", MOUNTS, USER, str(data), str(site), *server]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=site, env=values, stderr=log)
        try:
            until(lambda: "resident" in metrics(port), process)
            yield port, process
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        for line in log.read().decode().splitlines():
            json.loads(line)


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Waits until the condition is true. Raises TimeoutError, and where the process ended."""
    end = time.monotonic() + SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise TimeoutError(f"the server did not answer (exit status {process.poll()})")
        time.sleep(0.2)


def metrics(port: int) -> str:
    """The server's metrics; empty while it does not answer."""
    try:
        address = f"http://127.0.0.1:{port}/metrics"
        return str(urllib.request.urlopen(address, timeout=5).read().decode())
    except OSError:
        return ""


def connected(port: int) -> connect:
    """A browser's connection to the app."""
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    return connect(address, subprotocols=[Subprotocol("streamlit")], max_size=None)


async def crowd(port: int) -> int:
    """Sessions that open at once: how many see the app. The others must see why they do not."""
    everybody = asyncio.Barrier(CROWD)

    async def visit() -> bool:
        async with connected(port) as connection:
            answer = await Session(connection).open()
            await everybody.wait()
            assert bool(answer.slider) != any(MANY in words for words in answer.words)
            return bool(answer.slider)

    return sum(await asyncio.gather(*(visit() for _ in range(CROWD))))


async def fine_tune(port: int, process: subprocess.Popen[bytes]) -> None:
    """A session that opens both pages and fine-tunes to the end."""
    async with connected(port) as connection:
        assert not (await Session(connection).open()).failures
        page = Session(connection, f"{QUERY}&sparsity=0.8", "finetune")
        opened = await page.open()
        assert not (await page.press(opened.start)).failures
        done = 'jobs_ended_total{kind="train",status="done"} 1'
        await asyncio.to_thread(until, lambda: done in metrics(port), process)


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def visit(site: Path, data: Path, *flags: str) -> dict[str, object]:
    """The figures of one server."""
    began = time.monotonic()
    with served(site, data, *flags) as (port, process):
        start = time.monotonic() - began
        asyncio.run(fine_tune(port, process))
        memory = re.search(r"^pruning_explorer_resident_memory_bytes (\d+)", metrics(port), re.M)
        assert memory is not None
        ended = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
        return {
            "seconds_to_start": round(start, 1),
            "megabytes": round(int(memory[1]) / 1e6),
            "seconds_to_stop": round(time.monotonic() - ended, 1),
            "exit_status": process.returncode,
            "files": len(contents(data)),
        }


def main() -> None:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        site = unpacked_wheel(folder)
        data = folder / "data"
        data.mkdir()
        os.chown(data, int(USER), int(USER))
        folder.chmod(0o755)
        figures: dict[str, object] = {"read_only_root": visit(site, data)}
        before = contents(data)
        figures["demonstration"] = visit(site, data, "--demo")
        figures["changed_by_the_demonstration"] = contents(data) != before
        with served(site, data, "--sessions", str(PLACES)) as (port, _process):
            figures[f"open_of_{CROWD}_with_{PLACES}_places"] = asyncio.run(crowd(port))
        print(json.dumps(figures, indent=2))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

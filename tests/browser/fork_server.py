"""A process that imports the large libraries once, and forks a Streamlit server for each request:
a server of its own costs 5 seconds of imports.

It reads lines of JSON. {"script", "port", "log", "environment"} starts a server; the answer is its
process id. {"alive": id} and {"kill": id} ask for one and end it. All end with the input.
"""

import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

# What the app imports, but nothing of its own: each server runs that itself, as a new process does.
LIBRARIES = (
    "pandas",
    "plotly.graph_objects",
    "plotly.subplots",
    "pyarrow",
    "safetensors.torch",
    "scipy.optimize",
    "sklearn.datasets",
    "streamlit.web.bootstrap",
    "streamlit.web.cli",
    "torch.export",
    "torch.utils.flop_counter",
    "torch_pruning",
)
COMMAND = [sys.executable, "-m", "tests.browser.fork_server"]


class ForkServer:
    """The process, from the side of the tests."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            COMMAND, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, script: str, port: int, log: Path) -> int:
        """Starts a server with this process's environment. Returns its process id."""
        request = {"script": script, "port": port, "log": str(log)}
        return self._answer(request | {"environment": dict(os.environ)})

    def alive(self, server: int) -> bool:
        return self._answer({"alive": server}) == 1

    def kill(self, server: int) -> None:
        """Ends a server at once, and waits until it has ended."""
        self._answer({"kill": server})

    def close(self) -> None:
        self._process.communicate()

    def _answer(self, request: dict[str, Any]) -> int:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def serve(script: str, port: int, log: str, environment: dict[str, str]) -> None:
    """Becomes a Streamlit server; does not return."""
    random.seed()
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["streamlit", "run", script, "--server.port", str(port)]
    for target, path, mode in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_CREAT)):
        file = os.open(path, mode)
        os.dup2(file, target)
    os.dup2(1, 2)
    from streamlit.web import cli

    cli.main(prog_name="streamlit")


def alive(server: int) -> bool:
    """Whether a server runs. One that has ended is left for `kill` to wait for."""
    return os.waitid(os.P_PID, server, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def kill(server: int) -> None:
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)


def answer(request: dict[str, Any], servers: set[int]) -> int:
    """Does what the request asks for; in a forked server it does not return."""
    if "alive" in request:
        return int(alive(request["alive"]))
    if "kill" in request:
        servers.remove(request["kill"])
        kill(request["kill"])
        return 0
    server = os.fork()
    if not server:
        serve(**request)
    servers.add(server)
    return server


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # these objects stay: the servers neither search nor copy them
    servers: set[int] = set()
    for line in sys.stdin:
        sys.stdout.write(f"{answer(json.loads(line), servers)}\n")
        sys.stdout.flush()
    for server in servers:
        kill(server)


if __name__ == "__main__":
    main()

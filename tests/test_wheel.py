"""The wheel, installed into an environment of its own and used from another folder, as a user has
it.

The environment sees the packages of this one, so that nothing is downloaded; the project itself
comes from the wheel only.
"""

import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.error
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from pruning_core import __version__
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60
SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def run(*command: str | Path, cwd: Path, rc: int = 0) -> subprocess.CompletedProcess[str]:
    """The finished command; its output is shown where its exit status is another one."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "STREAMLIT_"))
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == rc, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the function that pip calls, in a process of its own."""
    out = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    run(sys.executable, "-c", build, out, cwd=ROOT)
    (built,) = out.glob("*.whl")
    return built


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it. folder: where its commands are run, which is not the
    repository.
    """

    environment: Path
    folder: Path

    def command(self, name: str) -> Path:
        return self.environment / SCRIPTS / name


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    here = Installed(tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("elsewhere"))
    venv.create(here.environment, symlinks=os.name != "nt")
    python = here.command("python")
    places = {"base": str(here.environment), "platbase": str(here.environment)}
    purelib = Path(sysconfig.get_path("purelib", "venv", places))
    assert purelib.is_dir()
    (purelib / "this_environment.pth").write_text(
        sysconfig.get_path("purelib") + "\n", encoding="utf-8"
    )
    options = ("--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *options, wheel, cwd=here.folder)
    return here


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return set(filter(None, listed.split("\0")))


def test_the_wheel_holds_every_file_of_both_packages_and_the_script_with_its_settings(
    wheel: Path,
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {
            name.split("/", 1)[1]: archive.read(name)
            for name in archive.namelist()
            if ".dist-info/" in name
        }
        served = {
            name: archive.read(f"explorer/served/{name}")
            for name in ("app.py", ".streamlit/config.toml")
        }
    assert tracked("pruning_core", "explorer") <= names
    assert served == {name: (ROOT / name).read_bytes() for name in served}
    assert metadata["licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert f"\nVersion: {__version__}\n" in metadata["METADATA"].decode()


def test_both_packages_are_imported_from_the_wheel(installed: Installed) -> None:
    code = """
from importlib.util import find_spec

for name in ("explorer", "pruning_core"):
    print(find_spec(name).origin)
"""
    origins = run(installed.command("python"), "-c", code, cwd=installed.folder).stdout.splitlines()
    assert len(origins) == 2
    assert all(Path(path).is_relative_to(installed.environment) for path in origins)


RUN_EACH = """
import runpy
import sys

script = sys.argv[1]
for arguments in ("list --json", "run plan.json --out results"):
    sys.argv = [script, *arguments.split()]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code
"""
"""Runs the installed command twice in one process, which imports the package once."""


def first_line(launcher: Path) -> bytes:
    """It names the Python that runs a command; `served` starts one by it."""
    return launcher.read_bytes().splitlines()[0]


def test_pruning_lists_the_choices_and_runs_a_plan(installed: Installed) -> None:
    (installed.folder / "plan.json").write_text(
        Plan(model="lenet5", sparsity=0.5, fine_tune=TrainConfig(epochs=1)).to_json(),
        encoding="utf-8",
    )
    (installed.folder / "run_each.py").write_text(RUN_EACH, encoding="utf-8")
    launcher = installed.command("pruning")
    assert os.access(launcher, os.X_OK)
    assert first_line(launcher) == first_line(installed.command("pruning-explorer"))
    command = (installed.command("python"), "run_each.py", launcher)
    printed = run(*command, cwd=installed.folder).stdout
    listed = json.JSONDecoder().raw_decode(printed)[0]
    assert {"criterion", "granularity", "model", "dataset"} <= {row["axis"] for row in listed}
    results = installed.folder / "results"
    written = {"plan.json", "report.json", "masks.safetensors", "weights.safetensors"}
    assert written | {"load_masks.py"} == {path.name for path in results.iterdir()}
    report = json.loads((results / "report.json").read_text(encoding="utf-8"))
    assert report["plan"]["model"] == "lenet5"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def read(url: str) -> tuple[str, str]:
    """The media type and the text at that address."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.headers.get_content_type(), answer.read().decode()


def healthy(port: int) -> bool:
    try:
        return read(f"http://127.0.0.1:{port}/_stcore/health")[1] == "ok"
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


@pytest.fixture(scope="module")
def served(installed: Installed) -> Iterator[int]:
    """The port on which the installed `pruning-explorer` serves the app, once it is healthy."""
    port = free_port()
    log = installed.folder / "server.log"
    command: list[str | Path] = [
        installed.command("pruning-explorer"),
        "--port",
        str(port),
        "--data",
        installed.folder / "data",
    ]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=installed.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not healthy(port):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"The app did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait()


def test_pruning_explorer_serves_the_page(served: int, installed: Installed) -> None:
    kind, html = read(f"http://127.0.0.1:{served}/")
    assert kind == "text/html"
    scripts = re.findall(r'<script[^>]+src="\.?/([^"]+)"', html)
    assert scripts
    for script in scripts:
        assert read(f"http://127.0.0.1:{served}/{script}")[0] in {
            "application/javascript",
            "text/javascript",
        }
    assert (installed.folder / "data").is_dir()


def messages(port: int, query: str) -> Iterator[ForwardMsg]:
    """What the app sends to a browser that opens this address, up to the end of the script."""
    with connect(
        f"ws://127.0.0.1:{port}/_stcore/stream",
        subprotocols=[Subprotocol("streamlit")],
        max_size=None,
    ) as browser:
        opened = BackMsg()
        opened.rerun_script.query_string = query
        browser.send(opened.SerializeToString())
        while True:
            message = ForwardMsg.FromString(browser.recv(timeout=START_SECONDS, decode=False))
            yield message
            if message.WhichOneof("type") == "script_finished":
                return


def test_pruning_explorer_runs_the_app_with_the_theme_of_the_settings(served: int) -> None:
    received = list(messages(served, "model=lenet5"))
    (session,) = (message.new_session for message in received if message.HasField("new_session"))
    settings: dict[str, Any] = tomllib.loads(
        (ROOT / ".streamlit/config.toml").read_text(encoding="utf-8")
    )
    theme = session.custom_theme
    assert theme.light.primary_color == settings["theme"]["light"]["primaryColor"]
    assert (
        theme.dark.sidebar.background_color
        == settings["theme"]["dark"]["sidebar"]["backgroundColor"]
    )
    assert received[-1].script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
    elements = [message.delta.new_element for message in received if message.HasField("delta")]
    assert "Pruning Explorer" in {element.heading.body for element in elements}
    assert any(element.WhichOneof("type") == "bidi_component" for element in elements)
    assert not [element.exception.message for element in elements if element.HasField("exception")]

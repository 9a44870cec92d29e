"""The command `pruning-explorer`: what it serves, and one sentence for each wrong argument."""

import os
import runpy
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.web import cli

from explorer import launch
from explorer.logs import VARIABLE as LOG_FORMAT
from explorer.serving import TOKEN
from pruning_core.subjects import VARIABLE as SUBJECTS
from pruning_core.zoo.request import VARIABLE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of each call of `streamlit`, which is replaced: a real server would block."""
    arguments_of_calls: list[list[str]] = []
    monkeypatch.setattr(cli, "main", lambda arguments, **_: arguments_of_calls.append(arguments))
    monkeypatch.setenv(VARIABLE, "as-before")
    return arguments_of_calls


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def flags(arguments: list[str]) -> dict[str, str]:
    return dict(zip(arguments[2::2], arguments[3::2], strict=True))


def test_it_serves_the_repositorys_script_on_this_machine_only(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int
) -> None:
    monkeypatch.chdir(tmp_path)
    assert launch.main(["--port", str(port)]) == 0
    (arguments,) = calls
    assert arguments[:2] == ["run", str(ROOT / "app.py")]
    assert flags(arguments)["--server.address"] == "127.0.0.1"
    assert flags(arguments)["--server.port"] == str(port)
    assert os.environ[VARIABLE] == "as-before"


def test_limits_and_the_log_reach_the_server(
    calls: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    port: int,
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, LOG_FORMAT: "xml"})
    served = ["--port", str(port), "--demo"]
    assert launch.main(served) == 2
    assert capsys.readouterr().err == f"{LOG_FORMAT} is 'xml': set it to text or json.\n"
    assert launch.main([*served, "--log-format", "json", "--epochs", "0"]) == 2
    assert "--epochs (PRUNING_EXPLORER_EPOCHS) is 0" in capsys.readouterr().err
    assert not calls
    assert launch.main([*served, "--log-format", "json"]) == 0
    assert flags(calls[0])["--server.maxUploadSize"] == "0"
    assert (os.environ[LOG_FORMAT], os.environ["PRUNING_EXPLORER_DEMO"]) == ("json", "1")


def test_the_port_is_8501_where_none_is_given() -> None:
    assert launch.parser().parse_args([]).port == "8501"
    assert launch.parser().parse_args([]).host == "127.0.0.1"


def test_subject_files_are_checked_and_set(
    calls: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    port: int,
) -> None:
    monkeypatch.setenv(SUBJECTS, "")
    file = tmp_path / "a.toml"
    file.write_text('[a]\nmodel = "a.b:c"\ndata = "a.b:d"')
    served = ["--port", str(port), "--subject", str(file)]
    assert launch.main([*served, "--subject", str(tmp_path / "none.toml")]) == 2
    assert "none.toml cannot be read" in capsys.readouterr().err
    assert not calls
    assert launch.main(served) == 0
    assert os.environ[SUBJECTS] == str(file)


def test_the_data_folder_is_created_and_set(
    calls: list[list[str]], tmp_path: Path, port: int
) -> None:
    assert launch.main(["--port", str(port), "--data", str(tmp_path / "new" / "data")]) == 0
    assert len(calls) == 1
    assert (tmp_path / "new" / "data").is_dir()
    assert os.environ[VARIABLE] == str(tmp_path / "new" / "data")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another socket uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def refusal(calls: list[list[str]], capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence on standard error. Checks that it is the only output and nothing is served."""
    assert launch.main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert (calls, printed.out) == ([], "")
    (line,) = printed.err.splitlines()
    return line


@pytest.mark.parametrize("text", ["0", "65536", "-1", "80.5", "http", "", "٣", "9" * 500])
def test_a_port_out_of_range_is_refused(
    calls: list[list[str]], capsys: pytest.CaptureFixture[str], text: str
) -> None:
    line = refusal(calls, capsys, f"--port={text}")
    assert line == f"'{text}' is not a port: choose a whole number from 1 to 65535 with --port."


def test_a_port_in_use_is_refused(
    calls: list[list[str]], capsys: pytest.CaptureFixture[str], taken: int
) -> None:
    line = refusal(calls, capsys, "--port", str(taken))
    assert line == f"Port {taken} of 127.0.0.1 is already in use: choose another one with --port."


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "no-such-host.invalid", "2001:db8::1", "a" * 70, "..", "300.1.1.1"]
)
def test_a_host_that_cannot_be_served_on_is_refused(
    calls: list[list[str]], capsys: pytest.CaptureFixture[str], host: str, port: int
) -> None:
    line = refusal(calls, capsys, "--host", host, "--port", str(port))
    assert line.startswith(f"'{host}' is not an address of this machine (")
    assert line.endswith("): choose another one with --host, such as 127.0.0.1.")


def test_an_empty_host_is_refused(
    calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        refusal(calls, capsys, "--host", "")
        == "The host is empty: choose an address with --host, such as 127.0.0.1."
    )


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("file", "{} is a file", ": choose a folder with --data."),
        ("file/below", "The data folder {} cannot be used (", "): choose a folder with --data."),
    ],
)
def test_a_data_folder_that_cannot_be_created_is_refused(
    calls: list[list[str]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    port: int,
    name: str,
    start: str,
    end: str,
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    line = refusal(calls, capsys, "--port", str(port), "--data", str(tmp_path / name))
    assert line.startswith(start.format(tmp_path / name))
    assert line.endswith(end)
    assert os.environ[VARIABLE] == "as-before"


def test_the_names_in_the_host_header_that_are_accepted() -> None:
    local = ("127.0.0.1", "localhost", "::1")
    assert launch.allowed_hosts("127.0.0.1", ()) == local
    assert launch.allowed_hosts("192.168.1.5", ["lab.example"]) == (
        *local,
        "192.168.1.5",
        "lab.example",
    )
    assert launch.allowed_hosts("0.0.0.0", ()) == ("*",)
    assert launch.allowed_hosts("0.0.0.0", ["lab.example"]) == (*local, "lab.example")


def test_a_token_is_set_for_the_pages_and_a_short_one_is_refused(
    calls: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    port: int,
) -> None:
    monkeypatch.setenv(TOKEN, "")
    assert launch.main(["--port", str(port), "--token", "short"]) == 2
    assert "choose at least 8 characters" in capsys.readouterr().err
    monkeypatch.setenv(TOKEN, "1234567")
    assert launch.main(["--port", str(port)]) == 2
    assert "choose at least 8 characters" in capsys.readouterr().err
    assert not calls
    assert launch.main(["--port", str(port), "--token", "long enough"]) == 0
    assert os.environ[TOKEN] == "long enough"


def test_the_module_can_be_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["launch", "--port", "0"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(launch.__file__, run_name="__main__")
    assert ended.value.code == 2
    assert "port" in capsys.readouterr().err

"""What stands before Streamlit: sessions counted, metrics protected, the log, the image."""

import asyncio
import gc
import json
import logging
import os
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from explorer import metrics
from explorer.logs import LOG, VARIABLE, JsonLines, TextLines, log_event, set_up_logs
from explorer.serving import (
    HEALTH,
    TOKEN,
    UNKNOWN_NAME,
    Watched,
    metrics_routes,
    served,
    wait_for_imports,
)
from pruning_core.search.run import searches_root
from pruning_core.studies import studies_root
from pruning_core.zoo.fetch import DOWNLOADS, fetch


async def page(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(metrics.text())
    await socket.close()


def server(client: str) -> TestClient:
    """The routes of the app, for a browser at that address."""
    app = Starlette(routes=[*metrics_routes(), WebSocketRoute("/stream", page)])
    return TestClient(Watched(app), client=(client, 1234), base_url="http://localhost")


def number(name: str) -> float:
    """The metric's number in the text; 0 where it has no line."""
    lines = [line.rpartition(" ") for line in metrics.text().splitlines()]
    return sum(float(value) for key, _, value in lines if key == f"pruning_explorer_{name}")


def test_sessions_are_counted_while_they_are_open() -> None:
    ended = number('jobs_ended_total{kind="train",status="done"}')
    metrics.add("jobs_ended_total", kind="train", status="done")
    opened = number("sessions_opened_total")
    with server("192.0.2.1").websocket_connect("/stream") as socket:
        assert "\npruning_explorer_sessions 1\n" in socket.receive_text()
    assert number("sessions") == 0
    assert number("sessions_opened_total") == opened + 1
    assert number('jobs_ended_total{kind="train",status="done"}') == ended + 1
    assert "\n# TYPE pruning_explorer_sessions gauge\n" in metrics.text()


def test_metrics_are_for_this_machine_or_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "the class of 2026")
    right = {"Authorization": "Bearer the class of 2026"}
    for client, headers, status in (
        ("127.0.0.1", {}, 200),
        ("127.0.0.1", {"Host": "lab.example"}, 403),
        ("192.0.2.1", {}, 403),
        ("192.0.2.1", {"Host": "localhost"}, 403),
        ("192.0.2.1", right, 200),
        ("192.0.2.1", {"Authorization": "Bearer the class of 2025"}, 403),
        ("192.0.2.1", {"Authorization": "Bearer "}, 403),
    ):
        for path in ("/metrics", "/_stcore/metrics"):
            answer = server(client).get(path, headers=headers)
            wanted = 404 if path != "/metrics" and status == 200 else status
            assert answer.status_code == wanted, (client, headers, path)
    monkeypatch.setenv(TOKEN, "")
    assert (
        server("192.0.2.1").get("/metrics", headers={"Authorization": "Bearer "}).status_code == 403
    )


def test_a_foreign_name_gets_one_sentence() -> None:
    """A page of another site that leads its own name to this machine reads nothing here."""
    for name, path, status in (
        ("lab.example", "/", 403),
        ("lab.example", "/static/index.js", 403),
        ("127.0.0.1:80@lab.example", "/", 403),
        ("localhost", "/", 404),  # the routes of this test have no page
        ("127.0.0.1:8501", "/", 404),
        ("lab.example", HEALTH, 404),  # a monitor's address
    ):
        answer = server("127.0.0.1").get(path, headers={"Host": name})
        assert answer.status_code == status, (name, path)
        assert (answer.text == UNKNOWN_NAME) == (status == 403), (name, path)


def record(error: BaseException | None, *values: object) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord(
        "streamlit", logging.ERROR, "a.py", 1, "Cannot read %s", values, exc_info
    )


def test_a_json_line_has_code_lines_and_nothing_of_a_visitor() -> None:
    try:
        try:
            raise ValueError("secret.zip")
        except ValueError as error:
            raise KeyError("secret plan") from error
    except KeyError as error:
        line = JsonLines().format(record(error, "secret.pt"))
    values = json.loads(line)
    assert (values["event"], values["error"], values["level"]) == (
        "Cannot read %s",
        "KeyError",
        "error",
    )
    first, _then, last = values["traceback"]
    assert "test_serving.py:" in first
    assert "test_serving.py:" in last
    assert "secret" not in line
    assert "secret.pt" in TextLines().format(record(None, "secret.pt"))


def test_as_json_other_libraries_write_to_the_same_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = logging.Logger("uvicorn.error")
    other.parent = logging.root
    other.addHandler(logging.StreamHandler())
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root.manager, "loggerDict", {other.name: other, LOG.name: LOG})
    monkeypatch.setenv(VARIABLE, "json")
    set_up_logs()
    other.info("%s connected", "192.0.2.1")
    other.warning("%s is too large", "secret.zip")
    log_event("server started")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line.get("logger")) for line in lines] == [
        ("%s is too large", "uvicorn.error"),
        ("server started", None),
    ]


def test_events_have_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "explorer"):
        log_event("job ended", kind="train", seconds=1.5)
    values = json.loads(JsonLines().format(caplog.records[-1]))
    assert (values["event"], values["kind"], values["seconds"]) == ("job ended", "train", 1.5)
    assert TextLines().format(caplog.records[-1]).endswith("INFO job ended kind=train seconds=1.5")


def test_a_new_server_imports_the_app_without_collecting_garbage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imported = []
    monkeypatch.setattr("explorer.serving.set_up_logs", lambda: None)
    monkeypatch.setattr(
        "explorer.serving.import_module", lambda name: imported.append((name, gc.isenabled()))
    )

    async def start() -> None:
        async with served(None):
            wait_for_imports()

    asyncio.run(start())
    assert imported == [("explorer.app", False)]
    assert gc.isenabled()


def test_a_demonstration_keeps_results_in_a_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "PRUNING_EXPLORER_DEMO": "1"})
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    monkeypatch.setattr("explorer.serving.set_up_logs", lambda: None)
    monkeypatch.setattr("explorer.serving.import_module", lambda name: None)

    async def visit() -> Path:
        async with served(None):
            folder = studies_root().parent
            assert folder.is_dir()
            assert tmp_path not in folder.parents
            assert searches_root().parent == folder
            with pytest.raises(OSError, match="downloads are switched off"):
                fetch("http://192.0.2.1/a", tmp_path / "a", "md5", "00")
        return folder

    assert not asyncio.run(visit()).exists()
    assert os.environ[DOWNLOADS] == "off"
    assert not list(tmp_path.iterdir())

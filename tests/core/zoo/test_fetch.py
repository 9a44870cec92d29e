"""Downloads from a server on this machine."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pruning_core.types import PruningError
from pruning_core.zoo.fetch import fetch


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a file server on this machine."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file.bin").write_bytes(b"x" * 600_000)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, directory=str(tmp_path / "served"), **kwargs)

        def log_message(self, *_: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def content(tmp_path: Path, server: str) -> bytes:
    """The content of file.bin on the server."""
    return (tmp_path / "served" / "file.bin").read_bytes()


def test_a_download_reports_its_progress(server: str, content: bytes, tmp_path: Path) -> None:
    progress: list[tuple[float, str]] = []
    target = tmp_path / "new" / "file.bin"
    digest = hashlib.sha256(content).hexdigest()[:8]
    fetch(f"{server}/file.bin", target, "sha256", digest, lambda *step: progress.append(step))
    assert target.read_bytes() == content
    assert progress[-1] == (1.0, "file.bin")
    fractions = [fraction for fraction, _ in progress]
    assert len(fractions) > 1
    assert fractions == sorted(fractions)


def test_a_complete_file_is_not_downloaded_again(
    server: str, content: bytes, tmp_path: Path
) -> None:
    progress: list[tuple[float, str]] = []
    target = tmp_path / "file.bin"
    target.write_bytes(content)
    digest = hashlib.md5(content).hexdigest()
    fetch(f"{server}/file.bin", target, "md5", digest, lambda *step: progress.append(step))
    assert not progress


def test_an_incomplete_file_is_downloaded_again(
    server: str, content: bytes, tmp_path: Path
) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(content[:100])
    fetch(f"{server}/file.bin", target, "md5", hashlib.md5(content).hexdigest())
    assert target.read_bytes() == content


def test_a_failed_download_leaves_no_file(server: str, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with pytest.raises(PruningError, match="damaged"):
        fetch(f"{server}/file.bin", folder / "file.bin", "md5", "0000")
    with pytest.raises(OSError, match="404"):
        fetch(f"{server}/none", folder / "none", "md5", "")
    assert not list(folder.iterdir())

"""The audit names what does not fit; a test of each of its parts."""

import io
import json
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests import dependency_audit
from tests.dependency_audit import (
    changed_files,
    installed,
    is_permissive,
    licences,
    main,
    pinned,
    vulnerabilities,
)


class Own(Distribution):
    """A package with one file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read_text(self, filename: str) -> str | None:
        return {"METADATA": "Version: 1.5+cpu", "RECORD": "a.py,sha256=abc,3\n"}.get(filename)

    def locate_file(self, path: Any) -> Any:
        return self.folder / path

    @property
    def metadata(self) -> Any:
        told = Message()
        told["Version"] = "1.5+cpu"
        return told


def test_pins_files_and_vulnerabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"torch", "streamlit", "distributed", "ruff"} <= {own.name for own in pinned()}
    wrong = (Requirement("einops==0.0.1"), Requirement("no-such-package==1"))
    assert installed(wrong)[1] == [
        "no-such-package==1 is not installed; the requirements need it.",
        f"einops is {installed(wrong)[0]['einops'].version}; the requirements need einops==0.0.1.",
    ]
    own = {"mine": Own(tmp_path)}
    assert changed_files(own) == ["a.py of mine is not the file that was installed."]
    asked = []

    def answer(request: Any, timeout: float) -> io.BytesIO:
        asked.append(json.loads(request.data)["queries"])
        return io.BytesIO(b'{"results": [{"vulns": [{"id": "GHSA-1"}]}]}')

    with monkeypatch.context() as online:
        online.setattr("urllib.request.urlopen", answer)
        assert vulnerabilities(own) == ["mine 1.5 has known vulnerabilities: GHSA-1."]
    assert asked == [[{"package": {"name": "mine", "ecosystem": "PyPI"}, "version": "1.5"}]]
    monkeypatch.setattr(dependency_audit, "OSV", "http://127.0.0.1:9")
    monkeypatch.setattr(dependency_audit, "pinned", lambda *_: (Requirement("einops"),))
    assert main() == 0
    assert "1 packages: pins, requirements and files compared; known vulnerabilities are NOT" in (
        said := capsys.readouterr().out
    )
    assert said.startswith("Licences of the packages that the app needs:\nMIT License: einops ")


def test_a_licence_that_is_not_permissive_is_named(tmp_path: Path) -> None:
    kinds = {
        "MIT": True,
        "BSD-3-Clause AND (Apache-2.0 OR GPL-3.0-only)": True,
        "MIT AND GPL-3.0-only": False,
        "": False,
    }
    assert {kind: is_permissive(kind) for kind in kinds} == kinds
    own = Own(tmp_path)  # it states no licence
    table, sentences = licences({"mine": own, "nvidia-mine": own})
    assert sentences == ["mine 1.5+cpu has the licence '': look at its terms."]
    assert table[1].startswith("NVIDIA's; ")

"""The help of all commands as Markdown."""

import re

import pytest

from pruning_core.cli.help_page import markdown
from pruning_core.cli.main import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_every_option_of_the_help(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    options = set(re.findall(r"^  (--[\w-]+)", capsys.readouterr().out, re.MULTILINE))
    section = markdown().split(f"\n## pruning {name}\n")[1].split("\n## ")[0]
    assert options
    assert set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE)) == options


def test_the_page_marks_required_arguments() -> None:
    section = markdown().split("\n## pruning run\n")[1].split("\n## ")[0]
    assert "| `PLAN` | required: " in section
    assert "| `--out FOLDER` | required: " in section
    assert "| `--json` | print " in section

"""The quick start's notebook runs from its first to its last cell."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[1]


def test_the_quick_start_runs_and_prints_accuracies() -> None:
    """Its cells have Python only, which this process runs as a kernel does, one after the other."""
    notebook = nbformat.read(ROOT / "examples/quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not any(cell.get("outputs") for cell in notebook.cells)
    names: dict[str, Any] = {"__name__": "__main__"}
    with redirect_stdout(StringIO()) as printed:
        for number, cell in enumerate(notebook.cells, 1):
            if cell.cell_type == "code":
                exec(compile(cell.source, f"<cell {number}>", "exec"), names)
    text = printed.getvalue()
    assert "n = 359" in text
    assert text.count("top-1") == 6
    assert '"flow": "rounds"' in text

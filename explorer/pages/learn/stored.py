"""Stored runs of lessons whose numbers take too long to compute on the page.

`python -m benchmarks.lessons` writes them; a test makes points of each again.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("runs")


@cache
def stored(name: str) -> Any:
    """The content of a stored run."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def store(name: str, run: Any) -> None:
    """Writes a run."""
    text = json.dumps(run, indent=1)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")

"""A run that a restart of the server cut off: its browser finds it, continues or deletes it."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.pages.sensitivity.run import ScanRequest, scan_events, settings_of
from explorer.session import cache
from explorer.training import engine, interrupted
from explorer.training.engine import training_events
from pruning_core.history import History, Run, unfinished
from pruning_core.history.unfinished import Jobs
from pruning_core.plan import Plan
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.studies import fingerprint
from pruning_core.training.config import TrainConfig
from pruning_core.training.journal import Journal
from pruning_core.types import Epoch, Finished, SensitivityPoint, Step
from pruning_core.workspaces import open_workspace
from tests.core.events import last_of
from tests.explorer.driven import text

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
ID = "0" * 12
RUN = "1" * 12
PLAN = Plan(model="lenet5", sparsity=0.8, fine_tune=TrainConfig(epochs=2, batch_size=512))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, in which everything is kept at once."""
    eager = partial(Journal, every=0.0, share=math.inf)
    for module in (unfinished, engine):
        monkeypatch.setattr(module, "Journal", eager)
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", str(tmp_path / "history"))
    return tmp_path


@pytest.fixture
def cut_off(data: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """A fine-tune of this browser that a server, which is gone, has begun."""
    monkeypatch.setattr(interrupted, "_owner", lambda: "me")
    space = open_workspace("lenet5", "digits")
    own = {"owner": "me", "kind": "train", "title": "Fine-tuning", "plan": PLAN.to_json()}
    more = {"run": RUN, "parent": None, "fingerprint": fingerprint(space)}
    jobs = Jobs(data / "jobs")
    job = jobs.begin(ID, own | more)
    assert job is not None
    epochs = 0
    for event in training_events(PLAN, space, folder=job.journal.folder):
        epochs += isinstance(event, Epoch)
        if epochs and isinstance(event, Step):
            break
    job.close(delete=False)
    history = History(data / "history")
    history.save(Run("tune", PLAN.to_json(), fingerprint(space), id=RUN, state="running"))
    return jobs


def test_its_browser_continues_it_as_the_same_run(
    cut_off: Jobs, data: Path, open_view: Open, until: Until
) -> None:
    at = open_view("finetune", fine_tune="epochs~5")
    assert "Fine-tuning was interrupted after epoch 1 of 2: the server" in text(at)
    at.button(key=f"continue {ID}").click().run()
    until(at, lambda at: ": finished in" in text(at))
    assert "interrupted" not in text(at)
    assert not list(cut_off.root.iterdir())
    (run,) = History(data / "history").runs()
    assert (run.id, run.state) == (RUN, "finished")
    (job,) = cache.jobs().snapshots("test session id", "train")
    assert isinstance(job.result, Finished)
    whole = last_of(Finished, training_events(PLAN, open_workspace("lenet5", "digits")))
    again = job.result.model.state_dict()
    assert all(tensor.equal(again[name]) for name, tensor in whole.model.state_dict().items())


def test_only_its_browser_sees_it_and_can_delete_it(
    cut_off: Jobs, open_view: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(interrupted, "_owner", lambda: "another")
        assert "interrupted" not in text(open_view("finetune"))
    assert "interrupted" not in text(open_view("flows"))
    at = open_view("finetune")
    assert "interrupted" in text(at)
    file = cut_off.root / ID / unfinished.FILE
    own = json.loads(file.read_text())
    for damage in ({"plan": "{"}, {"fingerprint": "0"}):
        file.write_text(json.dumps(own | damage))
        at = open_view("finetune")
        if "plan" not in damage:
            at.button(key=f"continue {ID}").click().run()
        assert len(at.error) == 1
    at.button(key=f"delete {ID}").click().run()
    assert "interrupted" not in text(at)
    assert not list(cut_off.root.iterdir())


def test_a_server_without_a_history_keeps_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert interrupted._jobs() is not None
    for name, value in (("HISTORY", "off"), ("DEMO", "1"), ("UNFINISHED_RUNS", "0")):
        with monkeypatch.context() as patch:
            patch.setenv(f"PRUNING_EXPLORER_{name}", value)
            assert interrupted._jobs() is None


def test_a_scan_goes_on_after_its_layer(data: Path) -> None:
    plan = Plan(model="lenet5", probe=50)
    asked = ScanRequest(plan, (0.0, 0.5), ("conv1.weight",), 1)
    assert settings_of(asked)["grid"] == (0.0, 0.5)
    space = open_workspace("lenet5", "digits")
    whole = list(scan_plan(plan, space, (0.5,)))
    first = scan_plan(plan, space, (0.5,), journal=Journal(data, every=0.0, share=math.inf))
    assert [next(first) for _ in range(4)] == whole[:4]
    kept = json.loads((data / "points").read_bytes().partition(b"\n")[2])
    kept[0]["value"] = 0.125  # so that a kept point is told from a measured one
    Journal(data, every=0.0).keep("points", lambda: json.dumps(kept).encode())
    again = list(scan_events(asked, space, data))
    assert isinstance(again[0], SensitivityPoint)
    assert again[0].value == 0.125
    assert again[1:] == whole[1:]

"""A network of somebody else in the app, from `--subject` to a script without our package.

Its scan and its training: tests/explorer/pages/test_main_job.py."""

import re
import runpy
import sys
import zipfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from explorer.texts.formats import percent
from pruning_core.subjects import subject_files
from tests.browser.app_page import go, metric, no_traceback, pick, slide
from tests.browser.conftest import USUAL, Console, Serve, settled
from tests.third_party import write_package


def test_a_classifier_of_somebody_else(
    serve: Serve, profile: BrowserContext, console: Console, tmp_path: Path
) -> None:
    file = write_package(tmp_path, "browser_package")
    page = profile.new_page()
    page.set_default_timeout(USUAL)
    console.listen(page)
    with subject_files([file]), serve("app.py", tmp_path / "log") as url:
        page.goto(f"{url}/?sparsity=0.2")
        settled(page)
        pick(page, "model", "Somebody's classifier")
        page.wait_for_url(re.compile("dataset=pictures_data"))
        slide(page, "sparsity", 5)
        expect(page.get_by_text("25.4% of the prunable weights")).to_be_visible()
        assert metric(page, "Accuracy") != "33.3%"  # which is chance
        go(page, "Export")
        line = page.get_by_text(re.compile(r"^accuracy [01]\.\d{6} \(")).inner_text().strip()
        assert percent(float(line.split()[1])) == metric(page, "Accuracy")
        with page.expect_download() as download:
            page.locator(".st-key-export_zip").get_by_role("button").click()
        zipfile.ZipFile(download.value.path()).extractall(tmp_path / "files")
        no_traceback(page, console)
        page.close()
    path = list(sys.path)
    with redirect_stdout(StringIO()) as printed:
        runpy.run_path(str(tmp_path / "files" / "load_masks.py"), run_name="__main__")
    sys.path[:] = path
    assert printed.getvalue().strip() == line

"""Forms keep their values while other pages are shown, and show what the plan says."""

from playwright.sync_api import Locator, Page, expect

from tests.browser.app_page import go, no_traceback
from tests.browser.conftest import Console, OpenPage, settled

TRAINING = {"tune_epochs": "3", "tune_lr": "0.01", "tune_batch_size": "32", "tune_rounds": "1"}


def field(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key} input")


def shows(page: Page, values: dict[str, str]) -> None:
    for key, value in values.items():
        expect(field(page, key)).to_have_value(value)


def test_forms_keep_their_values_on_every_page_switch(
    open_page: OpenPage, console: Console
) -> None:
    page = open_page("?model=lenet5&granularity=filter")
    go(page, "Fine-tune & compare")
    shows(page, TRAINING)
    for title in ("Flows", "Methods", "Fine-tune & compare", "Methods", "Flows"):
        go(page, title)
        if title == "Methods":
            page.get_by_text("Training of every run").click()
        shows(page, TRAINING if title != "Methods" else {**TRAINING, "study_seeds": "3"})
    page.locator(".st-key-tune_epochs").get_by_test_id("stNumberInputStepUp").click()
    settled(page)
    shows(page, {"tune_epochs": "4"})

    go(page, "Explore")
    page.locator(".st-key-closer").get_by_text("Dropout").click()
    field(page, "drop_pass").fill("7")
    page.keyboard.press("Enter")
    settled(page)
    go(page, "Sensitivity")
    page.locator(".st-key-tied label").click()
    settled(page)
    go(page, "Explore")
    shows(page, {"drop_pass": "7"})
    go(page, "Sensitivity")
    expect(field(page, "tied")).not_to_be_checked()
    go(page, "Fine-tune & compare")
    shows(page, TRAINING | {"tune_epochs": "4"})
    no_traceback(page, console)

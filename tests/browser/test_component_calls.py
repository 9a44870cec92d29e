"""The components' functions, called in every order that Streamlit calls them.

While a module loads, Streamlit can call a component for new data and only then the cleanup of the
call before. That cleanup took the layer from the page, and the lab stayed empty.
"""

import base64
from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser, Page

from explorer.components import net_map
from explorer.components.mask_lab import lab_view, source
from explorer.components.mask_lab.component import FOLDER
from explorer.components.mask_lab.words import words
from pruning_core.granularity import granularity
from tests.core.toy import layer

MODULES = {name: source(name) for name in ("feed", "window", "lab")} | {"map": net_map.source()}
IN_PAGE = """async modules => {
  globalThis.components = {}
  for (const [name, text] of Object.entries(modules)) {
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }))
    globalThis.components[name] = (await import(url)).default
  }
  globalThis.bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0))
  globalThis.element = html => {
    const place = document.createElement("div")
    place.innerHTML = html ?? ""
    document.body.append(place)
    return place
  }
}"""
KNOWN = "() => [...(globalThis.pruningMaskLab?.known.keys() ?? [])]"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page with the components' functions and nothing else."""
    page = browser.new_page()
    page.evaluate(IN_PAGE, MODULES)
    yield page
    page.close()


def view_of(name: str) -> tuple[str, str]:
    """A layer's id, and its bytes as text."""
    each = layer((4, 3, 3, 3), name=name)
    weight = torch.arange(each.numel, dtype=torch.float32).view(each.shape) - 50
    scores = torch.arange(4.0)[None]
    view = lab_view(each, weight, scores, granularity("filter"))
    return view.id, base64.b64encode(view.data).decode()


def test_a_late_cleanup_keeps_the_layer_of_the_newer_call(page: Page) -> None:
    first = view_of("first")
    second = view_of("second")
    known = page.evaluate(
        """([first, second]) => {
          const { feed } = globalThis.components
          const parentElement = globalThis.element()
          const cleanFirst = feed({ data: globalThis.bytes(first), parentElement })
          globalThis.cleanSecond = feed({ data: globalThis.bytes(second), parentElement })
          cleanFirst()
          return [...globalThis.pruningMaskLab.known.keys()]
        }""",
        [first[1], second[1]],
    )
    assert known == [second[0]]
    page.evaluate("() => globalThis.cleanSecond()")
    assert page.evaluate(KNOWN) == []


def test_a_layer_stays_as_long_as_one_element_holds_it(page: Page) -> None:
    name, data = view_of("shared")
    before, after = page.evaluate(
        """data => {
          const { feed } = globalThis.components
          const given = globalThis.bytes(data)
          const clean = [1, 2].map(() => feed({ data: given, parentElement: globalThis.element() }))
          return clean.map(each => {
            each()
            return [...globalThis.pruningMaskLab.known.keys()]
          })
        }""",
        data,
    )
    assert before == [name]
    assert after == []


def test_a_window_asks_through_the_element_that_is_there(page: Page) -> None:
    asked = page.evaluate(
        """() => {
          const { window } = globalThis.components
          const data = new TextEncoder().encode("0123456789abcdef")
          const asked = []
          const brought = name => window({
            data,
            parentElement: globalThis.element(),
            setStateValue: () => asked.push(name),
          })
          const clean = brought("old")
          const cleanNew = brought("new")
          clean()
          globalThis.pruningMaskLab.details.get("0123456789abcdef").ask([0, 1, 0, 1])
          cleanNew()
          return [asked, globalThis.pruningMaskLab.details.size]
        }"""
    )
    assert asked == [["new"], 0]


def test_a_late_cleanup_leaves_the_lab_alive(page: Page) -> None:
    name, data = view_of("lab")
    html = (FOLDER / "lab.html").read_text(encoding="utf-8")
    shown = page.evaluate(
        """([id, bytes, html, words]) => {
          const { feed, lab } = globalThis.components
          const parentElement = globalThis.element(html)
          const data = { key: "k", of: id, echo: null, show: "mask", edits: [], words }
          const given = ratio => ({ data: { ...data, ratio }, parentElement, setStateValue() {} })
          const clean = lab(given(0.25))
          lab(given(0.5))
          clean()
          feed({ data: globalThis.bytes(bytes), parentElement: globalThis.element() })
          return parentElement.querySelector(".asked").textContent
        }""",
        [name, data, html, words()],
    )
    assert shown == "50%"

"""The components' functions, called in every order that Streamlit calls them.

While a module loads, Streamlit can call a component for new data and only then the cleanup of the
call before. That cleanup took the layer from the page, and the lab stayed empty. The calls that
wait for a module come in any order: the map stayed another network's.
"""

import base64
from collections.abc import Iterator
from dataclasses import asdict

import pytest
import torch
from playwright.sync_api import Browser, Page

from explorer.components import layer_table, net_map
from explorer.components.layer_table.words import words as table_words
from explorer.components.mask_lab import lab_view, source
from explorer.components.mask_lab.component import FOLDER
from explorer.components.mask_lab.words import words
from explorer.components.net_map.words import words as map_words
from pruning_core.granularity import granularity
from pruning_core.model.layer_graph import MapNode, NetworkMap
from tests.core.toy import layer

MODULES = {name: source(name) for name in ("feed", "window", "lab")} | {
    "map": net_map.source(),
    "table": layer_table.source(),
}
IN_PAGE = """async modules => {
  globalThis.components = {}
  for (const [name, text] of Object.entries(modules)) {
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }))
    globalThis.components[name] = (await import(url)).default
  }
  globalThis.bytes = (text, number = 1) => {
    const given = atob(text)
    const bytes = new Uint8Array(8 + given.length)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(number), true)
    for (let n = 0; n < given.length; n++) bytes[8 + n] = given.charCodeAt(n)
    return bytes
  }
  globalThis.element = html => {
    const place = document.createElement("div")
    place.innerHTML = html ?? ""
    document.body.append(place)
    return place
  }
  globalThis.called = (name, html, data) => {
    const parentElement = globalThis.element(html)
    const call = more => globalThis.components[name]({
      data: { ...data, ...more }, parentElement, setStateValue() {}, setTriggerValue() {},
    })
    return [parentElement, call]
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


def map_of(name: str) -> dict[str, object]:
    """What the map of a network with one layer is called with, but for its number."""
    each = layer((4, 3, 3, 3), name=name)
    node = MapNode(name, "layer", "conv2d", "block", "", each.numel, 0, 0)
    network = NetworkMap((node,), (), ())
    view = net_map.map_view(network, (each,))
    data = net_map.message(view, name, {name: 0.5}, None, "")
    return data | {"words": map_words(), "key": "map"}


TABLE_HTML = (layer_table.FOLDER / "table.html").read_text(encoding="utf-8")


def table_of(*names: str) -> dict[str, object]:
    """What the table of these layers is called with, but for its number and the chosen layer."""
    columns = (layer_table.Column("Layer"), layer_table.Column("Weights", number=True))
    return {
        "columns": [asdict(column) for column in columns],
        "rows": [[name, [9 - at, str(9 - at)]] for at, name in enumerate(names)],
        "label": "Layers",
        "words": table_words(),
        "key": " ".join(names),
    }


def test_a_choice_that_is_taken_back_leaves_the_table_to_python(page: Page) -> None:
    """Nothing is sent then, so Python's next choice is no answer to it."""
    sent, shown = page.evaluate(
        """async ([data, html]) => {
          const { table } = globalThis.components
          const parentElement = globalThis.element(html)
          const sent = []
          const call = (number, chosen) => table({
            data: { ...data, number, chosen },
            parentElement,
            setTriggerValue: (_name, layer) => sent.push(layer),
          })
          call(1, "a")
          const own = parentElement.querySelector(".layers").table
          own.pause = 10
          own.choose("b")
          own.choose("a")
          await new Promise(done => setTimeout(done, 30))
          call(2, "c")
          return [sent, [...parentElement.querySelectorAll("input:checked")].map(one => one.value)]
        }""",
        [table_of("a", "b", "c"), TABLE_HTML],
    )
    assert (sent, shown) == ([], ["c"])


def test_the_table_stays_sorted_where_its_columns_get_other_names(page: Page) -> None:
    first, second, other = page.evaluate(
        """([data, html]) => {
          const [parentElement, table] = globalThis.called("table", html, { ...data, chosen: "a" })
          const names = () => [...parentElement.querySelectorAll("tbody tr")].map(
            row => row.dataset.name)
          table({ number: 1 })
          parentElement.querySelectorAll("thead button")[1].click()
          const first = names()
          const [name, weights] = data.columns
          const columns = [{ ...name, label: "层" }, { ...weights, label: "权重" }]
          table({ number: 2, columns })
          const second = names()
          table({ number: 3, rows: [...data.rows, ["d", [8.5, "8.5"]]] })
          return [first, second, names()]
        }""",
        [table_of("a", "b", "c"), TABLE_HTML],
    )
    assert first == second == ["c", "b", "a"]
    assert other == ["c", "b", "d", "a"]


def test_a_late_cleanup_keeps_the_layer_of_the_newer_call(page: Page) -> None:
    first = view_of("first")
    second = view_of("second")
    known = page.evaluate(
        """([first, second]) => {
          const { feed } = globalThis.components
          const parentElement = globalThis.element()
          const cleanFirst = feed({ data: globalThis.bytes(first, 1), parentElement })
          globalThis.cleanSecond = feed({ data: globalThis.bytes(second, 2), parentElement })
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
          const data = globalThis.bytes(btoa("0123456789abcdef"))
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


def test_an_older_layer_that_comes_last_is_ignored(page: Page) -> None:
    first = view_of("older")
    second = view_of("newer")
    known = page.evaluate(
        """([first, second]) => {
          const { feed } = globalThis.components
          const parentElement = globalThis.element()
          globalThis.cleanSecond = feed({ data: globalThis.bytes(second, 2), parentElement })
          const cleanFirst = feed({ data: globalThis.bytes(first, 1), parentElement })
          cleanFirst?.()
          return [...globalThis.pruningMaskLab.known.keys()]
        }""",
        [first[1], second[1]],
    )
    assert known == [second[0]]
    page.evaluate("() => globalThis.cleanSecond()")


def test_an_older_window_that_comes_last_is_ignored(page: Page) -> None:
    details = page.evaluate(
        """() => {
          const { window } = globalThis.components
          const parentElement = globalThis.element()
          const given = { parentElement, setStateValue() {} }
          const brought = (name, number) =>
            window({ ...given, data: globalThis.bytes(btoa(name), number) })
          const cleanNew = brought("newer layer's id", 2)
          brought("older layer's id", 1)?.()
          const details = [...globalThis.pruningMaskLab.details.keys()]
          cleanNew()
          return details
        }"""
    )
    assert details == ["newer layer's id"]


def test_an_older_ratio_that_comes_last_is_ignored(page: Page) -> None:
    name, data = view_of("lab in any order")
    html = (FOLDER / "lab.html").read_text(encoding="utf-8")
    shown = page.evaluate(
        """([id, bytes, html, words]) => {
          const { feed } = globalThis.components
          feed({ data: globalThis.bytes(bytes), parentElement: globalThis.element() })
          const data = { key: "any", of: id, echo: null, show: "mask", edits: [], words }
          const [parentElement, lab] = globalThis.called("lab", html, data)
          lab({ number: 2, ratio: 0.5 })
          lab({ number: 1, ratio: 0.25 })?.()
          return parentElement.querySelector(".asked").textContent
        }""",
        [name, data, html, words()],
    )
    assert shown == "50%"


def test_an_older_network_that_comes_last_is_ignored(page: Page) -> None:
    html = (net_map.FOLDER / "map.html").read_text(encoding="utf-8")
    shown = page.evaluate(
        """([older, newer, html]) => {
          const [parentElement, map] = globalThis.called("map", html)
          map({ ...newer, number: 2 })
          map({ ...older, number: 1 })?.()
          return parentElement.querySelector(".net-map").map.network.layers.map(layer => layer.name)
        }""",
        [map_of("older.weight"), map_of("newer.weight"), html],
    )
    assert shown == ["newer.weight"]


def test_an_older_choice_that_comes_last_is_ignored(page: Page) -> None:
    shown = page.evaluate(
        """([data, html]) => {
          const [parentElement, table] = globalThis.called("table", html, data)
          table({ number: 2, chosen: "newer.weight" })
          table({ number: 1, chosen: "older.weight" })?.()
          return [...parentElement.querySelectorAll("input:checked")].map(each => each.value)
        }""",
        [table_of("older.weight", "newer.weight"), TABLE_HTML],
    )
    assert shown == ["newer.weight"]


def test_a_late_cleanup_leaves_the_lab_alive(page: Page) -> None:
    name, data = view_of("lab")
    html = (FOLDER / "lab.html").read_text(encoding="utf-8")
    shown = page.evaluate(
        """([id, bytes, html, words]) => {
          const { feed } = globalThis.components
          const data = { key: "k", of: id, echo: null, show: "mask", edits: [], words }
          const [parentElement, lab] = globalThis.called("lab", html, data)
          const clean = lab({ number: 1, ratio: 0.25 })
          lab({ number: 2, ratio: 0.5 })
          clean()
          feed({ data: globalThis.bytes(bytes), parentElement: globalThis.element() })
          return parentElement.querySelector(".asked").textContent
        }""",
        [name, data, html, words()],
    )
    assert shown == "50%"

"""The mask lab alone on a page: its cells on the screen, its counts, and the messages to and from
Python.
"""

from collections.abc import Callable

from playwright.sync_api import Page, WebSocket


class Wire:
    """Sizes of the messages between browser and server, as they pass."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.received: list[int] = []

    def forget(self) -> None:
        self.sent.clear()
        self.received.clear()

    def listen(self, page: Page) -> None:
        page.on("websocket", self._socket)

    def _socket(self, wire: WebSocket) -> None:
        wire.on("framesent", lambda data: self.sent.append(len(data)))
        wire.on("framereceived", lambda data: self.received.append(len(data)))


Lab = Callable[..., tuple[Page, Wire]]
CHANGE_ADDRESS = """address => {
  document.querySelector('[data-testid=stMain]').scrollTo(0, 0)
  const { views, ...others } = globalThis.pruningMaskLab ?? { views: new Map() }
  for (const each of Object.values(others)) each.clear()
  for (const view of views.values()) {
    Object.assign(view, { picked: null, cells: '' })
    Object.assign(view.place, { x: 0, y: 0, zoom: 1, sx: 1, sy: 1 })
  }
  history.pushState(null, '', address)
  dispatchEvent(new PopStateEvent('popstate'))
}"""
"""Another address, and all that the labs stored is forgotten. A lab that stays refers to its view,
so that is not replaced."""


def over_cell(page: Page, row: int, col: int, figure: str = "weights") -> tuple[float, float]:
    """Where on the screen the middle of a cell is."""
    x, y = page.locator(".lab").evaluate(
        """({ lab }, [row, col, name]) => {
          const frame = lab.root.querySelector(`[data-show=${name}] .frame`).getBoundingClientRect()
          const [x, y, w, h] = lab.stage.box(lab.mask, row, col)
          const { dpr } = lab.stage
          return [frame.left + 1 + (x + w / 2) / dpr, frame.top + 1 + (y + h / 2) / dpr]
        }""",
        [row, col, figure],
    )
    return x, y


def reaches(page: Page, state: str, goal: object = True) -> None:
    """Waits until this of `lab` equals the goal: the lab draws a change in a frame after it."""
    root = page.locator(".lab").element_handle()
    page.wait_for_function(f"([{{ lab }}, goal]) => ({state}) === goal", arg=[root, goal])


def removes(page: Page, groups: int) -> None:
    """Waits until the lab removes that many groups."""
    reaches(page, "lab.mask.counts().removed", groups)


def pruned_groups(page: Page) -> int:
    """How many groups the lab removes now: of a lab that waits for nothing."""
    return int(page.locator(".lab").evaluate("({ lab }) => lab.mask.counts().removed"))

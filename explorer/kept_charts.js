// Streamlit draws a chart again when its figure changes, and shows nothing for up to half a second.
// Until the new drawing is there, a copy of the last one is shown in its place.
const CHART = "[data-testid=stPlotlyChart]"
const GRAPH = ".js-plotly-plot, .plot-container"
// A drawing is there when it is so high, in pixels: Plotly first makes empty groups.
const LEAST = 20
// Milliseconds to wait for a drawing.
const PATIENCE = 3000
const MOST_COPIES = 16
// The key of a chart -> the copy of its last drawing.
const copies = new Map()

const keyOf = node => node.closest?.("[class*=st-key-]")?.className.match(/st-key-\S+/)?.[0]
const placeOf = key => (key ? document.querySelector(`.${CSS.escape(key)}`) : null)
const isHigh = part => part.getBoundingClientRect().height > LEAST
const isDrawn = place =>
  [...place.querySelectorAll(`${CHART} .main-svg .cartesianlayer > *`)].some(isHigh)

// A chart is drawn: its copy is removed, and a new copy is made.
function drawn(graph) {
  const key = graph.isConnected && keyOf(graph)
  const drawing = key && graph.querySelector(".plot-container")
  if (!drawing || !isDrawn(placeOf(key))) return
  placeOf(key).querySelector(":scope > .kept-chart")?.remove()
  placeOf(key).style.minHeight = ""
  const copy = document.createElement("div")
  copy.className = "kept-chart js-plotly-plot"
  copy.ariaHidden = "true"
  Object.assign(copy.style, {
    position: "absolute",
    inset: "0",
    pointerEvents: "none",
    height: `${graph.offsetHeight}px`,
  })
  copy.append(drawing.cloneNode(true))
  copies.delete(key)
  copies.set(key, copy)
  if (copies.size > MOST_COPIES) copies.delete(copies.keys().next().value)
}

function awaitDrawing(graph, end) {
  if (!graph?.isConnected || performance.now() > end) return
  const place = placeOf(keyOf(graph))
  if (place && isDrawn(place)) drawn(graph)
  else requestAnimationFrame(() => awaitDrawing(graph, end))
}

// A chart was removed. Where another one with its key takes its place, the copy is shown until that
// one is drawn.
function replaced(key) {
  const place = placeOf(key)
  const copy = copies.get(key)
  if (!copy || !place || isDrawn(place) || place.contains(copy)) return
  place.style.position = "relative"
  place.style.minHeight = copy.style.height
  place.append(copy)
  setTimeout(() => {
    if (copy.parentElement === place) place.style.minHeight = ""
    copy.remove()
  }, PATIENCE)
}

function watch(changes) {
  for (const { addedNodes, removedNodes, target } of changes) {
    for (const node of removedNodes) {
      const graph =
        node instanceof Element &&
        !node.matches(".kept-chart") &&
        (node.matches(GRAPH) ? node : node.querySelector(GRAPH))
      const key = graph && (keyOf(graph) ?? keyOf(target))
      if (key) replaced(key)
    }
    for (const node of addedNodes) {
      if (!(node instanceof Element) || !node.matches(".plot-container")) continue
      const graph = node.parentElement
      graph?.on?.("plotly_afterplot", () => drawn(graph))
      awaitDrawing(graph, performance.now() + PATIENCE)
    }
  }
}

new MutationObserver(watch).observe(document, { childList: true, subtree: true })

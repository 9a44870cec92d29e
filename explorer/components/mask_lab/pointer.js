// Pointer, wheel and keys on the stage.

// Pixels that the pointer moves before a click becomes a drag.
const DRAG_FROM = 4
// Milliseconds between two wheel events of one gesture, at most.
const WHEEL_PAUSE = 350

let lastWheelElsewhere = 0

function listenToStage(lab) {
  const { stage } = lab
  const { element } = stage
  let grip = null
  element.onpointerdown = event => {
    const spot = stage.spot(event)
    if (event.button !== 0 || !spot || !lab.mask) return
    element.setPointerCapture(event.pointerId)
    grip = { x: event.clientX, y: event.clientY, spot, moved: false }
  }
  element.onpointermove = event => {
    if (!lab.mask) return
    if (grip) return drag(event)
    const spot = stage.spot(event)
    if (spot) lab.point(stage.cellAt(lab.topMask, spot))
  }
  function drag(event) {
    const [dx, dy] = [event.clientX - grip.x, event.clientY - grip.y]
    if (!grip.moved && Math.hypot(dx, dy) < DRAG_FROM) return
    Object.assign(grip, { moved: true, x: event.clientX, y: event.clientY })
    element.classList.add("panning")
    stage.move(lab.mask, dx * stage.dpr, dy * stage.dpr)
    lab.frame(true)
  }
  element.onpointerup = event => {
    const ended = grip
    grip = null
    element.classList.remove("panning")
    if (!ended || ended.moved) return
    const cell = stage.cellAt(lab.topMask, ended.spot)
    if (cell === null) return
    lab.point(cell)
    if (event.shiftKey) lab.select(cell)
    else lab.flip(cell)
  }
  element.onpointercancel = () => (grip = null)
  element.onpointerleave = () => grip || lab.point(null)
  element.onkeydown = event => lab.mask && keyOnStage(lab, event)
  listenToWheel(lab)
  listenToMap(lab)
}

// The wheel zooms. The page scrolls if the gesture began outside the picture or nothing can be
// zoomed.
function listenToWheel(lab) {
  const { stage } = lab
  const { signal } = lab.ended
  let lastHere = 0
  const elsewhere = event => {
    if (!event.composedPath().includes(stage.element)) lastWheelElsewhere = event.timeStamp
  }
  addEventListener("wheel", elsewhere, { passive: true, capture: true, signal })
  stage.element.addEventListener(
    "wheel",
    event => {
      const going = event.timeStamp - lastHere < WHEEL_PAUSE
      const passing = event.timeStamp - lastWheelElsewhere < WHEEL_PAUSE && !going
      const spot = stage.spot(event)
      if (!spot || !lab.mask || (passing && !event.ctrlKey))
        return void (lastWheelElsewhere = event.timeStamp)
      const turn = Math.max(-100, Math.min(100, event.deltaY))
      const zoomed = lab.zoom(Math.exp(-turn / 300), spot)
      // At the zoom limit, the rest of the gesture does not scroll the page.
      if (zoomed || event.ctrlKey || going) {
        lastHere = event.timeStamp
        event.preventDefault()
      }
    },
    { passive: false, signal },
  )
}

function listenToMap(lab) {
  const { stage } = lab
  const canvas = stage.map.canvas
  const go = event => {
    const box = canvas.getBoundingClientRect()
    const { view } = stage
    view.x = ((event.clientX - box.left) / box.width) * stage.wide - stage.width / view.sx / 2
    view.y = ((event.clientY - box.top) / box.height) * stage.high - stage.height / view.sy / 2
    stage.place(lab.mask)
    lab.frame(true)
  }
  canvas.onpointerdown = event => {
    event.stopPropagation()
    canvas.setPointerCapture(event.pointerId)
    go(event)
  }
  canvas.onpointermove = event => event.buttons && go(event)
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }

function keyOnStage(lab, event) {
  const act = actOfKey(lab, event)
  if (!act) return
  event.preventDefault()
  event.stopPropagation()
  act()
}

function actOfKey(lab, event) {
  const { stage, mask } = lab
  const { key } = event
  if (event.ctrlKey || event.metaKey) {
    if (/^z$/i.test(key)) return () => (event.shiftKey ? lab.redo() : lab.undo())
    return /^y$/i.test(key) ? () => lab.redo() : null
  }
  if (STEPS[key]) {
    const [down, right] = STEPS[key]
    if (!event.shiftKey) return () => step(lab, down, right)
    return () => {
      stage.move(mask, (-right * stage.width) / 5, (-down * stage.height) / 5)
      lab.frame(true)
    }
  }
  const acts = {
    "+": () => lab.zoom(1.5, middle(lab)),
    "=": () => lab.zoom(1.5, middle(lab)),
    "-": () => lab.zoom(1 / 1.5, middle(lab)),
    0: () => lab.zoom(0),
    Escape: () => lab.point(null),
  }
  const { cell } = lab
  if (cell !== null) {
    const flip = () => {
      const changed = event.shiftKey ? lab.select(cell) : lab.flip(cell)
      if (changed) lab.point(cell, true)
    }
    Object.assign(acts, { Enter: flip, " ": flip })
  }
  return acts[key]
}

// Zooming by key keeps the selected cell in view.
function middle(lab) {
  if (lab.cell === null) return undefined
  const [x, y, w, h] = lab.stage.box(
    lab.topMask,
    Math.floor(lab.cell / lab.topMask.cols),
    lab.cell % lab.topMask.cols,
  )
  return [x + w / 2, y + h / 2]
}

function step(lab, down, right) {
  const { topMask, mask, stage } = lab
  const within = (at, count) => Math.max(0, Math.min(count - 1, at))
  const start = lab.cell ?? firstInSight(lab)
  const still = lab.cell === null
  const row = within(Math.floor(start / topMask.cols) + (still ? 0 : down), topMask.rows)
  const col = within((start % topMask.cols) + (still ? 0 : right), topMask.cols)
  const cell = row * topMask.cols + col
  stage.reveal(mask, topMask, cell)
  lab.point(cell, true)
}

// Where the arrow keys start: in the corner of the visible part.
function firstInSight({ topMask, stage }) {
  const { view } = stage
  const first = (at, from) =>
    Math.max(
      0,
      at.findIndex(each => each >= from - 1e-6),
    )
  return first(topMask.layer.rowAt, view.y) * topMask.cols + first(topMask.layer.colAt, view.x)
}

// The window of a reduced layer in which every weight is drawn: when to ask for one, and what
// changes when it comes.

// The largest window: weights in all, and along a side. window.py refuses a larger one.
const MOST_WEIGHTS = 110000
const MOST_SIDE = 8192
// The share by which a window is larger than the visible part, on each side.
const MARGIN = 0.35

// Visible filters and channels, [top, bottom, left, right], or null while weights are smaller than
// pixels or too many.
function visiblePart({ mask, stage }) {
  const { view } = stage
  const { shape, factors } = mask.layer
  if (view.sx < mask.unit[1] || view.sy < mask.unit[0]) return null
  const along = (axis, from, seen) => [
    Math.max(0, Math.floor(from * factors[axis])),
    Math.min(shape[axis], Math.ceil((from + seen) * factors[axis])),
  ]
  const seen = [
    ...along(0, view.y, stage.height / view.sy),
    ...along(1, view.x, stage.width / view.sx),
  ]
  return weightsIn(seen, shape) <= MOST_WEIGHTS ? seen : null
}

const weightsIn = ([top, bottom, left, right], [, , h, w]) =>
  (bottom - top) * (right - left) * h * w
const within = (inner, outer) =>
  inner[0] >= outer[0] && inner[1] <= outer[1] && inner[2] >= outer[2] && inner[3] <= outer[3]

// The visible part, enlarged up to the limit, so that a small move needs no new window.
function enlarged(seen, shape) {
  for (let share = MARGIN; share > 0; share -= 0.05) {
    const [down, across] = [
      Math.ceil((seen[1] - seen[0]) * share),
      Math.ceil((seen[3] - seen[2]) * share),
    ]
    const window = [
      Math.max(0, seen[0] - down),
      Math.min(shape[0], seen[1] + down),
      Math.max(0, seen[2] - across),
      Math.min(shape[1], seen[3] + across),
    ]
    const longest = Math.max((window[1] - window[0]) * shape[2], (window[3] - window[2]) * shape[3])
    if (weightsIn(window, shape) <= MOST_WEIGHTS && longest <= MOST_SIDE) return window
  }
  return seen
}

// Requests the visible weights once, unless they are loaded. Called when the picture stops moving.
function askForWindow(lab) {
  const place = detailOf(lab.layer.id)
  const seen = visiblePart(lab)
  if (!seen || !place.ask) return
  if (place.window && within(seen, place.window.window)) return
  if (lab.asked && within(seen, lab.asked)) return
  lab.asked = enlarged(seen, lab.layer.shape)
  place.ask(lab.asked)
  lab.sayNote()
}

// The loaded window as a mask of its own. It has the layer's ratio and hand edits.
function windowMask(layer, window, parent) {
  const { shape, factors } = layer
  const [down, across] = [factors[0] * shape[2], factors[1] * shape[3]]
  const [top, bottom, left, right] = window.window
  const along = (from, to, step, unit) =>
    Float64Array.from({ length: (to - from) * step }, (_, n) => (from * step + n) / unit)
  const rowAt = along(top, bottom, shape[2], down)
  const colAt = along(left, right, shape[3], across)
  const mask = new Mask(
    { ...layer, places: null, ...window, rowAt, colAt, side: [1 / down, 1 / across] },
    parent.known,
  )
  mask.setEdits(parent.edits)
  mask.remove(parent.removed)
  return mask
}

// Uses the loaded window, or drops it where weights are smaller than pixels. The weight under the
// pointer stays selected.
function useWindow(lab) {
  const { stage, mask } = lab
  if (!stage.deep) return
  const { window } = detailOf(lab.layer.id)
  if (window && lab.asked && within(lab.asked, window.window)) {
    lab.asked = null
    lab.sayNote()
  }
  const close = stage.view.sx >= mask.unit[1] && stage.view.sy >= mask.unit[0]
  const wanted = close ? window : null
  if ((stage.near?.layer.id ?? null) === (wanted?.id ?? null)) return
  const weight = lab.cell === null ? null : lab.topMask.weightAt(lab.cell)
  stage.near = wanted && windowMask(lab.layer, wanted, mask)
  stage.nearInks = stage.near && inks(stage.near)
  lab.cell = weight && lab.topMask.cellOf(weight)
  stage.place(mask)
  drawLegend(lab)
  lab.sayNote()
}

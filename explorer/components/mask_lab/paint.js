// Cells -> pixels: two tables say which row and column of cells each pixel shows, so that a frame
// is one pass over the screen.

// The least sides, in pixels, of a cell or of a piece of a group for a hatch, of a cell for lines.
const HATCH_FROM = { cell: 5, piece: 8 }
const LINES_FROM = 4
const pixel = (r, g, b, a = 255) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0

// "#RRGGBB" or "#RRGGBBAA"
const hex = colour =>
  pixel(
    ...colour
      .slice(1)
      .match(/../g)
      .map(byte => parseInt(byte, 16)),
  )

const ramp = bytes =>
  Uint32Array.from({ length: 256 }, (_, n) =>
    pixel(bytes[3 * n], bytes[3 * n + 1], bytes[3 * n + 2]),
  )
const level = x => (x > 0 ? (x < 1 ? Math.round(255 * x) : 255) : 0)

// The colours of every cell, kept and pruned, for each picture; they change with the layer only.
function inks(mask) {
  const { layer } = mask
  const cells = mask.rows * mask.cols
  const grey = hex(layer.look.pruned)
  const even = colour => new Uint32Array(cells).fill(colour)
  const signed = ramp(layer.diverging)
  const magnitude = ramp(layer.magnitude)
  const scale = layer.valuesScale[0]
  const weights = layer.reduced
    ? Uint32Array.from(layer.values, v => magnitude[v])
    : Uint32Array.from(layer.values, v => signed[level((v * scale) / layer.limit / 2 + 0.5)])
  const colours = {
    weights: { on: weights, off: even(grey) },
    mask: { on: even(hex(layer.look.kept)), off: even(grey) },
  }
  if (layer.groups && !layer.reduced) {
    const { least, most } = (colours.range = rangeOf(layer.scores))
    const tint = Uint32Array.from(
      layer.scores,
      v => magnitude[level(most > least ? (v - least) / (most - least) : 1)],
    )
    const on = new Uint32Array(cells)
    for (let cell = 0; cell < cells; cell++) on[cell] = tint[mask.slot(mask.group(cell))]
    colours.scores = { on, off: on.map(colour => blend(colour, grey, 0.75)) }
  }
  return colours
}

const MANY = 200

// The scores of the first and the last colour: the lowest finite one, and the highest or, of more
// than MANY, the one that 1 in 200 exceeds.
function rangeOf(scores) {
  const step = Math.ceil(scores.length / 65536)
  const sample = scores.filter((score, n) => n % step === 0 && Number.isFinite(score)).sort()
  const least = scores.reduce(
    (low, score) => (score < low && Number.isFinite(score) ? score : low),
    Infinity,
  )
  const most =
    sample[scores.length > MANY ? Math.floor(0.995 * (sample.length - 1)) : sample.length - 1] ?? 1
  const clipped = scores.some(score => score > most)
  return { least: Number.isFinite(least) ? least : 0, most, clipped }
}

// Do values lie beyond the limits of the colours? [below, above]; values rounded for the transfer
// are not.
function beyond({ values, valuesScale, limit, reduced }) {
  if (reduced) return [false, false]
  const edge = (1.001 * limit) / valuesScale[0]
  return [values.some(value => value < -edge), values.some(value => value > edge)]
}

// For each pixel of an axis, the cell it shows, -1 in gaps. starts: in cells; scale: pixels per
// cell; from: first pixel, in pixels.
function cellsOfPixels(starts, scale, from, length) {
  const cells = new Int32Array(length).fill(-1)
  for (let cell = 0; cell < starts.length; cell++) {
    const next = cell + 1 < starts.length ? starts[cell + 1] : starts[cell] + 1
    const gap = (next - starts[cell] - 1) * scale
    const first = Math.round(starts[cell] * scale - from)
    if (first >= length) break
    const border = Math.round(next * scale - from)
    const end =
      gap < 0.75 ? border : Math.min(border - 1, Math.round((starts[cell] + 1) * scale - from))
    if (end > 0) cells.fill(cell, Math.max(0, first), Math.min(length, Math.max(end, first)))
  }
  return cells
}

// The same for a window's rows or columns, all of one size and side by side; -2 where a line ends a
// kernel or a group.
function windowCellsOfPixels(lines, first, scale, from, length) {
  const cells = new Int32Array(length).fill(-1)
  const border = cell => Math.round((first + cell) * scale - from)
  for (let cell = 0; cell <= lines.length; cell++) {
    const [start, end] = [Math.max(0, border(cell)), Math.min(length, border(cell + 1))]
    if (start >= length) break
    if (end <= start) continue
    cells.fill(cell, start, end)
    if (lines[cell] && scale >= LINES_FROM && border(cell + 1) === end) cells[end - 1] = -2
  }
  return cells
}

// One frame. out: one 32-bit pixel each; ink: the kept and pruned colours; hatch: period in pixels,
// 0 for none; line, thick: its lines.
function paint(mask, ink, xs, ys, out, hatch, line, thick) {
  if (mask.layer.reduced) return paintReduced(mask, ink, xs, ys, out)
  const { bar, removed } = mask
  const { on, off } = ink
  const width = xs.length
  for (let y = 0; y < ys.length; y++) {
    const row = ys[y] * mask.cols
    const start = y * width
    if (row < 0) out.fill(0, start, start + width)
    else if (!hatch && y && ys[y] === ys[y - 1]) out.copyWithin(start, start - width, start)
    else
      for (let x = 0; x < width; x++) {
        const col = xs[x]
        const cell = row + col
        if (col < 0) out[start + x] = 0
        else if (bar[cell] > removed) out[start + x] = on[cell]
        else out[start + x] = hatch && (x + y) % hatch < thick ? line : off[cell]
      }
  }
}

// Between two colours, opaque or translucent, in 256 steps.
function blend(from, to, share) {
  if (share <= 0) return from
  if (share >= 1) return to
  const part = Math.round(256 * share)
  const both = (mask, shift) =>
    (((from >>> shift) & mask) * (256 - part) + ((to >>> shift) & mask) * part) / 256
  const outer = both(0xff00ff, 0) & 0xff00ff
  return (((both(0xff, 24) & 0xff) << 24) | outer | ((both(0xff, 8) & 0xff) << 8)) >>> 0
}

// A cell that is repeated is blended once, along a row and down the rows.
function paintReduced(mask, ink, xs, ys, out) {
  const width = xs.length
  for (let y = 0; y < ys.length; y++) {
    const start = y * width
    if (ys[y] < 0) out.fill(0, start, start + width)
    else if (y && ys[y] === ys[y - 1]) out.copyWithin(start, start - width, start)
    else {
      const row = ys[y] * mask.cols
      let [last, colour] = [-1, 0]
      for (let x = 0; x < width; x++) {
        if (xs[x] !== last) {
          last = xs[x]
          colour =
            last < 0 ? 0 : blend(ink.off[row + last], ink.on[row + last], mask.share(row + last))
        }
        out[start + x] = colour
      }
    }
  }
}

// A window of single weights over the reduced picture: pixels outside it (-1) stay.
function paintWindow(mask, ink, xs, ys, out, hatch, line) {
  const { bar, removed } = mask
  const width = xs.length
  const left = xs.findIndex(col => col !== -1)
  const right = xs.findLastIndex(col => col !== -1) + 1
  for (let y = 0; y < ys.length; y++) {
    const start = y * width
    if (ys[y] === -1 || left < 0) continue
    if (ys[y] === -2) out.fill(0, start + left, start + right)
    else if (!hatch && y && ys[y] === ys[y - 1])
      out.copyWithin(start + left, start - width + left, start - width + right)
    else {
      const row = ys[y] * mask.cols
      for (let x = left; x < right; x++) {
        const cell = row + xs[x]
        if (xs[x] < 0) out[start + x] = 0
        else if (bar[cell] > removed) out[start + x] = ink.on[cell]
        else out[start + x] = hatch && (x + y) % hatch === 0 ? line : ink.off[cell]
      }
    }
  }
}

// Period of the hatch in pixels for cells of that size, 0 where the cell is too small for one.
function hatchOf(mask, sx, sy) {
  const piece = Math.min(mask.piece[0] * sy, mask.piece[1] * sx)
  const small = Math.min(sx, sy)
  return small >= HATCH_FROM.cell || piece >= HATCH_FROM.piece
    ? Math.max(5, Math.round(Math.min(10, small / 2)))
    : 0
}

// A canvas that shows one picture of the mask. Where cells are smaller than pixels, each pixel is
// the mean of several; while something moves (quick), of one.
class Picture {
  constructor(canvas) {
    this.canvas = canvas
    this.context = canvas.getContext("2d")
    this.scratch = document.createElement("canvas")
  }

  // view: { x, y: first cell unit shown, sx, sy: pixels per cell }; near: the mask of a window,
  // drawn over it
  place(mask, view, width, height, near = null) {
    const small = Math.min(view.sx, view.sy)
    this.times = small >= 1 ? 1 : Math.min(3, Math.ceil(1 / small))
    const canvas = this.canvas
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height })
    this.quick = this.grid(mask, view, 1, this.quick)
    this.fine = this.times === 1 ? this.quick : this.grid(mask, view, this.times, this.fine)
    this.hatch = hatchOf(mask, view.sx, view.sy)
    this.near = near && this.windowGrid(near, mask.unit, view)
  }

  windowGrid(near, [down, across], view) {
    const { rowLine, colLine } = near.layer
    const [sx, sy] = [view.sx / across, view.sy / down]
    return {
      xs: windowCellsOfPixels(colLine, near.from[1], sx, view.x * view.sx, this.canvas.width),
      ys: windowCellsOfPixels(rowLine, near.from[0], sy, view.y * view.sy, this.canvas.height),
      hatch: hatchOf(near, sx, sy),
    }
  }

  // Which cells the pixels show, and the pixels, at `times` the size; the pixels of `old` are used
  // again where they fit.
  grid(mask, view, times, old) {
    const { rowAt, colAt } = mask.layer
    const [width, height] = [this.canvas.width * times, this.canvas.height * times]
    const same = old?.image.width === width && old?.image.height === height
    const image = same ? old.image : this.context.createImageData(width, height)
    return {
      xs: cellsOfPixels(colAt, view.sx * times, view.x * view.sx * times, width),
      ys: cellsOfPixels(rowAt, view.sy * times, view.y * view.sy * times, height),
      image,
      pixels: new Uint32Array(image.data.buffer),
    }
  }

  // near, nearInk: of the window over it, if there is one.
  draw(mask, ink, quick, near, nearInk) {
    const { xs, ys, image, pixels } = quick ? this.quick : this.fine
    const times = quick ? 1 : this.times
    const line = hex(mask.layer.look.mark)
    paint(mask, ink, xs, ys, pixels, this.hatch * times, line, times)
    if (near && this.near && times === 1)
      paintWindow(near, nearInk, this.near.xs, this.near.ys, pixels, this.near.hatch, line)
    if (times === 1) return this.context.putImageData(image, 0, 0)
    const { width, height } = image
    if (this.scratch.width !== width || this.scratch.height !== height)
      Object.assign(this.scratch, { width, height })
    this.scratch.getContext("2d").putImageData(image, 0, 0)
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height)
    this.context.drawImage(this.scratch, 0, 0, this.canvas.width, this.canvas.height)
  }
}

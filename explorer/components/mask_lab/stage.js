// Where things are on the screen: fit, zoom, pan, the cell under the pointer, the minimap.

// All sizes are in CSS pixels.
const MOST_HEIGHT = 560
// A cell before and after zooming in.
const LARGEST_CELL = 30
const CLOSEST_CELL = 56
// Pictures are side by side where each can be so wide, with the gap between two of them; else
// each has its own row.
const LEAST_PANEL = 96
const GAP = 12
const LEAST_SIDE = 64
// The least height of pictures that can be zoomed, also for long, flat layers.
const LEAST_HEIGHT = { flat: 96, deep: 240 }
const MAP_SIDE = 130
// A frame is at most WIDEST times as wide as its picture, so that a narrow strip has no empty space
// around it.
const WIDEST = 2
const LEAST_WIDTH = 200

class Stage {
  constructor(element, view) {
    this.element = element
    this.figures = [...element.querySelectorAll("figure")]
    this.pictures = new Map(
      this.figures.map(figure => [figure.dataset.show, new Picture(figure.querySelector(".ink"))]),
    )
    this.map = new Picture(element.querySelector(".map"))
    this.view = view
    // The mask of the window that is drawn over a reduced picture, and its colours.
    this.near = null
    this.nearInks = null
  }

  shown() {
    return this.figures.filter(figure => !figure.hidden)
  }

  // Are there finer pictures than the quick ones?
  get finer() {
    return this.shown().some(figure => this.pictures.get(figure.dataset.show).times > 1)
  }

  // Sizes of the frames and the scale at which the whole layer fits; keeps the visible place.
  fit(mask) {
    const figures = this.shown()
    const inside = this.element.clientWidth
    const columns = figures.length * (LEAST_PANEL + GAP) <= inside + GAP ? figures.length : 1
    this.element.style.setProperty("--panels", columns)
    const { rowAt, colAt } = mask.layer
    const [wide, high] = [colAt[colAt.length - 1] + 1, rowAt[rowAt.length - 1] + 1]
    this.element.classList.toggle("few", columns < 3)
    const most = Math.max(60, Math.floor((inside - GAP * (columns - 1)) / columns) - 2)
    const scale = Math.min(LARGEST_CELL, most / wide, MOST_HEIGHT / high)
    const across = Math.max(scale, Math.min(LARGEST_CELL, LEAST_SIDE / wide))
    const down = Math.max(scale, Math.min(LARGEST_CELL, LEAST_SIDE / high))
    const strip = !this.deep && WIDEST * wide * across < 0.6 * most
    const width = strip
      ? Math.min(most, Math.max(LEAST_WIDTH, Math.round(WIDEST * wide * across)))
      : most
    this.element.style.setProperty("--panel", strip ? `${width + 2}px` : "1fr")
    const least = this.deep ? LEAST_HEIGHT.deep : LEAST_HEIGHT.flat
    const height = Math.round(Math.max(least, Math.min(MOST_HEIGHT, high * down + 8)))
    for (const figure of this.shown()) figure.querySelector(".frame").style.height = `${height}px`
    this.dpr = Math.min(2, globalThis.devicePixelRatio || 1)
    Object.assign(this, { wide, high, fitX: across * this.dpr, fitY: down * this.dpr })
    this.width = Math.round(width * this.dpr)
    this.height = Math.round(height * this.dpr)
    this.place(mask)
  }

  place(mask) {
    const { view } = this
    const [down, across] = this.deep ? mask.unit : [1, 1]
    const most = (CLOSEST_CELL * this.dpr) / Math.min(this.fitX / across, this.fitY / down)
    view.zoom = Math.max(1, Math.min(Math.max(1, most), view.zoom))
    view.sx = this.fitX * view.zoom
    view.sy = this.fitY * view.zoom
    const within = (at, total, seen) =>
      seen >= total ? (total - seen) / 2 : Math.max(0, Math.min(total - seen, at))
    view.x = within(view.x, this.wide, this.width / view.sx)
    view.y = within(view.y, this.high, this.height / view.sy)
    for (const figure of this.shown())
      this.pictures.get(figure.dataset.show).place(mask, view, this.width, this.height, this.near)
    this.placeMap(mask)
  }

  placeMap(mask) {
    const canvas = this.map.canvas
    canvas.hidden = this.view.zoom <= 1 || seesAll(this)
    if (canvas.hidden) return
    const scale = Math.min(MAP_SIDE / this.wide, MAP_SIDE / this.high)
    const [w, h] = [Math.max(24, this.wide * scale), Math.max(24, this.high * scale)].map(
      Math.round,
    )
    canvas.style.width = `${w}px`
    canvas.style.height = `${h}px`
    this.map.place(
      mask,
      { x: 0, y: 0, sx: (w / this.wide) * this.dpr, sy: (h / this.high) * this.dpr },
      w * this.dpr,
      h * this.dpr,
    )
  }

  zoom(mask, factor, at) {
    const { view } = this
    const [px, py] = at ?? [this.width / 2, this.height / 2]
    const [x, y] = [view.x + px / view.sx, view.y + py / view.sy]
    const before = view.zoom
    view.zoom *= factor
    this.place(mask)
    view.x = x - px / view.sx
    view.y = y - py / view.sy
    this.place(mask)
    return view.zoom !== before
  }

  move(mask, dx, dy) {
    this.view.x -= dx / this.view.sx
    this.view.y -= dy / this.view.sy
    this.place(mask)
  }

  // Device pixels within the frame that the event is over, or null.
  spot(event) {
    const frame = event.target.closest?.(".frame")
    if (!frame) return null
    const box = frame.getBoundingClientRect()
    return [(event.clientX - box.left - 1) * this.dpr, (event.clientY - box.top - 1) * this.dpr]
  }

  cellAt(mask, spot) {
    const picture = this.pictures.get(this.shown()[0].dataset.show)
    const { xs, ys } = mask === this.near ? picture.near : picture.quick
    const [col, row] = [xs[Math.floor(spot[0])], ys[Math.floor(spot[1])]]
    return col >= 0 && row >= 0 ? row * mask.cols + col : null
  }

  // Brings a cell of the mask, or of the window over it, into view.
  reveal(mask, shown, cell) {
    const { view } = this
    const { rowAt, colAt } = shown.layer
    const [x, y] = [colAt[cell % shown.cols], rowAt[Math.floor(cell / shown.cols)]]
    const nearest = (from, seen, at, side) =>
      at < from ? at : at + side > from + seen ? at + side - seen : from
    view.x = nearest(view.x, this.width / view.sx, x, shown.side[1])
    view.y = nearest(view.y, this.height / view.sy, y, shown.side[0])
    this.place(mask)
  }

  // quick: something moves, so that the next frame counts for more than the finest detail.
  draw(mask, inks, quick) {
    for (const figure of this.shown()) {
      const show = figure.dataset.show
      this.pictures.get(show).draw(mask, inks[show], quick, this.near, this.nearInks?.[show])
    }
    if (this.map.canvas.hidden) return
    this.map.draw(mask, inks[this.shown()[0].dataset.show], quick)
    const { context, canvas } = this.map
    const { x, y, sx, sy } = this.view
    const [kx, ky] = [canvas.width / this.wide, canvas.height / this.high]
    const box = [
      Math.max(0, x) * kx,
      Math.max(0, y) * ky,
      Math.min(this.wide, this.width / sx) * kx,
      Math.min(this.high, this.height / sy) * ky,
    ]
    for (const [colour, line] of [
      ["#ffffff", 4],
      [mask.layer.look.chosen, 2],
    ]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: line })
      context.strokeRect(...box)
    }
  }

  // Hand edits and the group under the pointer, above the pictures.
  drawOver(mask, cell, selected) {
    const shown = this.near ?? mask
    for (const figure of this.shown()) {
      const canvas = figure.querySelector(".over")
      Object.assign(canvas, { width: this.width, height: this.height })
      const context = canvas.getContext("2d")
      if (this.near) frame(this, context)
      if (selected !== null && shown.editable)
        outline(this, context, shown, selected, mask.layer.look.chosen, 2)
      if (cell !== null && shown.editable)
        outline(this, context, shown, shown.group(cell), "#000000", 1.5)
      if (cell !== null) ring(this, context, shown, cell)
      for (const [group, keep] of mask.edits) mark(this, context, shown, group, keep)
    }
  }

  box(mask, row, col) {
    const { rowAt, colAt } = mask.layer
    const { x, y, sx, sy } = this.view
    return [(colAt[col] - x) * sx, (rowAt[row] - y) * sy, sx * mask.side[1], sy * mask.side[0]]
  }
}

function seesAll(stage) {
  return (
    stage.view.sx * stage.wide <= stage.width + 1 && stage.view.sy * stage.high <= stage.height + 1
  )
}

// Where things are on the screen: fit, zoom, pan, the cell under the pointer, outlines and marks, the minimap.

const MOST_HEIGHT = 560
const LARGEST_CELL = 30
const CLOSEST_CELL = 56
const LEAST_SIDE = 64
const MAP_SIDE = 130

class Stage {
  constructor(element) {
    this.element = element
    this.figures = [...element.querySelectorAll("figure")]
    this.pictures = new Map(this.figures.map(figure => [figure.dataset.show, new Picture(figure.querySelector(".ink"))]))
    this.map = new Picture(element.querySelector(".map"))
    this.view = { x: 0, y: 0, zoom: 1, sx: 1, sy: 1 }
  }

  shown() {
    return this.figures.filter(figure => !figure.hidden)
  }

  // Are there finer pictures than the quick ones?
  get finer() {
    return this.shown().some(figure => this.pictures.get(figure.dataset.show).times > 1)
  }

  // Sizes of the frames and the scale at which the whole layer fits; keeps the place that is looked at.
  fit(mask) {
    const figures = this.shown()
    const room = this.element.clientWidth
    const columns = Math.max(1, Math.min(figures.length, Math.floor((room + 12) / 232)))
    this.element.style.setProperty("--panels", columns)
    const { rowAt, colAt } = mask.layer
    const [wide, high] = [colAt[colAt.length - 1] + 1, rowAt[rowAt.length - 1] + 1]
    const width = Math.max(60, Math.floor((room - 12 * (columns - 1)) / columns) - 2)
    const scale = Math.min(LARGEST_CELL, width / wide, MOST_HEIGHT / high)
    const across = Math.max(scale, Math.min(LARGEST_CELL, LEAST_SIDE / wide))
    const down = Math.max(scale, Math.min(LARGEST_CELL, LEAST_SIDE / high))
    const height = Math.round(Math.max(96, Math.min(MOST_HEIGHT, high * down + 8)))
    for (const figure of this.shown()) figure.querySelector(".frame").style.height = `${height}px`
    this.dpr = Math.min(2, globalThis.devicePixelRatio || 1)
    Object.assign(this, { wide, high, fitX: across * this.dpr, fitY: down * this.dpr })
    this.width = Math.round(width * this.dpr)
    this.height = Math.round(height * this.dpr)
    this.place(mask)
  }

  place(mask) {
    const { view } = this
    const most = (CLOSEST_CELL * this.dpr) / Math.min(this.fitX, this.fitY)
    view.zoom = Math.max(1, Math.min(Math.max(1, most), view.zoom))
    view.sx = this.fitX * view.zoom
    view.sy = this.fitY * view.zoom
    const within = (at, total, seen) => (seen >= total ? (total - seen) / 2 : Math.max(0, Math.min(total - seen, at)))
    view.x = within(view.x, this.wide, this.width / view.sx)
    view.y = within(view.y, this.high, this.height / view.sy)
    for (const figure of this.shown()) this.pictures.get(figure.dataset.show).place(mask, view, this.width, this.height)
    this.placeMap(mask)
  }

  placeMap(mask) {
    const canvas = this.map.canvas
    canvas.hidden = seesAll(this)
    if (canvas.hidden) return
    const scale = Math.min(MAP_SIDE / this.wide, MAP_SIDE / this.high)
    const [w, h] = [Math.max(24, this.wide * scale), Math.max(24, this.high * scale)].map(Math.round)
    canvas.style.width = `${w}px`
    canvas.style.height = `${h}px`
    this.map.place(mask, { x: 0, y: 0, sx: (w / this.wide) * this.dpr, sy: (h / this.high) * this.dpr }, w * this.dpr, h * this.dpr)
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
    const [col, row] = [picture.quick.xs[Math.floor(spot[0])], picture.quick.ys[Math.floor(spot[1])]]
    return col >= 0 && row >= 0 ? row * mask.cols + col : null
  }

  // Brings a cell into view.
  reveal(mask, cell) {
    const { view } = this
    const [x, y] = [mask.layer.colAt[cell % mask.cols], mask.layer.rowAt[Math.floor(cell / mask.cols)]]
    const nearest = (from, seen, at) => (at < from ? at : at + 1 > from + seen ? at + 1 - seen : from)
    view.x = nearest(view.x, this.width / view.sx, x)
    view.y = nearest(view.y, this.height / view.sy, y)
    this.place(mask)
  }

  // quick: something moves, so that the next frame counts for more than the finest detail.
  draw(mask, inks, quick) {
    for (const figure of this.shown()) this.pictures.get(figure.dataset.show).draw(mask, inks[figure.dataset.show], quick)
    if (this.map.canvas.hidden) return
    this.map.draw(mask, inks[this.shown()[0].dataset.show], quick)
    const { context, canvas } = this.map
    const { x, y, sx, sy } = this.view
    const [kx, ky] = [canvas.width / this.wide, canvas.height / this.high]
    const box = [Math.max(0, x) * kx, Math.max(0, y) * ky, Math.min(this.wide, this.width / sx) * kx, Math.min(this.high, this.height / sy) * ky]
    for (const [colour, line] of [["#ffffff", 4], [mask.layer.look.chosen, 2]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: line })
      context.strokeRect(...box)
    }
  }

  // Hand edits and the group that is pointed at, above the pictures.
  drawOver(mask, cell, selected) {
    for (const figure of this.shown()) {
      const canvas = figure.querySelector(".over")
      Object.assign(canvas, { width: this.width, height: this.height })
      const context = canvas.getContext("2d")
      if (selected !== null && mask.editable) this.outline(context, mask, selected, mask.layer.look.chosen, 2)
      if (cell !== null && mask.editable) this.outline(context, mask, mask.group(cell), "#000000", 1.5)
      if (cell !== null) this.ring(context, mask, cell)
      for (const [group, keep] of mask.edits) this.mark(context, mask, group, keep)
    }
  }

  box(mask, row, col) {
    const { rowAt, colAt } = mask.layer
    const { x, y, sx, sy } = this.view
    return [(colAt[col] - x) * sx, (rowAt[row] - y) * sy, sx, sy]
  }

  ring(context, mask, cell) {
    const [x, y, w, h] = this.box(mask, Math.floor(cell / mask.cols), cell % mask.cols)
    for (const [colour, line] of [["#ffffff", 3.5], ["#000000", 1.5]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: line })
      context.strokeRect(x - 1, y - 1, w + 2, h + 2)
    }
  }

  // The border of a group: every side of a cell beyond which another group begins.
  outline(context, mask, group, colour, thick) {
    const { rowGroup, colGroup } = mask.layer
    const same = (row, col) => rowGroup[row] + colGroup[col] === group
    const path = new Path2D()
    mask.visit(group, (row, col) => {
      const [x, y, w, h] = this.box(mask, row, col)
      if (x > this.width || y > this.height || x + w < 0 || y + h < 0) return
      const right = same(row, col + 1) ? this.box(mask, row, col + 1)[0] : x + w
      const below = same(row + 1, col) ? this.box(mask, row + 1, col)[1] : y + h
      if (!same(row - 1, col)) path.rect(x, y, right - x, 0)
      if (!same(row + 1, col)) path.rect(x, below, right - x, 0)
      if (!same(row, col - 1)) path.rect(x, y, 0, below - y)
      if (!same(row, col + 1)) path.rect(right, y, 0, below - y)
    })
    for (const [ink, line] of [["#ffffff", thick + 2], [colour, thick]]) {
      Object.assign(context, { strokeStyle: ink, lineWidth: line * this.dpr, lineJoin: "round" })
      context.stroke(path)
    }
  }

  // Kept by hand: a dot in each cell; pruned by hand: a cross. Where cells are small, one for the group's first kernel.
  mark(context, mask, group, keep) {
    const colour = mask.layer.look.chosen
    this.outline(context, mask, group, colour, 1.5)
    const path = new Path2D()
    for (const [cx, cy, radius] of this.places(mask, group)) {
      if (cx < 0 || cy < 0 || cx > this.width || cy > this.height) continue
      if (keep) path.moveTo(cx + radius, cy), path.arc(cx, cy, radius, 0, 2 * Math.PI)
      else for (const turn of [1, -1]) path.moveTo(cx - radius, cy - turn * radius), path.lineTo(cx + radius, cy + turn * radius)
    }
    for (const [ink, line] of [["#ffffff", 4.5], [colour, 2.2]]) {
      Object.assign(context, { strokeStyle: ink, fillStyle: ink, lineWidth: line * this.dpr })
      context.stroke(path)
      if (keep) context.fill(path)
    }
  }

  // Middles and radii of a group's marks.
  places(mask, group) {
    const [, , h, w] = mask.layer.shape
    const small = Math.min(this.view.sx, this.view.sy)
    const found = []
    let first = null
    mask.visit(group, (row, col) => {
      const [x, y, width, height] = this.box(mask, row, col)
      if (small >= 7 * this.dpr) return void found.push([x + width / 2, y + height / 2, 0.24 * small])
      first ??= { x, y, right: x, below: y, tile: [Math.floor(row / h), Math.floor(col / w)] }
      if (Math.floor(row / h) !== first.tile[0] || Math.floor(col / w) !== first.tile[1]) return
      first.right = Math.max(first.right, x + width)
      first.below = Math.max(first.below, y + height)
    })
    if (!first) return found
    const side = Math.min(first.right - first.x, first.below - first.y)
    return [[(first.x + first.right) / 2, (first.y + first.below) / 2, Math.max(2.5 * this.dpr, 0.24 * side)]]
  }
}

function seesAll(stage) {
  return stage.view.sx * stage.wide <= stage.width + 1 && stage.view.sy * stage.high <= stage.height + 1
}

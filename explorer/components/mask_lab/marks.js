// Marks above the pictures: the cell under the pointer, borders of groups, hand edits. They ask the
// stage where cells are.

// The border of one cell.
function ring(stage, context, mask, cell) {
  const [x, y, w, h] = stage.box(mask, Math.floor(cell / mask.cols), cell % mask.cols)
  for (const [colour, line] of [
    ["#ffffff", 3.5],
    ["#000000", 1.5],
  ]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: line })
    context.strokeRect(x - 1, y - 1, w + 2, h + 2)
  }
}

// In CSS pixels: the least side of a kernel with a mark in its corner, and the mark's radius.
const CORNER_FROM = 14
const CORNER_RADIUS = 3.5

// The border of a group: every side of a cell beyond which another group begins.
function outline(stage, context, mask, group, colour, thick) {
  const { rowGroup, colGroup } = mask.layer
  const same = (row, col) => rowGroup[row] + colGroup[col] === group
  const path = new Path2D()
  mask.visit(group, (row, col) => {
    const [x, y, w, h] = stage.box(mask, row, col)
    if (x > stage.width || y > stage.height || x + w < 0 || y + h < 0) return
    const right = same(row, col + 1) ? stage.box(mask, row, col + 1)[0] : x + w
    const below = same(row + 1, col) ? stage.box(mask, row + 1, col)[1] : y + h
    if (!same(row - 1, col)) path.rect(x, y, right - x, 0)
    if (!same(row + 1, col)) path.rect(x, below, right - x, 0)
    if (!same(row, col - 1)) path.rect(x, y, 0, below - y)
    if (!same(row, col + 1)) path.rect(right, y, 0, below - y)
  })
  for (const [ink, line] of [
    ["#ffffff", thick + 2],
    [colour, thick],
  ]) {
    Object.assign(context, { strokeStyle: ink, lineWidth: line * stage.dpr, lineJoin: "round" })
    context.stroke(path)
  }
}

// Kept by hand: a dot; removed by hand: a cross. Each large kernel has a small one in its corner;
// of small kernels, only the first has one.
function mark(stage, context, mask, group, keep) {
  const colour = mask.layer.look.chosen
  outline(stage, context, mask, group, colour, 1.5)
  const path = new Path2D()
  for (const [cx, cy, radius] of markPlaces(stage, mask, group)) {
    if (cx < 0 || cy < 0 || cx > stage.width || cy > stage.height) continue
    if (keep) {
      path.moveTo(cx + radius, cy)
      path.arc(cx, cy, radius, 0, 2 * Math.PI)
      continue
    }
    for (const turn of [1, -1]) {
      path.moveTo(cx - radius, cy - turn * radius)
      path.lineTo(cx + radius, cy + turn * radius)
    }
  }
  for (const [ink, line] of [
    ["#ffffff", 4],
    [colour, 1.8],
  ]) {
    Object.assign(context, { strokeStyle: ink, fillStyle: ink, lineWidth: line * stage.dpr })
    context.stroke(path)
    if (keep) context.fill(path)
  }
}

// Middles and radii of a group's marks.
function markPlaces(stage, mask, group) {
  const boxes = boxesOf(stage, mask, group)
  const [corner, radius, edge] = [CORNER_FROM, CORNER_RADIUS, 2.5].map(size => size * stage.dpr)
  const large = boxes.filter(
    ([left, top, right, below]) => Math.min(right - left, below - top) > corner,
  )
  if (large.length)
    return large.map(([left, top]) => [
      Math.max(0, left) + radius + edge,
      Math.max(0, top) + radius + edge,
      radius,
    ])
  return boxes.slice(0, 1).map(([left, top, right, below]) => {
    const side = Math.min(right - left, below - top)
    return [(left + right) / 2, (top + below) / 2, Math.max(edge, 0.24 * side)]
  })
}

// The visible part of a group in each kernel: [left, top, right, below]; its first part if none is
// visible.
function boxesOf(stage, mask, group) {
  const [, , h, w] = mask.layer.shape
  const parts = new Map()
  mask.visit(group, (row, col) => {
    const [x, y, width, height] = stage.box(mask, row, col)
    const tile = `${Math.floor(row / h)} ${Math.floor(col / w)}`
    const [left, top, right, below] = parts.get(tile) ?? [x, y, x, y]
    parts.set(tile, [
      Math.min(left, x),
      Math.min(top, y),
      Math.max(right, x + width),
      Math.max(below, y + height),
    ])
  })
  const boxes = [...parts.values()]
  const seen = boxes.filter(
    ([left, top, right, below]) =>
      right > 0 && below > 0 && left < stage.width && top < stage.height,
  )
  return seen.length ? seen : boxes.slice(0, 1)
}

// The border of the window in which every weight is drawn.
function frame(stage, context) {
  const { near } = stage
  const [x, y] = stage.box(near, 0, 0)
  const [right, below, w, h] = stage.box(near, near.rows - 1, near.cols - 1)
  for (const [colour, dash] of [
    ["#ffffff", []],
    ["#000000", [6 * stage.dpr, 4 * stage.dpr]],
  ]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: 1.5 * stage.dpr })
    context.setLineDash(dash)
    context.strokeRect(x, y, right + w - x, below + h - y)
  }
  context.setLineDash([])
}

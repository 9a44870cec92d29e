// Marks above the pictures: the cell that is pointed at, borders of groups, hand edits. They ask the stage where cells are.

function ring(stage, context, mask, cell) {
  const [x, y, w, h] = stage.box(mask, Math.floor(cell / mask.cols), cell % mask.cols)
  for (const [colour, line] of [["#ffffff", 3.5], ["#000000", 1.5]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: line })
    context.strokeRect(x - 1, y - 1, w + 2, h + 2)
  }
}

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
  for (const [ink, line] of [["#ffffff", thick + 2], [colour, thick]]) {
    Object.assign(context, { strokeStyle: ink, lineWidth: line * stage.dpr, lineJoin: "round" })
    context.stroke(path)
  }
}

// Kept by hand: a dot in each cell; pruned by hand: a cross. Where cells are small, one for the group's first kernel.
function mark(stage, context, mask, group, keep) {
  const colour = mask.layer.look.chosen
  outline(stage, context, mask, group, colour, 1.5)
  const path = new Path2D()
  for (const [cx, cy, radius] of markPlaces(stage, mask, group)) {
    if (cx < 0 || cy < 0 || cx > stage.width || cy > stage.height) continue
    if (keep) path.moveTo(cx + radius, cy), path.arc(cx, cy, radius, 0, 2 * Math.PI)
    else for (const turn of [1, -1]) path.moveTo(cx - radius, cy - turn * radius), path.lineTo(cx + radius, cy + turn * radius)
  }
  for (const [ink, line] of [["#ffffff", 4.5], [colour, 2.2]]) {
    Object.assign(context, { strokeStyle: ink, fillStyle: ink, lineWidth: line * stage.dpr })
    context.stroke(path)
    if (keep) context.fill(path)
  }
}

// Middles and radii of a group's marks.
function markPlaces(stage, mask, group) {
  const [, , h, w] = mask.layer.shape
  const small = Math.min(stage.view.sx * mask.side[1], stage.view.sy * mask.side[0])
  const found = []
  let first = null
  mask.visit(group, (row, col) => {
    const [x, y, width, height] = stage.box(mask, row, col)
    if (small >= 7 * stage.dpr) return void found.push([x + width / 2, y + height / 2, 0.24 * small])
    first ??= { x, y, right: x, below: y, tile: [Math.floor(row / h), Math.floor(col / w)] }
    if (Math.floor(row / h) !== first.tile[0] || Math.floor(col / w) !== first.tile[1]) return
    first.right = Math.max(first.right, x + width)
    first.below = Math.max(first.below, y + height)
  })
  if (!first) return found
  const side = Math.min(first.right - first.x, first.below - first.y)
  return [[(first.x + first.right) / 2, (first.y + first.below) / 2, Math.max(2.5 * stage.dpr, 0.24 * side)]]
}

// The border of the window in which every weight is drawn.
function frame(stage, context) {
  const { near } = stage
  const [x, y] = stage.box(near, 0, 0)
  const [right, below, w, h] = stage.box(near, near.rows - 1, near.cols - 1)
  for (const [colour, dash] of [["#ffffff", []], ["#000000", [6 * stage.dpr, 4 * stage.dpr]]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: 1.5 * stage.dpr })
    context.setLineDash(dash)
    context.strokeRect(x, y, right + w - x, below + h - y)
  }
  context.setLineDash([])
}

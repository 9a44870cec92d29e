// The positions of the boxes: columns from left to right. A new line starts where only one value is
// passed on.

// In pixels.
const SIZE = {
  high: 34, // a box
  least: 8, // the width of a box without weights
  grows: 70, // what the largest layer is wider
  gap: 18, // between two columns
  pad: 10, // at the left and right edge
  label: 16, // above a box, for its name
  below: 18, // below a box, for the share kept
  narrowed: 13, // for the outputs after thinning
  lane: 78, // from one row of boxes to the next
  track: 8, // between two arrows above a line
  head: 17, // for the names of blocks
  between: 16, // between two lines
  join: 9, // the radius of a sign
}

const boxWidth = (box, most) =>
  box.role === "join"
    ? 2 * SIZE.join
    : box.role === "input"
      ? 8
      : SIZE.least + SIZE.grows * Math.sqrt(box.weights / most)

// Adds x, y, w, h and line to every box. Gives the lines, the arrows with their two boxes, and the
// width and height of the map.
function laidOut(seen, network, width, measure) {
  const columns = inColumns(seen, network, measure)
  const lines = inLines(columns, seen, Math.max(260, width) - 2 * SIZE.pad)
  lines.forEach((line, number) => {
    let x = SIZE.pad + (number ? SIZE.gap : 0)
    for (const column of line.columns) {
      for (const box of column.boxes)
        Object.assign(box, {
          line: number,
          x: x + (column.wide - box.w) / 2,
          middle: x + column.wide / 2,
          left: x,
          right: x + column.wide,
        })
      Object.assign(column, { x })
      x += column.wide + SIZE.gap
    }
    line.right = x - SIZE.gap
  })
  const arrows = seen.edges.map(([source, target]) => ({
    source: seen.boxes[source],
    target: seen.boxes[target],
  }))
  tracked(lines, arrows)
  let y = 0
  for (const line of lines) {
    line.y = y
    line.lanes = 1 + Math.max(...line.boxes.map(box => box.row))
    const top = y + line.head + (line.tracks ? SIZE.track * line.tracks + 3 : 0) + SIZE.label
    const more = line.boxes.some(box => box.widest) ? SIZE.narrowed : 0
    line.lane = SIZE.lane + more
    line.centre = top + SIZE.high / 2
    for (const box of line.boxes) box.y = top + box.row * line.lane + (SIZE.high - box.h) / 2
    line.high = top - y + (line.lanes - 1) * line.lane + SIZE.high + SIZE.below + more
    y += line.high + SIZE.between
  }
  return {
    lines,
    arrows,
    width: Math.max(...lines.map(line => line.right)) + SIZE.pad,
    height: y - SIZE.between,
  }
}

// The boxes by column, from left to right. Adds w, h and place to every box.
function inColumns({ boxes }, network, measure) {
  const columns = new Map()
  for (const box of boxes) {
    box.w = boxWidth(box, network.most)
    box.h = box.role === "join" ? 2 * SIZE.join : box.role === "input" ? 8 : SIZE.high
    if (!columns.has(box.column)) columns.set(box.column, { boxes: [], wide: 0, at: box.column })
    const column = columns.get(box.column)
    // The words below a whole layer may reach into the gap on both sides.
    const below = measure(box.whole) + 6 - SIZE.gap
    const text = box.role === "join" ? 0 : Math.max(measure(box.label), measure(box.widest), below)
    column.boxes.push(box)
    column.wide = Math.max(column.wide, box.w + (box.role === "fold" ? 12 : 0), text)
  }
  const sorted = [...columns.values()].sort((one, other) => one.at - other.at)
  sorted.forEach((column, place) => column.boxes.forEach(box => (box.place = place)))
  return sorted
}

// Lines of columns that fit the width. A line may end behind a column where only one value is
// passed on.
function inLines(columns, { boxes, edges }, width) {
  const passing = columns.map(() => new Set())
  for (const [source, target] of edges) {
    for (let place = boxes[source].place; place < boxes[target].place; place++)
      passing[place].add(source)
  }
  const pieces = []
  for (const [place, column] of columns.entries()) {
    const fresh = !place || passing[place - 1].size < 2
    if (fresh) pieces.push([])
    pieces.at(-1).push(column)
  }
  const lines = [[]]
  const wide = list => list.reduce((sum, column) => sum + column.wide + SIZE.gap, 0)
  const put = list => {
    if (
      lines.at(-1).length &&
      wide(lines.at(-1)) + wide(list) - SIZE.gap > width - (lines.length > 1 ? SIZE.gap : 0)
    )
      lines.push([])
    lines.at(-1).push(...list)
  }
  for (const unit of inBlocks(pieces)) {
    if (wide(unit.flat()) - 2 * SIZE.gap > width) unit.forEach(put)
    else put(unit.flat())
  }
  return lines.map((list, number) => {
    const own = list.flatMap(column => column.boxes)
    const last = list.at(-1).boxes[0].place
    return {
      columns: list,
      boxes: own,
      head: own.some(box => box.block >= 0) ? SIZE.head : 4,
      number,
      onward: [...passing[last]][0],
    }
  })
}

// Pieces of one block stay together where they fit.
function inBlocks(pieces) {
  const units = []
  let before = -1
  for (const piece of pieces) {
    const block = piece[0].boxes[0].block
    if (block >= 0 && block === before) units.at(-1).push(piece)
    else units.push([piece])
    before = piece.at(-1).boxes[0].block
  }
  return units
}

// Arrows that must pass over boxes of their own row run above the line: short ones below long ones,
// one track per source.
function tracked(lines, arrows) {
  for (const line of lines) {
    const held = []
    const over = arrows.filter(
      arrow => arrow.target.line === line.number && passesOver(arrow, line),
    )
    for (const arrow of over) {
      arrow.from = arrow.source.line === line.number ? arrow.source.x + arrow.source.w : 0
      arrow.to = arrow.target.middle
    }
    for (const arrow of over.sort((one, other) => one.to - one.from - (other.to - other.from))) {
      const free = spans =>
        spans.every(
          span => span.source === arrow.source || span.to < arrow.from || arrow.to < span.from,
        )
      const track = held.findIndex(free)
      arrow.track = track < 0 ? held.length : track
      if (track < 0) held.push([])
      held[arrow.track].push(arrow)
    }
    line.tracks = held.length
  }
}

// Does a straight arrow cross a box of its own row in this line?
function passesOver({ source, target }, line) {
  if (source.row !== target.row) return false
  const start = source.line === line.number ? source.place : -1
  return (
    target.place < start ||
    line.boxes.some(box => box.row === target.row && box.place > start && box.place < target.place)
  )
}

// The corners of an arrow, inside the target's line; one from an earlier line begins at the line's
// left end.
function corners(arrow, lines) {
  const { source, target } = arrow
  const line = lines[target.line]
  const here = source.line === target.line
  const from = here
    ? { x: source.x + source.w + (source.role === "fold" ? 6 : 0), y: source.y + source.h / 2 }
    : { x: SIZE.pad, y: line.centre + source.row * line.lane }
  const middle = target.y + target.h / 2
  const part = (here ? source.right : SIZE.pad) + 5
  const entry = target.left - 7
  if (arrow.track !== undefined) {
    const above = line.y + line.head + SIZE.track * (line.tracks - arrow.track) - SIZE.track / 2
    const start = [
      [from.x, from.y],
      [part, from.y],
      [part, above],
    ]
    if (target.role === "join") return [...start, [target.middle, above], [target.middle, target.y]]
    return [...start, [entry, above], [entry, middle], [target.x, middle]]
  }
  if (source.row === target.row)
    return [
      [from.x, from.y],
      [target.x, middle],
    ]
  if (source.row < target.row)
    return [
      [from.x, from.y],
      [part, from.y],
      [part, middle],
      [target.x, middle],
    ]
  if (target.role === "join")
    return [
      [from.x, from.y],
      [target.middle, from.y],
      [target.middle, target.y + target.h],
    ]
  return [
    [from.x, from.y],
    [entry, from.y],
    [entry, middle],
    [target.x, middle],
  ]
}

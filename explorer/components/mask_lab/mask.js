// Which groups go: the same rule, count for count and tie for tie, as pruning_core/masks.py.

const ALWAYS = 0xffffffff

// Python's round(): to the nearest whole number, halves to the even one.
function halfEven(x) {
  const low = Math.floor(x)
  const rest = x - low
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1
  return low % 2 === 0 ? low : low + 1
}

function removedCount(layer, ratio) {
  if (layer.keepOf !== null) return ratio === 0 ? 0 : layer.groups - layer.keepOf
  return Math.min(halfEven(ratio * layer.groups), layer.collapse ? layer.groups : Math.max(0, layer.groups - 1))
}

// The shortest run of equal numbers.
function shortestRun(numbers) {
  let [shortest, start] = [numbers.length, 0]
  for (let at = 1; at < numbers.length; at++)
    if (numbers[at] !== numbers[at - 1]) [shortest, start] = [Math.min(shortest, at - start), at]
  return Math.min(shortest, numbers.length - start)
}

// A layer with a ratio and hand edits. bar: per cell, the place of its group plus one; a cell stays while bar > removed.
class Mask {
  constructor(layer) {
    this.layer = layer
    this.rows = layer.rowAt.length
    this.cols = layer.colAt.length
    this.edits = new Map()
    this.tight = []
    this.removed = 0
    this.piece = [1, 1]
    if (layer.reduced) return
    this.bar = new Uint32Array(this.rows * this.cols).fill(ALWAYS)
    if (!layer.groups) return
    // Rows and columns of the smallest part of a group that is in one piece.
    this.piece = [layer.rowGroup, layer.colGroup].map(shortestRun)
    this.colsOf = new Map()
    layer.colGroup.forEach((number, col) => {
      if (!this.colsOf.has(number)) this.colsOf.set(number, [])
      this.colsOf.get(number).push(col)
    })
    let cell = 0
    for (let row = 0; row < this.rows; row++) {
      const start = layer.rowGroup[row]
      for (let col = 0; col < this.cols; col++, cell++) this.bar[cell] = layer.ranks[start + layer.colGroup[col]] + 1
    }
  }

  get editable() {
    return !this.layer.reduced && this.layer.groups > 0
  }

  group(cell) {
    const { rowGroup, colGroup } = this.layer
    return rowGroup[Math.floor(cell / this.cols)] + colGroup[cell % this.cols]
  }

  // Calls visit(row, col) for every cell of a group, row by row.
  visit(group, visit) {
    const { rowGroup } = this.layer
    for (let row = 0; row < this.rows; row++) {
      const cols = this.colsOf.get(group - rowGroup[row])
      if (cols) for (const col of cols) visit(row, col)
    }
  }

  raise(group, bar) {
    this.visit(group, (row, col) => {
      this.bar[row * this.cols + col] = bar
    })
  }

  place(group) {
    return this.layer.ranks[group]
  }

  // edits: Map group -> keep?
  setEdits(edits) {
    for (const group of this.edits.keys()) if (!edits.has(group)) this.raise(group, this.place(group) + 1)
    for (const rescue of this.tight) this.raise(rescue.top, this.place(rescue.top) + 1)
    this.edits = new Map(edits)
    for (const [group, keep] of this.edits) this.raise(group, keep ? ALWAYS : 0)
    this.tight = this.layer.collapse ? [] : this.scopesThatMayEmpty()
    this.cut(this.removed)
  }

  // A scope whose last groups to go are pruned by hand, none kept by hand, runs empty from some count on.
  scopesThatMayEmpty() {
    const { groups, ranks } = this.layer
    const found = []
    for (const scope of new Set([...this.edits.keys()].map(group => Math.floor(group / groups)))) {
      let highest = -1
      let top = scope * groups
      let held = false
      for (let group = scope * groups; group < (scope + 1) * groups; group++) {
        if (ranks[group] === groups - 1) top = group
        if (this.edits.get(group) === true) held = true
        if (!this.edits.has(group)) highest = Math.max(highest, ranks[group])
      }
      if (!held && this.edits.get(top) === false) found.push({ top, highest, on: false })
    }
    return found
  }

  cut(removed) {
    this.removed = removed
    for (const rescue of this.tight) {
      const on = removed > rescue.highest
      if (on !== rescue.on) this.raise(rescue.top, on ? ALWAYS : 0)
      rescue.on = on
    }
  }

  keeps(cell) {
    return this.bar[cell] > this.removed
  }

  keepsGroup(group) {
    if (this.tight.some(rescue => rescue.top === group && rescue.on)) return true
    return this.edits.get(group) ?? this.place(group) >= this.removed
  }

  // How many groups and weights are gone, hand edits included.
  counts() {
    const { scopes, groups, size } = this.layer
    let gone = scopes * this.removed
    for (const group of this.edits.keys()) gone += (this.place(group) >= this.removed) - this.keepsGroup(group)
    return { gone, groups: scopes * groups, weights: gone * size, of: this.layer.shape.reduce((a, b) => a * b, 1) }
  }

  // Share kept of a reduced cell, between the known places of its weights.
  share(cell) {
    const { places, groups } = this.layer
    if (!groups) return 1
    const cells = this.rows * this.cols
    const at = (256 * this.removed) / groups
    if (places[cell] >= at) return 1
    for (let quarter = 1; quarter < 5; quarter++) {
      const high = places[quarter * cells + cell] + 1
      if (high <= at) continue
      const low = places[(quarter - 1) * cells + cell]
      return 1 - (quarter - 1 + Math.max(0, at - low) / (high - low)) / 4
    }
    return 0
  }

  // The smallest ratio at which a group of this place goes, or null if it never does.
  goesAt(place) {
    const { groups, keepOf, collapse, fixed } = this.layer
    if (keepOf !== null) return place < groups - keepOf ? fixed : null
    return place === groups - 1 && !collapse ? null : (place + 0.5) / groups
  }
}

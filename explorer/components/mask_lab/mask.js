// Which groups are removed: the same rule as in pruning_core/masks.py, with the same counts and
// ties.

const ALWAYS = 0xffffffff

// Python's round(): to the nearest whole number, halves to the even one.
function halfEven(x) {
  const low = Math.floor(x)
  const rest = x - low
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1
  return low % 2 === 0 ? low : low + 1
}

// How many groups of each scope a ratio removes, before hand edits.
function removedCount(layer, ratio) {
  if (layer.keepOf !== null) return ratio === 0 ? 0 : layer.groups - layer.keepOf
  return Math.min(
    halfEven(ratio * layer.groups),
    layer.collapse ? layer.groups : Math.max(0, layer.groups - 1),
  )
}

// True if the ratio would remove the last group of every scope, if that were allowed.
function heldBack(layer, ratio) {
  return (
    layer.keepOf === null &&
    layer.groups > 0 &&
    Math.min(layer.groups, halfEven(ratio * layer.groups)) > removedCount(layer, ratio)
  )
}

// The shortest run of equal numbers.
function shortestRun(numbers) {
  let [shortest, start] = [numbers.length, 0]
  for (let at = 1; at < numbers.length; at++)
    if (numbers[at] !== numbers[at - 1]) [shortest, start] = [Math.min(shortest, at - start), at]
  return Math.min(shortest, numbers.length - start)
}

// A layer with a ratio and hand edits. A group's place is its rank in its scope: 0 is removed
// first. bar: per cell, the place of its group plus one; a cell stays while bar > removed. known:
// group -> place, for edited groups of a reduced layer, whose other places are not here. tight: the
// scopes that hand edits may empty.
class Mask {
  constructor(layer, known = new Map()) {
    Object.assign(this, { layer, known, edits: new Map(), tight: [], removed: 0, piece: [1, 1] })
    this.rows = layer.rowAt.length
    this.cols = layer.colAt.length
    // Weights down and across in a cell, a cell's height and width in units of rowAt and colAt, the
    // first weight's row and column.
    const [, , h, w] = layer.shape
    this.unit = layer.reduced ? [layer.factors[0] * h, layer.factors[1] * w] : [1, 1]
    this.side = layer.side ?? [1, 1]
    this.from = layer.window ? [layer.window[0] * h, layer.window[2] * w] : [0, 0]
    if (layer.reduced) return
    this.bar = new Uint32Array(this.rows * this.cols).fill(ALWAYS)
    if (layer.groups) this.lookUp()
  }

  lookUp() {
    const { layer } = this
    // Rows and columns of the smallest part of a group that is in one piece.
    this.piece = [layer.rowGroup, layer.colGroup].map(shortestRun)
    this.colsOf = new Map()
    layer.colGroup.forEach((number, col) => {
      if (!this.colsOf.has(number)) this.colsOf.set(number, [])
      this.colsOf.get(number).push(col)
    })
    if (layer.window) this.slots = new Map(this.groupsHere().map((group, slot) => [group, slot]))
    for (let cell = 0; cell < this.bar.length; cell++)
      this.bar[cell] = layer.ranks[this.slot(this.group(cell))] + 1
  }

  // The numbers of a window's groups, ascending, as its ranks and scores come.
  groupsHere() {
    const all = Float64Array.from({ length: this.bar.length }, (_, cell) => this.group(cell)).sort()
    return [...all.filter((group, at) => group !== all[at - 1])]
  }

  get editable() {
    return !this.layer.reduced && this.layer.groups > 0
  }

  group(cell) {
    const { rowGroup, colGroup } = this.layer
    return rowGroup[Math.floor(cell / this.cols)] + colGroup[cell % this.cols]
  }

  // Where the layer's ranks and scores have the group; undefined outside a window.
  slot(group) {
    return this.slots ? this.slots.get(group) : group
  }

  // Row and column of the weight in the middle of a cell, and the cell of a weight or null.
  weightAt(cell) {
    const at = [Math.floor(cell / this.cols), cell % this.cols]
    return at.map(
      (n, axis) => this.from[axis] + n * this.unit[axis] + Math.floor((this.unit[axis] - 1) / 2),
    )
  }

  cellOf(weight) {
    const [row, col] = weight.map((n, axis) => Math.floor((n - this.from[axis]) / this.unit[axis]))
    return row >= 0 && col >= 0 && row < this.rows && col < this.cols ? row * this.cols + col : null
  }

  // Calls visit(row, col) for every cell of a group, row by row.
  visit(group, visit) {
    if (!this.colsOf) return
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
    return this.layer.ranks?.[this.slot(group)] ?? this.known.get(group)
  }

  // edits: Map group -> keep?
  setEdits(edits) {
    for (const group of this.edits.keys())
      if (!edits.has(group)) this.raise(group, this.place(group) + 1)
    for (const rescue of this.tight) this.raise(rescue.top, this.place(rescue.top) + 1)
    this.edits = new Map(edits)
    for (const [group, keep] of this.edits) this.raise(group, keep ? ALWAYS : 0)
    this.tight = this.layer.collapse ? [] : this.scopesThatMayEmpty()
    this.remove(this.removed)
  }

  // A scope becomes empty from some count on if its highest groups are pruned by hand and none is
  // kept by hand.
  scopesThatMayEmpty() {
    const { groups } = this.layer
    const scopes = new Map()
    for (const [group, keep] of this.edits) {
      const scope = Math.floor(group / groups)
      if (!scopes.has(scope)) scopes.set(scope, { held: false, places: new Map() })
      scopes.get(scope).held ||= keep
      scopes.get(scope).places.set(this.place(group), group)
    }
    const tight = []
    for (const { held, places } of scopes.values()) {
      let highest = groups - 1
      while (places.has(highest)) highest--
      if (!held && highest < groups - 1)
        tight.push({ top: places.get(groups - 1), highest, on: false })
    }
    return tight
  }

  remove(removed) {
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

  // How many groups of a scope these edits keep, without the rule that one always stays.
  left(scope, edits) {
    let left = this.layer.groups - this.removed
    for (const [group, keep] of edits)
      if (Math.floor(group / this.layer.groups) === scope && this.place(group) !== undefined)
        left += keep - (this.place(group) >= this.removed)
    return left
  }

  // How many groups and weights are removed, with the hand edits whose ranks are known.
  counts() {
    const { scopes, groups, size } = this.layer
    let removed = scopes * this.removed
    for (const group of this.edits.keys())
      if (this.place(group) !== undefined)
        removed += (this.place(group) >= this.removed) - this.keepsGroup(group)
    return {
      removed,
      groups: scopes * groups,
      weights: removed * size,
      of: this.layer.shape.reduce((a, b) => a * b, 1),
    }
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

  // The smallest ratio at which the group of this rank is removed; null if it is never removed.
  removedAt(place) {
    const { groups, keepOf, collapse, fixed } = this.layer
    if (keepOf !== null) return place < groups - keepOf ? fixed : null
    return place === groups - 1 && !collapse ? null : (place + 0.5) / groups
  }
}

// The visible graph of the network: boxes and arrows, with repeated blocks folded into one box.

// What Python sends of a node, in this order.
const FIELDS = ["role", "label", "title", "weights", "column", "row", "block", "name", "outputs"]

class Network {
  constructor(map) {
    this.nodes = map.nodes.map((node, index) =>
      Object.fromEntries([["index", index], ...FIELDS.map((field, at) => [field, node[at]])]),
    )
    this.layers = this.nodes.filter(node => node.role === "layer")
    this.layers.forEach((layer, place) => (layer.place = place))
    this.byName = new Map(this.layers.map(layer => [layer.name, layer]))
    this.edges = map.edges
    this.blocks = map.blocks
    this.runs = map.repeats
    this.traced = map.traced
    this.look = map.look
    this.runOf = new Map(this.runs.flatMap(run => run.map(block => [block, run])))
    this.most = Math.max(1, ...this.layers.map(layer => layer.weights))
  }

  // Blocks in a row that are folded into one box: at least two, none of them open.
  folds(open) {
    const folds = []
    for (const run of this.runs) {
      let part = []
      for (const block of [...run, null]) {
        if (block !== null && !open.has(block)) part.push(block)
        else {
          if (part.length > 1) folds.push(part)
          part = []
        }
      }
    }
    return folds
  }

  // Boxes in the order of the data, and arrows between their numbers. open: the blocks that are not
  // to be folded.
  seen(open) {
    const foldOf = new Map(this.folds(open).flatMap(part => part.map(block => [block, part])))
    const boxes = []
    const boxOf = []
    const made = new Map()
    for (const node of this.nodes) {
      const part = foldOf.get(node.block)
      let box = made.get(part)
      if (!part || !box) {
        box = part
          ? this.fold(part)
          : { ...node, id: node.name, layers: node.role === "layer" ? [node] : [] }
        box.at = boxes.push(box) - 1
        if (part) made.set(part, box)
      }
      if (part && node.role === "layer") box.layers.push(node)
      if (part && node.column < box.column)
        Object.assign(box, { column: node.column, row: node.row })
      boxOf[node.index] = box.at
    }
    for (const box of boxes)
      if (box.role === "fold")
        box.weights = box.layers.reduce((sum, layer) => sum + layer.weights, 0) / box.count
    const edges = new Map()
    for (const [source, target] of this.edges) {
      const pair = [boxOf[source], boxOf[target]]
      if (pair[0] !== pair[1]) edges.set(pair.join(), pair)
    }
    return { boxes, edges: [...edges.values()] }
  }

  // The box of several blocks in a row. Its layers, weights and place are set by `seen`.
  fold(part) {
    const [first, last] = [this.blocks[part[0]], this.blocks[part.at(-1)]]
    const label = `${first}–${last.match(/\d*$/)[0] || last}`
    return {
      role: "fold",
      id: `fold ${label}`,
      label,
      blocks: part,
      count: part.length,
      layers: [],
      column: Infinity,
      row: 0,
      block: -1,
    }
  }

  // Signs of the joins with their words, each once.
  signs() {
    return [
      ...new Map(
        this.nodes.filter(node => node.role === "join").map(node => [node.label, node.title]),
      ),
    ]
  }
}

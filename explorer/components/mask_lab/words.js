// What the lab says: numbers, the cell that is pointed at, the layer in a sentence.

const number = x => (x === 0 ? "0" : Number(x.toPrecision(4)).toString().replace("-", "−"))

function sentence(layer) {
  const [o, i, h, w] = layer.shape
  const form = h * w === 1 ? `a matrix of ${o} outputs by ${i} inputs` : `${o} filters by ${i} channels of ${h} by ${w}`
  return `${layer.name}: ${form}. Arrow keys move from cell to cell, Enter keeps or prunes a group by hand, plus and minus zoom.`
}

// Where a cell is, what it is worth, and when it goes: [label, value] pairs.
function facts(mask, cell) {
  const { layer } = mask
  const [row, col] = [Math.floor(cell / mask.cols), cell % mask.cols]
  if (layer.reduced) return blockFacts(mask, cell, row, col)
  const [, , h, w] = layer.shape
  const kernel = h * w > 1 ? [["row", row % h], ["column", col % w]] : []
  const found = [["filter", Math.floor(row / h)], ["channel", Math.floor(col / w)], ...kernel]
  found.push(["weight", number(layer.values[cell] * layer.valuesScale[0])])
  if (!layer.groups) return found
  const group = mask.group(cell)
  const place = mask.place(group)
  found.push(["group score", number(layer.scores[group] * layer.scoresScale[0])])
  const scope = layer.scopes > 1 ? ` in scope ${whole(Math.floor(group / layer.groups))}` : ""
  found.push(["rank", `${whole(place + 1)} of ${whole(layer.groups)}${scope}, lowest first`])
  const hand = mask.edits.has(group)
  found.push(["", `${mask.keepsGroup(group) ? "kept" : "pruned"}${hand ? " by hand" : ""}`])
  const at = mask.goesAt(place)
  const when = layer.keepOf === null ? (at === null ? "never" : `at ${percent(at, 2)}`) : `${at === null ? "never" : "always"} at ${layer.label}`
  return [...found, [hand ? "without the edit it goes" : "goes", when]]
}

function blockFacts(mask, cell, row, col) {
  const { layer } = mask
  const [down, across] = layer.factors
  const run = (start, step, end) => (step > 1 ? `${start} to ${Math.min(end, start + step) - 1}` : `${start}`)
  const found = [["filters", run(row * down, down, layer.shape[0])], ["channels", run(col * across, across, layer.shape[1])]]
  found.push(["mean |weight|", number((layer.values[cell] / 255) * layer.limit)])
  return layer.groups ? [...found, ["kept, about", percent(mask.share(cell), 0)]] : found
}

function countWords(mask) {
  const { gone, groups, weights, of } = mask.counts()
  const hand = mask.edits.size ? ` · ${mask.edits.size} by hand` : ""
  const single = mask.layer.size === 1 ? "" : `<b>${whole(gone)}</b> of ${whole(groups)} groups · `
  return `gone: ${single}<b>${whole(weights)}</b> of ${whole(of)} weights (${percent(weights / of)})${hand}`
}

function noteWords(layer) {
  if (!layer.reduced) return ""
  const [down, across] = layer.factors
  return `Reduced: a cell stands for ${down} × ${across} filters × channels and shows their mean |weight|; the share of it that goes
    is drawn to about 1%, the counts above are exact. Hand edits need a smaller layer.`
}

// The texts of the lab: numbers, the cell under the pointer, the layer in a sentence.

const number = x => (x === 0 ? "0" : Number(x.toPrecision(4)).toString().replace("-", "−"))

function sentence(layer, deep) {
  const [o, i, h, w] = layer.shape
  const form = h * w === 1 ? `a matrix of ${o} outputs by ${i} inputs` : `${o} filters by ${i} channels of ${h} by ${w}`
  const hand = layer.groups ? ", Enter keeps or prunes a group by hand" : ""
  const block = `Each cell stands for ${layer.factors.join(" by ")} ${names(layer).join("s by ")}s`
  const reduced = layer.reduced ? ` ${block}${deep ? "; zoom in for single weights" : ""}.` : ""
  return `${layer.name}: ${form}.${reduced} Arrow keys move from cell to cell${layer.reduced && !deep ? "" : hand}, plus and minus zoom.`
}

// What the rows and columns of the picture are: a matrix has outputs and inputs, a convolution filters and channels.
const names = layer => (/^(linear|attention)/.test(layer.kind) ? ["output", "input"] : ["filter", "channel"])

// The part of an attention layer's heads that a row or column is in.
function head(layer, [o, i]) {
  const { kind, heads, shape } = layer
  if (!heads) return []
  if (kind === "attention_out") return [["head", Math.floor((i * heads) / shape[1])]]
  const size = shape[0] / (kind === "attention_in" ? 3 : 1)
  const part = kind === "attention_in" ? ["query ", "key ", "value "][Math.floor(o / size)] : ""
  return [["head", `${Math.floor(((o % size) * heads) / size)}${part && `, ${part.trim()}`}`]]
}

// A cell's position, weight, score and rank, and when it is removed: [label, value] pairs.
function facts(mask, cell) {
  const { layer } = mask
  if (layer.reduced) return blockFacts(mask, cell, Math.floor(cell / mask.cols), cell % mask.cols)
  const [row, col] = mask.weightAt(cell)
  const [, , h, w] = layer.shape
  const kernel = h * w > 1 ? [["row", row % h], ["column", col % w]] : []
  const at = [Math.floor(row / h), Math.floor(col / w)]
  const found = [...names(layer).map((name, axis) => [name, at[axis]]), ...kernel, ...head(layer, at)]
  found.push(["weight", number(layer.values[cell] * layer.valuesScale[0])])
  if (!layer.groups) return found
  const group = mask.group(cell)
  const place = mask.place(group)
  found.push(["group score", number(layer.scores[mask.slot(group)] * layer.scoresScale[0])])
  const scope = layer.scopes > 1 ? ` in scope ${whole(Math.floor(group / layer.groups))}` : ""
  found.push(["rank", `${whole(place + 1)} of ${whole(layer.groups)}${scope}, lowest first`])
  const from = mask.removedAt(place)
  const removed = `${mask.edits.has(group) ? "without the edit " : ""}${from === null ? "never removed" : "removed"}`
  const when = layer.keepOf === null ? (from === null ? "" : `at ${percent(from, 2)}`) : `at ${layer.label}`
  return [...found, ["", state(mask, group)], [removed, when]]
}

const LAST = "The last group of a scope is kept. To allow its removal: More settings, A layer may collapse."

function state(mask, group) {
  const word = keep => (keep ? "kept" : "removed")
  const edit = mask.edits.get(group)
  const kept = mask.keepsGroup(group)
  if (edit === undefined) return word(kept)
  return `${word(edit)} by hand${kept === edit ? "" : ", but kept: it is the last group of its scope"}`
}

function blockFacts(mask, cell, row, col) {
  const { layer } = mask
  const [down, across] = layer.factors
  const run = (start, step, end) => (step > 1 ? `${start} to ${Math.min(end, start + step) - 1}` : `${start}`)
  const [first, second] = names(layer)
  const found = [[`${first}s`, run(row * down, down, layer.shape[0])], [`${second}s`, run(col * across, across, layer.shape[1])]]
  found.push(["mean |weight|", number((layer.values[cell] / 255) * layer.limit)])
  return layer.groups ? [...found, ["kept, about", percent(mask.share(cell), 0)]] : found
}

// held: the ratio would remove the last groups too.
function countWords(mask, held) {
  const { removed, groups, weights, of } = mask.counts()
  const count = mask.edits.size
  const unknown = [...mask.edits.keys()].some(group => mask.place(group) === undefined)
  const hand = count ? ` · ${whole(count)} by hand${unknown ? ", not counted here" : ""}` : ""
  const single = mask.layer.size === 1 ? "" : `<b>${whole(removed)}</b> of ${whole(groups)} groups · `
  const last = held || mask.tight.some(rescue => rescue.on)
  const rescued = last ? ` · ${mask.layer.scopes > 1 ? "one group per scope" : "the last group"} is kept` : ""
  return `removed: ${single}<b>${whole(weights)}</b> of ${whole(of)} weights (${percent(weights / of)})${hand}${rescued}`
}

// near: the window in which every weight is drawn; asked: a new window is being fetched.
function noteWords(layer, deep, near, asked) {
  if (!layer.reduced) return ""
  const [first, second] = names(layer)
  const [down, across] = layer.factors
  const block = `a cell stands for ${down} × ${across} ${first}s × ${second}s and shows their mean |weight|`
  const share = layer.groups ? "; its removed share is drawn to about 1%, the counts above are exact" : ""
  const fetching = asked ? " Fetching single weights …" : ""
  if (near) {
    const [top, , left] = near.layer.window.map(whole)
    const [last, end] = [near.layer.window[1] - 1, near.layer.window[3] - 1].map(whole)
    return `Full detail inside the dashed frame: ${first}s ${top} to ${last}, ${second}s ${left} to ${end}, every weight.
      Reduced outside: ${block}.${fetching}`
  }
  const hand = layer.groups ? " and hand edits" : ""
  const how = deep ? `Zoom in for single weights${hand}.` : layer.groups ? "Hand edits need a smaller layer." : ""
  return `Reduced: ${block}${share}.${fetching || ` ${how}`}`
}

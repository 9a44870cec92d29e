// The texts of the lab: numbers, the cell under the pointer, the layer in a sentence.

const number = x => (x === 0 ? "0" : Number(x.toPrecision(4)).toString().replace("-", "−"))

function sentence(layer, deep) {
  const [o, i, h, w] = layer.shape
  const { name } = layer
  const form =
    h * w === 1 ? worded("a_matrix", { name, o, i }) : worded("a_conv", { name, o, i, h, w })
  const block = layer.reduced ? [worded(deep ? "a_deep_block" : "a_block", cellWords(layer))] : []
  const edit = layer.groups && (deep || !layer.reduced)
  return [form, ...block, worded(edit ? "arrows_edit" : "arrows")].join(" ")
}

// What the rows and columns of the picture are: a matrix has outputs and inputs, a convolution
// filters and channels.
const names = layer =>
  /^(linear|attention)/.test(layer.kind) ? ["output", "input"] : ["filter", "channel"]

// How much a cell of a reduced layer stands for.
function cellWords(layer) {
  const [down, across] = layer.factors
  const [rows, columns] = names(layer).map(name => worded(`${name}s`))
  return { down, across, rows, columns }
}

// A text as its label and its value; the label is "" where there is none.
function pair(key, values) {
  const text = worded(key, values)
  const end = text.indexOf(" | ")
  return end < 0 ? ["", text] : [text.slice(0, end), text.slice(end + 3)]
}

// The part of an attention layer's heads that a row or column is in.
function head(layer, [o, i]) {
  const { kind, heads, shape } = layer
  if (!heads) return []
  if (kind === "attention_out") return [pair("head_at", { n: Math.floor((i * heads) / shape[1]) })]
  const size = shape[0] / (kind === "attention_in" ? 3 : 1)
  const key =
    kind === "attention_in"
      ? ["head_query", "head_key", "head_value"][Math.floor(o / size)]
      : "head_at"
  return [pair(key, { n: Math.floor(((o % size) * heads) / size) })]
}

// A cell's position, weight, score and rank, and when it is removed: [label, value] pairs.
function facts(mask, cell) {
  const { layer } = mask
  if (layer.reduced) return blockFacts(mask, cell, Math.floor(cell / mask.cols), cell % mask.cols)
  const [row, col] = mask.weightAt(cell)
  const [, , h, w] = layer.shape
  const kernel =
    h * w > 1 ? [pair("row_at", { n: row % h }), pair("column_at", { n: col % w })] : []
  const at = [Math.floor(row / h), Math.floor(col / w)]
  const pairs = [
    ...names(layer).map((name, axis) => pair(`${name}_at`, { n: at[axis] })),
    ...kernel,
    ...head(layer, at),
  ]
  pairs.push(pair("weight", { number: number(layer.values[cell] * layer.valuesScale[0]) }))
  if (!layer.groups) return pairs
  const group = mask.group(cell)
  const place = mask.place(group)
  const score = pair("score", {
    number: number(layer.scores[mask.slot(group)] * layer.scoresScale[0]),
  })
  const ranks = {
    place: whole(place + 1),
    groups: whole(layer.groups),
    scope: whole(Math.floor(group / layer.groups)),
  }
  const rank = pair(layer.scopes > 1 ? "rank_in" : "rank", ranks)
  return [...pairs, score, rank, ["", state(mask, group)], removalAt(mask, group, place)]
}

// The ratio from which the group is removed, without the edit by hand.
function removalAt(mask, group, place) {
  const { layer } = mask
  const from = mask.removedAt(place)
  const share = layer.keepOf !== null ? layer.label : from === null ? null : percent(from, 2)
  const key = `${from === null ? "never" : "removed"}${share === null ? "" : "_at"}`
  return pair(`${mask.edits.has(group) ? "unedited_" : ""}${key}`, { share })
}

function state(mask, group) {
  const edit = mask.edits.get(group)
  const kept = mask.keepsGroup(group)
  if (edit === undefined) return worded(kept ? "kept" : "removed")
  return worded(edit ? "kept_by_hand" : kept ? "last_of_scope" : "removed_by_hand")
}

function blockFacts(mask, cell, row, col) {
  const { layer } = mask
  const [down, across] = layer.factors
  const run = (start, step, end) =>
    step > 1 ? worded("run", { first: start, last: Math.min(end, start + step) - 1 }) : start
  const runs = [run(row * down, down, layer.shape[0]), run(col * across, across, layer.shape[1])]
  const pairs = names(layer).map((name, axis) => pair(`${name}s_at`, { run: runs[axis] }))
  pairs.push(pair("mean", { number: number((layer.values[cell] / 255) * layer.limit) }))
  return layer.groups
    ? [...pairs, pair("kept_about", { share: percent(mask.share(cell), 0) })]
    : pairs
}

// held: the ratio would remove the last groups too.
function countWords(mask, held) {
  const { removed, groups, weights, of } = mask.counts()
  const count = mask.edits.size
  const unknown = [...mask.edits.keys()].some(group => mask.place(group) === undefined)
  const single = mask.layer.size === 1
  const parts = single
    ? []
    : [worded("count_groups", { removed: whole(removed), groups: whole(groups) })]
  const values = { weights: whole(weights), of: whole(of), share: percent(weights / of) }
  parts.push(worded(single ? "count_weights" : "count_of_groups", values))
  if (count) parts.push(worded(unknown ? "by_hand_unknown" : "by_hand", { n: whole(count) }))
  if (held || mask.tight.some(rescue => rescue.on))
    parts.push(worded(mask.layer.scopes > 1 ? "rescued_each" : "rescued"))
  return parts.join(" · ")
}

// near: the window in which every weight is drawn; asked: a new window is being fetched.
function noteWords(layer, deep, near, asked) {
  if (!layer.reduced) return ""
  const cell = cellWords(layer)
  const fetching = asked ? [worded("fetching")] : []
  if (near) {
    const { window } = near.layer
    const [top, bottom, left, right] = [window[0], window[1] - 1, window[2], window[3] - 1].map(
      whole,
    )
    return [
      worded("near", { ...cell, top, bottom, left, right }),
      worded("outside", cell),
      ...fetching,
    ].join(" ")
  }
  const more = deep ? (layer.groups ? "deeper_edit" : "deeper") : layer.groups ? "too_large" : null
  const how = asked || !more ? fetching : [worded(more)]
  return [worded(layer.groups ? "reduced_share" : "reduced", cell), ...how].join(" ")
}

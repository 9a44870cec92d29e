// Boxes, arrows and words as SVG text.

const escaped = text => String(text).replace(/[&<>"]/g, sign => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign])
const px = number => String(Math.round(10 * number) / 10)

// A path with rounded corners.
function path(points, radius = 5) {
  const parts = [`M${px(points[0][0])} ${px(points[0][1])}`]
  for (let at = 1; at < points.length - 1; at++) {
    const [[ax, ay], [x, y], [bx, by]] = points.slice(at - 1, at + 2)
    const before = Math.min(radius, Math.hypot(x - ax, y - ay) / 2)
    const after = Math.min(radius, Math.hypot(bx - x, by - y) / 2)
    const toward = (px_, py_, far) => {
      const length = Math.hypot(px_ - x, py_ - y) || 1
      return `${px(x + ((px_ - x) / length) * far)} ${px(y + ((py_ - y) / length) * far)}`
    }
    parts.push(`L${toward(ax, ay, before)}Q${px(x)} ${px(y)} ${toward(bx, by, after)}`)
  }
  parts.push(`L${px(points.at(-1)[0])} ${px(points.at(-1)[1])}`)
  return parts.join("")
}

// Everything, back to front. state: {chosen, focus, kept, hurts, opened(run)}.
function drawn(seen, layout, network, state) {
  const parts = [DEFS, ...layout.lines.flatMap(line => backgrounds(line, network, state))]
  for (const arrow of layout.arrows) parts.push(`<path class="arrow" d="${path(corners(arrow, layout.lines))}" marker-end="url(#tip)"/>`)
  for (const line of layout.lines) if (line.onward !== undefined && line.number + 1 < layout.lines.length) parts.push(turn(line, layout, seen.boxes[line.onward]))
  for (const box of seen.boxes) parts.push(PICTURES[box.role](box, network, state))
  return parts.join("")
}

const DEFS = `<defs><marker id="tip" viewBox="0 0 6 6" refX="5.2" refY="3" markerWidth="6" markerHeight="6" orient="auto"><path class="tip" d="M0 .4 5.6 3 0 5.6z"/></marker>
  <pattern id="gone" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hatch" d="M0 0V5"/></pattern></defs>`

// From the end of a line to the start of the next.
function turn(line, layout, source) {
  const next = layout.lines[line.number + 1]
  const [x, y] = source.line === line.number ? [source.x + source.w + (source.role === "fold" ? 6 : 0), source.y + source.h / 2] : [SIZE.pad, line.centre]
  const out = Math.max(x, line.right) + 8
  const between = next.y - SIZE.between / 2
  const enter = next.centre + source.row * next.lane
  return `<path class="turn" d="${path([[x, y], [out, y], [out, between], [3, between], [3, enter], [SIZE.pad, enter]], 7)}"/>`
}

function backgrounds(line, network, state) {
  const spans = []
  for (const column of line.columns) {
    const block = column.boxes[0].block
    if (block >= 0 && spans.at(-1)?.block === block) spans.at(-1).columns.push(column)
    else spans.push({ block, columns: [column] })
  }
  return spans.filter(span => span.block >= 0).map(({ block, columns }) => {
    const x = columns[0].x - 7
    const wide = columns.at(-1).x + columns.at(-1).wide + 7 - x
    const lanes = Math.max(...columns.flatMap(column => column.boxes.map(box => box.row)))
    const high = line.high - (line.lanes - 1 - lanes) * line.lane
    const closes = state.closes(block)
    const name = `${closes ? "− " : ""}${network.blocks[block]}`
    const label = `<text class="block" x="${px(x + 7)}" y="${px(line.y + 12)}">${escaped(fitted(name, wide - 12, state.measure))}</text>`
    const area = `<rect class="area" x="${px(x)}" y="${px(line.y)}" width="${px(wide)}" height="${px(high)}" rx="7"/>`
    if (!closes) return area + label
    return `${area}<g class="close" data-close="${block}"><title>${escaped(worded("close"))}</title><rect x="${px(x)}" y="${px(line.y)}" width="${px(wide)}" height="16" rx="7"/>${label}</g>`
  })
}

function fitted(text, room, measure) {
  if (measure(text) <= room) return text
  let length = text.length
  while (length > 2 && measure(`${text.slice(0, length)}…`) > room) length--
  return `${text.slice(0, length)}…`
}

const PICTURES = {
  input: box => `<g class="input" aria-hidden="true"><circle cx="${px(box.x + 4)}" cy="${px(box.y + 4)}" r="4"/><text x="${px(box.middle)}" y="${px(box.y - 10)}">${escaped(worded("input"))}</text></g>`,
  join: box => {
    const [x, y] = [px(box.middle), box.y + SIZE.join]
    return `<g class="join" aria-hidden="true"><title>${escaped(box.title)}</title><circle cx="${x}" cy="${px(y)}" r="${SIZE.join}"/><text x="${x}" y="${px(y + 4.5)}">${box.label}</text></g>`
  },
  layer: option,
  fold: option,
}

function option(box, network, state) {
  const { x, y, w, h } = box
  const share = keptShare(box, state.kept)
  const classes = ["box", box.role, box.id === state.chosen && "chosen", share === null && "whole"].filter(Boolean).join(" ")
  const full = share ?? 1
  const shown = share === null ? worded("not_pruned") : percent(share, 0)
  const parts = []
  if (box.role === "fold") for (const step of [6, 3]) parts.push(`<rect class="behind" x="${px(x + step)}" y="${px(y - step)}" width="${px(w)}" height="${h}" rx="3"/>`)
  parts.push(`<rect class="back" x="${px(x)}" y="${px(y)}" width="${px(w)}" height="${h}" rx="3"/>`)
  parts.push(`<rect class="gone" x="${px(x)}" y="${px(y)}" width="${px(w)}" height="${h}" rx="3"/>`)
  parts.push(`<rect class="kept" x="${px(x)}" y="${px(y + h * (1 - full))}" width="${px(w)}" height="${px(h * full)}"/>`)
  parts.push(`<rect class="edge" x="${px(x)}" y="${px(y)}" width="${px(w)}" height="${h}" rx="3"/>`)
  const sensitivity = mark(box, state)
  parts.push(sensitivity)
  if (box.role === "fold") parts.push(badge(box))
  const text = box.id === state.chosen ? "label strong" : "label"
  parts.push(`<text class="${text}" x="${px(box.middle)}" y="${px(y - (box.role === "fold" ? 10 : 6))}"> ${escaped(box.label)}</text>`)
  parts.push(`<text class="share" x="${px(box.middle)}" y="${px(y + h + 15)}"> ${shown}</text>`)
  if (box.narrowed) parts.push(`<text class="narrowed" x="${px(box.middle)}" y="${px(y + h + 15 + SIZE.narrowed)}"> ${box.narrowed}</text>`)
  const ring = `<rect class="ring" x="${px(x - 4)}" y="${px(y - 4)}" width="${px(w + 8 + (sensitivity ? 4.5 : 0))}" height="${h + 8}" rx="6"/>`
  const reach = Math.max(w, 40)
  const hit = `<rect class="hit" x="${px(box.middle - reach / 2)}" y="${px(y - SIZE.label)}" width="${px(reach)}" height="${h + SIZE.label + SIZE.below + (box.narrowed ? SIZE.narrowed : 0)}"/>`
  const words = escaped(sentenceOf(box, state))
  // The name starts with the words of the picture: people who speak to the computer say these.
  const name = [box.role === "fold" ? `× ${box.count}` : "", escaped(box.label), shown, box.narrowed].filter(Boolean).join(" ")
  const focus = box.id === state.focus ? 0 : -1
  return `<g class="${classes}" role="option" tabindex="${focus}" data-id="${escaped(box.id)}" aria-selected="${box.id === state.chosen}" aria-label="${name} · ${words}">${hit}${parts.join("")}${ring}</g>`
}

// Sensitivity: a bar on the right edge, as high as the accuracy lost, the most sensitive layer's being full.
function mark(box, state) {
  const lost = hurt(box, state)
  if (lost === null || lost <= 0 || !state.worst) return ""
  const high = Math.max(3, (SIZE.high * lost) / state.worst)
  return `<rect class="hurts" x="${px(box.x + box.w + 1.5)}" y="${px(box.y + box.h - high)}" width="5" height="${px(high)}" rx="1.5"/>`
}

function badge(box) {
  const [x, y] = [box.middle, box.y + box.h / 2]
  const half = 10 + 3.4 * String(box.count).length
  return `<rect class="badge" x="${px(x - half)}" y="${px(y - 9)}" width="${px(2 * half)}" height="18" rx="9"/><text class="times" x="${px(x)}" y="${px(y + 4.5)}">× ${box.count}</text>`
}

// The share of kept weights over all layers of a box that can be pruned; null if there is none.
function keptShare(box, kept) {
  const able = box.layers.filter(layer => kept[layer.place] !== null)
  const weights = able.reduce((sum, layer) => sum + layer.weights, 0)
  return weights ? able.reduce((sum, layer) => sum + layer.weights * kept[layer.place], 0) / weights : null
}

// Words for the outputs of a layer before and after thinning, "" where it stays as wide; and the room that any such words need.
function withOutputs(box, outputs) {
  const after = box.role === "layer" ? outputs[box.place] : null
  const words = count => `${whole(box.outputs)} → ${whole(count)}`
  box.narrowed = after === null || after === box.outputs ? "" : words(after)
  box.room = after === null ? "" : words(box.outputs)
}

// The sensitivity of the box's most sensitive layer.
function hurt(box, state) {
  const known = box.layers.map(layer => state.hurts?.[layer.place] ?? null).filter(lost => lost !== null)
  return known.length ? Math.max(...known) : null
}

function sentenceOf(box, state) {
  const share = keptShare(box, state.kept)
  const lost = hurt(box, state)
  const folded = box.role === "fold"
  const what = folded
    ? worded("fold", { label: box.label, count: box.count, layers: box.layers.length, weights: whole(box.weights * box.count) })
    : box.title
  const parts = [what, share === null ? worded("unprunable") : worded("kept", { share: percent(share) })]
  if (box.narrowed) parts.push(worded("narrowed", { widths: box.narrowed }))
  if (lost !== null) parts.push(worded(folded ? "fold_alone" : "alone", { cut: state.cutAt, lost: points(lost, state.value) }))
  if (folded) parts.push(worded("opens"))
  return parts.join(" · ")
}

const points = (lost, value) => {
  const sign = (lost > 0) === value.rises ? "−" : "+"
  return sign + (value.percent ? worded("points", { n: Math.abs(100 * lost).toFixed(1) }) : Math.abs(lost).toPrecision(3))
}

// Boxes, arrows and words as SVG text.

const escaped = text =>
  String(text).replace(
    /[&<>"]/g,
    sign => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign],
  )
const px = number => String(Math.round(10 * number) / 10)

// One SVG element as text. Numbers are rounded to 0.1 px; other values and the content are escaped
// already.
function tag(name, attributes, ...content) {
  const shown = value => (typeof value === "number" ? px(value) : value)
  const start = Object.entries(attributes).map(([key, value]) => ` ${key}="${shown(value)}"`)
  const end = content.length ? `>${content.join("")}</${name}>` : "/>"
  return `<${name}${start.join("")}${end}`
}

const rectangle = (kind, x, y, width, height, rx) =>
  tag("rect", { class: kind, x, y, width, height, ...(rx && { rx }) })
const circle = (cx, cy, r) => tag("circle", { cx, cy, r })
// kind: a class, or "" for none.
const label = (kind, x, y, text) => tag("text", { ...(kind && { class: kind }), x, y }, text)

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

// Everything, back to front. state: {chosen, focus, kept, hurts, worst, cutAt, value,
// measure(text), closes(block)}.
function drawn(seen, layout, network, state) {
  const parts = [DEFS, ...layout.lines.flatMap(line => backgrounds(line, network, state))]
  for (const arrow of layout.arrows)
    parts.push(
      tag("path", {
        class: "arrow",
        d: path(corners(arrow, layout.lines)),
        "marker-end": "url(#tip)",
      }),
    )
  for (const line of layout.lines)
    if (line.onward !== undefined && line.number + 1 < layout.lines.length)
      parts.push(turn(line, layout, seen.boxes[line.onward]))
  for (const box of seen.boxes) parts.push(PICTURES[box.role](box, network, state))
  return parts.join("")
}

const DEFS = tag(
  "defs",
  {},
  tag(
    "marker",
    {
      id: "tip",
      viewBox: "0 0 6 6",
      refX: 5.2,
      refY: 3,
      markerWidth: 6,
      markerHeight: 6,
      orient: "auto",
    },
    tag("path", { class: "tip", d: "M0 .4 5.6 3 0 5.6z" }),
  ),
  tag(
    "pattern",
    {
      id: "gone",
      width: 5,
      height: 5,
      patternUnits: "userSpaceOnUse",
      patternTransform: "rotate(45)",
    },
    tag("path", { class: "hatch", d: "M0 0V5" }),
  ),
)

// From the end of a line to the start of the next.
function turn(line, layout, source) {
  const next = layout.lines[line.number + 1]
  const [x, y] =
    source.line === line.number
      ? [source.x + source.w + (source.role === "fold" ? 6 : 0), source.y + source.h / 2]
      : [SIZE.pad, line.centre]
  const out = Math.max(x, line.right) + 8
  const between = next.y - SIZE.between / 2
  const enter = next.centre + source.row * next.lane
  const points = [
    [x, y],
    [out, y],
    [out, between],
    [3, between],
    [3, enter],
    [SIZE.pad, enter],
  ]
  return tag("path", { class: "turn", d: path(points, 7) })
}

// The area behind the boxes of each block in a line, with the block's name.
function backgrounds(line, network, state) {
  const spans = []
  for (const column of line.columns) {
    const block = column.boxes[0].block
    if (block >= 0 && spans.at(-1)?.block === block) spans.at(-1).columns.push(column)
    else spans.push({ block, columns: [column] })
  }
  return spans
    .filter(span => span.block >= 0)
    .map(({ block, columns }) => {
      const x = columns[0].x - 7
      const wide = columns.at(-1).x + columns.at(-1).wide + 7 - x
      const lanes = Math.max(...columns.flatMap(column => column.boxes.map(box => box.row)))
      const high = line.high - (line.lanes - 1 - lanes) * line.lane
      const closes = state.closes(block)
      const name = `${closes ? "− " : ""}${network.blocks[block]}`
      const words = escaped(fitted(name, wide - 12, state.measure))
      const title = label("block", x + 7, line.y + 12, words)
      const area = rectangle("area", x, line.y, wide, high, 7)
      if (!closes) return area + title
      const close = tag("title", {}, escaped(worded("close")))
      const target = tag("rect", { x, y: line.y, width: wide, height: 16, rx: 7 })
      return area + tag("g", { class: "close", "data-close": block }, close, target, title)
    })
}

function fitted(text, width, measure) {
  if (measure(text) <= width) return text
  let length = text.length
  while (length > 2 && measure(`${text.slice(0, length)}…`) > width) length--
  return `${text.slice(0, length)}…`
}

const PICTURES = {
  input: box =>
    tag(
      "g",
      { class: "input", "aria-hidden": "true" },
      circle(box.x + 4, box.y + 4, 4),
      label("", box.middle, box.y - 10, escaped(worded("input"))),
    ),
  join: box => {
    const y = box.y + SIZE.join
    return tag(
      "g",
      { class: "join", "aria-hidden": "true" },
      tag("title", {}, escaped(box.title)),
      circle(box.middle, y, SIZE.join),
      label("", box.middle, y + 4.5, box.label),
    )
  },
  layer: option,
  fold: option,
}

// A layer or a fold, which the user can choose.
function option(box, network, state) {
  const share = keptShare(box, state.kept)
  const chosen = box.id === state.chosen
  const classes = ["box", box.role, chosen && "chosen", share === null && "whole"].filter(Boolean)
  const shown = box.whole || percent(share, 0)
  const words = escaped(sentenceOf(box, state))
  // The name starts with the words of the picture: people who speak to the computer say these.
  const count = box.role === "fold" ? `× ${box.count}` : ""
  const name = [count, escaped(box.label), shown, box.narrowed].filter(Boolean).join(" ")
  const attributes = {
    class: classes.join(" "),
    role: "option",
    tabindex: box.id === state.focus ? 0 : -1,
    "data-id": escaped(box.id),
    "aria-selected": chosen,
    "aria-label": `${name} · ${words}`,
  }
  const sensitivity = sensitivityBar(box, state)
  return tag(
    "g",
    attributes,
    hitArea(box),
    shape(box, share ?? 1),
    sensitivity,
    box.role === "fold" ? badge(box) : "",
    labels(box, chosen, shown),
    focusRing(box, sensitivity),
  )
}

// A box, filled from below by the share of weights kept; a fold has two more behind it.
function shape(box, share) {
  const { x, y, w, h } = box
  const behind = box.role === "fold" ? [6, 3] : []
  return [
    ...behind.map(step => rectangle("behind", x + step, y - step, w, h, 3)),
    rectangle("back", x, y, w, h, 3),
    rectangle("gone", x, y, w, h, 3),
    rectangle("kept", x, y + h * (1 - share), w, h * share),
    rectangle("edge", x, y, w, h, 3),
  ].join("")
}

// The name above a box, the share kept below it, and the outputs before and after thinning.
function labels(box, chosen, shown) {
  const { y, h, middle, narrowed } = box
  const above = y - (box.role === "fold" ? 10 : 6)
  const below = y + h + 15
  const name = label(chosen ? "label strong" : "label", middle, above, ` ${escaped(box.label)}`)
  const share = label("share", middle, below, ` ${shown}`)
  const outputs = narrowed ? label("narrowed", middle, below + SIZE.narrowed, ` ${narrowed}`) : ""
  return name + share + outputs
}

// The border of the chosen or focused box, around its sensitivity bar too.
function focusRing({ x, y, w, h }, sensitivity) {
  return rectangle("ring", x - 4, y - 4, w + 8 + (sensitivity ? 4.5 : 0), h + 8, 6)
}

// The area that takes clicks: the box and its labels, at least 40 px wide.
function hitArea({ y, w, h, middle, narrowed }) {
  const wide = Math.max(w, 40)
  const high = h + SIZE.label + SIZE.below + (narrowed ? SIZE.narrowed : 0)
  return rectangle("hit", middle - wide / 2, y - SIZE.label, wide, high)
}

// A bar on the right edge: its height is the accuracy lost. The most sensitive layer's is full.
function sensitivityBar(box, state) {
  const lost = lossOf(box, state)
  if (lost === null || lost <= 0 || !state.worst) return ""
  const high = Math.max(3, (SIZE.high * lost) / state.worst)
  return rectangle("hurts", box.x + box.w + 1.5, box.y + box.h - high, 5, high, 1.5)
}

// How many blocks a fold stands for.
function badge(box) {
  const [x, y] = [box.middle, box.y + box.h / 2]
  const half = 10 + 3.4 * String(box.count).length
  return (
    rectangle("badge", x - half, y - 9, 2 * half, 18, 9) +
    label("times", x, y + 4.5, `× ${box.count}`)
  )
}

// The share of kept weights over all layers of a box that can be pruned; null if there is none.
function keptShare(box, kept) {
  const able = box.layers.filter(layer => kept[layer.place] !== null)
  const weights = able.reduce((sum, layer) => sum + layer.weights, 0)
  return weights
    ? able.reduce((sum, layer) => sum + layer.weights * kept[layer.place], 0) / weights
    : null
}

const OPTIONS = new Set(["layer", "fold"])

// Sets the words for the outputs of a layer before and after thinning, "" where it stays as wide;
// the longest such words, for which its column is wide enough; and the words of a layer that cannot
// be pruned.
function withWords(box, { kept, outputs }) {
  box.whole = OPTIONS.has(box.role) && keptShare(box, kept) === null ? worded("not_pruned") : ""
  const after = box.role === "layer" ? outputs[box.place] : null
  const words = count => `${whole(box.outputs)} → ${whole(count)}`
  box.narrowed = after === null || after === box.outputs ? "" : words(after)
  box.widest = after === null ? "" : words(box.outputs)
}

// The accuracy lost by the box's most sensitive layer; null where none is measured.
function lossOf(box, state) {
  const known = box.layers
    .map(layer => state.hurts?.[layer.place] ?? null)
    .filter(lost => lost !== null)
  return known.length ? Math.max(...known) : null
}

// A box in one sentence: below the map, and for screen readers.
function sentenceOf(box, state) {
  const share = keptShare(box, state.kept)
  const lost = lossOf(box, state)
  const folded = box.role === "fold"
  const what = folded
    ? worded("fold", {
        label: box.label,
        count: box.count,
        layers: box.layers.length,
        weights: whole(box.weights * box.count),
      })
    : box.title
  const parts = [
    what,
    share === null ? worded("unprunable") : worded("kept", { share: percent(share) }),
  ]
  if (box.narrowed) parts.push(worded("narrowed", { widths: box.narrowed }))
  if (lost !== null)
    parts.push(
      worded(folded ? "fold_alone" : "alone", {
        cut: state.cutAt,
        lost: points(lost, state.value),
      }),
    )
  if (folded) parts.push(worded("opens"))
  return parts.join(" · ")
}

const points = (lost, value) => {
  const sign = lost > 0 === value.rises ? "−" : "+"
  return (
    sign +
    (value.percent
      ? worded("points", { n: Math.abs(100 * lost).toFixed(1) })
      : Math.abs(lost).toPrecision(3))
  )
}

// Gives the elements of `shown` the attributes and the text of those in `fresh`, where both have
// the same elements; returns whether they have. The browser then styles only what is different.
function changedInPlace(shown, fresh) {
  const [old, now] = [shown, fresh].map(svg => [...svg.querySelectorAll("*")])
  const names = list => list.map(({ tagName, dataset }) => `${tagName} ${dataset.id}`).join()
  if (names(old) !== names(now)) return false
  for (const [at, element] of old.entries()) {
    const names = [element, now[at]].flatMap(each => each.getAttributeNames())
    for (const name of new Set(names)) {
      const value = now[at].getAttribute(name)
      if (value === null) element.removeAttribute(name)
      else if (value !== element.getAttribute(name)) element.setAttribute(name, value)
    }
    const text = now[at].textContent
    if (!element.firstElementChild && element.textContent !== text) element.textContent = text
  }
  return true
}

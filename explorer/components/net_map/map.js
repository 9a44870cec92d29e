// The map. Python passes the chosen layer; a click or the arrow keys choose another.

// The blocks that are open, by map and network. They outlive the map, so they are the same after
// another page.
function openedOf(key, text) {
  const known = (globalThis.pruningNetMap ??= new Map())
  const of = `${key} ${text}`
  if (!known.has(of)) known.set(of, new Set())
  return known.get(of)
}

class NetMap {
  constructor(root, key) {
    this.key = key
    this.root = root.querySelector(".net-map")
    this.root.map = this
    this.find = selector => this.root.querySelector(selector)
    this.frame = this.find(".frame")
    this.svg = this.find("svg")
    this.pointed = null
    this.choice = new Choice(name => {
      this.see(name)
      this.render()
    })
    this.context = document.createElement("canvas").getContext("2d")
    this.widths = new Map()
    this.measure = text =>
      this.widths.get(text) ?? this.widths.set(text, this.context.measureText(text).width).get(text)
    this.watch = new ResizeObserver(() => this.frame.clientWidth !== this.wide && this.render())
    this.watch.observe(this.frame)
    this.svg.onclick = event => this.clicked(event)
    this.svg.onkeydown = event => this.pressed(event)
    this.svg.onpointerover = event =>
      this.point(event.target.closest("[data-id]")?.dataset.id ?? null)
    this.svg.onpointerleave = () => this.point(null)
    this.svg.addEventListener("focusin", event =>
      this.focused(event.target.closest("[data-id]")?.dataset.id),
    )
    this.svg.addEventListener("focusout", () => requestAnimationFrame(() => this.say()))
  }

  receive({ data, setTriggerValue }) {
    learn(this.root, data.words)
    const text = JSON.stringify(data.map)
    if (text !== this.text) {
      this.text = text
      this.network = new Network(data.map)
      this.opened = openedOf(this.key, text)
      this.focus = null
      this.choice.forget()
      this.legend()
    }
    Object.assign(this, {
      kept: data.kept,
      hurts: data.hurts,
      outputs: data.outputs,
      cutAt: data.cutAt,
      value: data.value,
    })
    this.worst = Math.max(0, ...(data.hurts ?? []))
    this.choice.receive(data.chosen, name => setTriggerValue("selected", name))
    this.see(this.choice.name)
    this.find(".marks").hidden = !this.worst
    this.find(".marks b").textContent = worded("hurts", {
      value: this.value.label,
      cut: this.cutAt,
      lost: points(this.worst, this.value),
    })
    this.render()
  }

  see(name) {
    if (name !== this.chosen) this.focus = name
    this.chosen = name
  }

  // --- what the user does

  choose(name, pause) {
    this.opened.add(this.network.byName.get(this.chosen)?.block)
    this.chosen = this.focus = name
    this.render()
    this.choice.choose(name, pause)
  }

  clicked(event) {
    const { clientX, clientY } = event
    const target =
      event.target.closest("[data-id], [data-close]") ??
      this.svg.getRootNode().elementFromPoint(clientX, clientY)?.closest("[data-id], [data-close]")
    if (target?.dataset.close) this.close(Number(target.dataset.close))
    else if (target) this.act(target.dataset.id)
  }

  act(id) {
    const box = this.box(id)
    if (box?.role === "fold") this.open(box)
    else if (box) this.choose(id, 0)
    this.bring(this.focus)
  }

  open(box) {
    for (const block of box.blocks) this.opened.add(block)
    this.focus = box.layers[0].name
    this.render()
  }

  // Folds a run again, except the block of the chosen layer.
  close(block) {
    const run = this.network.runOf.get(block)
    if (!run) return
    const inside = run.includes(this.box(this.focus)?.block)
    for (const each of run) this.opened.delete(each)
    this.render()
    const fold = this.seen.boxes.find(box => box.blocks?.includes(block))
    if (inside && fold) this.focus = fold.id
    this.render()
    this.bring(this.focus)
  }

  pressed(event) {
    const id = event.target.closest("[data-id]")?.dataset.id
    const box = this.box(id)
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return
    const goal = this.neighbour(box, event.key)
    if (goal) {
      if (goal.role === "layer" && goal.id !== this.chosen) this.choose(goal.id, REST)
      this.bring(goal.id)
    } else if (event.key === "Enter" || event.key === " ") this.act(id)
    else if (event.key === "Escape" && box.block >= 0) this.close(box.block)
    else if (!MOVES.has(event.key)) return
    event.preventDefault()
    event.stopPropagation()
  }

  neighbour(box, key) {
    const all = this.options
    const at = all.indexOf(box)
    const middle = one => one.y + one.h / 2
    const off = one =>
      Math.abs(middle(one) - middle(box)) * 1000 + Math.abs(one.middle - box.middle)
    const nearest = list => list.sort((one, other) => off(one) - off(other))[0]
    return {
      ArrowRight: () => all[at + 1],
      ArrowLeft: () => all[at - 1],
      ArrowDown: () => nearest(all.filter(one => middle(one) > middle(box) + 1)),
      ArrowUp: () => nearest(all.filter(one => middle(one) < middle(box) - 1)),
      Home: () => all[0],
      End: () => all.at(-1),
    }[key]?.()
  }

  point(id) {
    if (id === this.pointed) return
    this.pointed = id
    this.say()
  }

  focused(id) {
    if (!id) return
    if (id !== this.focus) {
      this.element(this.focus)?.setAttribute("tabindex", "-1")
      this.element(id).setAttribute("tabindex", "0")
      this.focus = id
    }
    this.say()
  }

  // --- what is shown

  render() {
    this.wide = this.frame.clientWidth
    if (!this.network || !this.wide) return
    const style = getComputedStyle(this.frame)
    const font = `600 11.5px ${style.fontFamily}`
    if (this.context.font !== font) {
      this.context.font = font
      this.widths.clear()
    }
    const block = this.network.byName.get(this.chosen)?.block
    this.seen = this.network.seen(new Set([...this.opened, block]))
    for (const box of this.seen.boxes) withWords(box, this)
    const layout = laidOut(this.seen, this.network, this.wide, this.measure)
    this.options = this.seen.boxes.filter(box => OPTIONS.has(box.role))
    this.options.sort(
      (one, other) => one.line - other.line || one.place - other.place || one.row - other.row,
    )
    if (!this.box(this.focus)) this.focus = this.box(this.chosen)?.id ?? this.options[0].id
    const { chosen, focus, kept, hurts, worst, cutAt, value, measure } = this
    const closes = each => this.network.runOf.has(each) && this.opened.has(each) && each !== block
    this.paint(
      drawn(this.seen, layout, this.network, {
        chosen,
        focus,
        kept,
        hurts,
        worst,
        cutAt,
        value,
        measure,
        closes,
      }),
      layout,
    )
    this.say()
  }

  paint(picture, { width, height }) {
    if (picture !== this.picture) {
      const fresh = this.svg.cloneNode(false)
      fresh.innerHTML = picture
      const held = this.svg.getRootNode().activeElement?.dataset?.id !== undefined
      if (!changedInPlace(this.svg, fresh)) this.svg.replaceChildren(...fresh.childNodes)
      this.picture = picture
      if (held) this.element(this.focus)?.focus({ preventScroll: true })
    }
    this.svg.setAttribute("width", Math.ceil(width))
    this.svg.setAttribute("height", Math.ceil(height) + 2)
    const count = this.network.layers.length
    this.svg.setAttribute("aria-label", worded(this.network.traced ? "flow" : "calls", { count }))
    this.root.dataset.drawn = this.options.length
    if (this.shown !== this.chosen) this.scroll(this.chosen)
    this.shown = this.chosen
  }

  bring(id) {
    this.element(id)?.focus({ preventScroll: true })
    this.scroll(id)
  }

  // Scrolls the map's own frame, never the page.
  scroll(id) {
    const box = this.box(id)
    if (!box) return
    const { frame } = this
    const aside =
      box.x < frame.scrollLeft + 12 || box.x + box.w > frame.scrollLeft + frame.clientWidth - 12
    const outside =
      box.y < frame.scrollTop + 30 || box.y + 60 > frame.scrollTop + frame.clientHeight
    if (aside) frame.scrollLeft = box.x - frame.clientWidth / 3
    if (outside) frame.scrollTop = box.y - frame.clientHeight / 3
  }

  say() {
    const active = this.svg.getRootNode().activeElement?.dataset?.id
    const box = this.box(this.pointed) ?? this.box(active) ?? this.box(this.chosen)
    const text = box ? sentenceOf(box, this) : ""
    const place = this.find(".readout")
    if (place.textContent !== text) place.textContent = text
  }

  legend() {
    const { kept, pruned, chosen, hurts } = this.network.look
    const colours = { "--kept": kept, "--pruned": pruned, "--chosen": chosen, "--hurts": hurts }
    for (const [name, colour] of Object.entries(colours)) this.root.style.setProperty(name, colour)
    const signs = this.network
      .signs()
      .map(([sign, word]) => `<span><i class="sign">${escaped(sign)}</i>${escaped(word)}</span>`)
    this.find(".signs").innerHTML = signs.join("")
    this.find(".stack").hidden = !this.network.runs.length
  }

  box(id) {
    return id === null || id === undefined
      ? undefined
      : this.seen?.boxes.find(box => box.id === id && (box.role === "layer" || box.role === "fold"))
  }

  element(id) {
    return id ? this.svg.querySelector(`[data-id="${CSS.escape(id)}"]`) : null
  }

  stop() {
    this.watch.disconnect()
    this.choice.stop()
  }
}

const MOVES = new Set(["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End"])

export default component => received(component, (root, key) => new NetMap(root, key))

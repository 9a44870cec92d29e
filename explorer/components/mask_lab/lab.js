// The lab. Python passes ratio and edits, the user changes them, and each change is reported once,
// on release.

// Milliseconds without a change before the finest picture is drawn.
const REST = 120

class Lab {
  constructor(root, key) {
    this.root = root.querySelector(".lab")
    this.root.lab = this
    const places = new Map()
    this.find = selector =>
      places.get(selector) ?? places.set(selector, this.root.querySelector(selector)).get(selector)
    this.shows = viewOf(key)
    this.stage = new Stage(this.find(".stage"), this.shows.place)
    this.ratio = 0
    this.pending = null
    this.changed = new Set()
    this.held = false
    this.cell = null
    this.selected = null
    this.said = new Map()
    this.asked = null
    this.ended = new AbortController()
    this.seeWindow = () => this.frame(true)
    this.watch = new ResizeObserver(() => this.resize())
    this.watch.observe(this.stage.element)
    listenToControls(this)
    listenToStage(this)
  }

  // The mask under the pointer: the window's, where one is drawn.
  get topMask() {
    return this.stage.near ?? this.mask
  }

  // --- data from Python

  receive({ data, setStateValue }) {
    this.send = setStateValue
    this.given = data
    const store = layers()
    const layer = store.known.get(data.of)
    store.waiting.delete(this.wake)
    if (!layer) {
      this.wake = () => this.receive({ data: this.given, setStateValue: this.send })
      store.waiting.add(this.wake)
      return
    }
    const fresh = learn(this.root, data.words)
    if (
      this.layer?.id !== layer.id ||
      this.network !== data.network ||
      this.stage.deep !== data.deep
    )
      this.take(layer)
    else if (fresh) this.describe()
    const numbers = data.edits.map(([scope, group]) => scope * layer.groups + group)
    data.places?.forEach((place, n) => this.mask.known.set(numbers[n], place))
    if (this.pending !== null && data.echo !== this.pending) return
    this.pending = null
    if (!this.held) {
      this.changed.clear()
      this.ratio = data.ratio
      this.adopt(new Map(data.edits.map(([, , keep], n) => [numbers[n], keep])))
    }
    showRatio(this)
    this.frame(true)
  }

  take(layer) {
    const before = this.layer
    Object.assign(this, {
      layer,
      mask: new Mask(layer),
      cell: null,
      selected: null,
      pending: null,
      held: false,
    })
    Object.assign(this, {
      history: historyOf(this.given.network, layer),
      network: this.given.network,
      asked: null,
    })
    if (before) layers().details.get(before.id)?.waiting.delete(this.seeWindow)
    detailOf(layer.id).waiting.add(this.seeWindow)
    Object.assign(this.stage, { near: null, nearInks: null, deep: this.given.deep })
    this.inks = inks(this.mask)
    const cells = `${layer.shape} ${layer.rowAt}`
    if (cells !== this.shows.cells) Object.assign(this.stage.view, { x: 0, y: 0, zoom: 1 })
    this.shows.cells = cells
    this.notify("")
    this.describe()
    this.find(".keys").hidden = !layer.groups
    this.show(layer.groups ? (this.shows.picked ?? this.given.show) : "weights", true)
  }

  // The texts about the layer as a whole.
  describe() {
    this.stage.element.setAttribute("aria-label", sentence(this.layer, this.given.deep))
    this.stage.element.setAttribute("aria-roledescription", worded("stage"))
    fitControls(this)
    this.sayNote()
    drawLegend(this)
  }

  adopt(edits) {
    this.history.adopt(edits)
    if (!alike(edits, this.mask.edits)) this.setEdits(edits)
  }

  setEdits(edits) {
    const { near } = this.stage
    for (const group of edits.keys())
      if (near?.slot(group) !== undefined) this.mask.known.set(group, near.place(group))
    this.mask.setEdits(edits)
    near?.setEdits(edits)
  }

  // --- what the user does

  drag(ratio) {
    this.notify("")
    this.held = true
    this.changed.add("ratio")
    this.ratio = ratio
    showRatio(this)
    this.frame()
  }

  release() {
    if (this.held) this.report()
  }

  flip(cell) {
    const { topMask } = this
    if (!topMask.editable) return this.hint()
    const group = topMask.group(cell)
    const edits = new Map(this.mask.edits)
    if (!edits.delete(group)) edits.set(group, !topMask.keepsGroup(group))
    if (this.empties(group, edits)) return this.notify(worded("last"))
    this.selected = group
    this.changed.add("selected")
    this.edit(edits)
    return true
  }

  // True if this edit would remove the last group of a scope, where one must stay.
  empties(group, edits) {
    const scope = Math.floor(group / this.layer.groups)
    return (
      !this.layer.collapse && edits.get(group) === false && this.topMask.left(scope, edits) <= 0
    )
  }

  // Explains why a click on a block of a reduced layer has no effect: a block is no group.
  hint() {
    if (this.stage.deep && this.layer.groups) this.speak(worded("hint"))
  }

  edit(edits) {
    this.history.push(edits)
    this.apply()
  }

  undo() {
    if (this.history.back()) this.apply("undone")
  }

  redo() {
    if (this.history.again()) this.apply("redone")
  }

  // Only Python stores edits that have no effect now. It deletes them too.
  clear() {
    if (this.mask.edits.size) this.history.push(new Map())
    this.apply("cleared")
  }

  // key: of the sentence to speak.
  apply(key) {
    this.setEdits(this.history.now)
    this.changed.add("edits")
    this.notify("")
    this.frame(true)
    if (key)
      this.speak(
        worded(key, { counts: this.layer.groups ? this.countWords().replace(/<\/?b>/g, "") : "" }),
      )
    this.report()
  }

  select(cell) {
    if (!this.topMask.editable) return
    this.selected = this.topMask.group(cell)
    this.changed.add("selected")
    this.frame(true)
    this.report()
    return true
  }

  // The only message to Python. n numbers the reports: an answer to an old report does not undo a
  // newer one.
  report() {
    const { groups, id } = this.layer
    const split = group => [Math.floor(group / groups), group % groups]
    const edits = [...this.mask.edits].map(([group, keep]) => [...split(group), keep])
    this.held = false
    this.pending = Math.max(Date.now(), (this.pending ?? 0) + 1)
    const selected = this.selected === null ? null : split(this.selected)
    this.send("report", {
      n: this.pending,
      of: id,
      changed: [...this.changed],
      ratio: this.ratio,
      edits,
      selected,
    })
  }

  // --- what is shown

  show(what, quietly = false) {
    if (!quietly) this.shows.picked = what
    const offered = ["weights", "scores", "mask"].filter(
      each => !this.find(`[value=${each}]`).closest("label").hidden,
    )
    const shown = what === "side" ? offered : [offered.includes(what) ? what : offered[0]]
    this.find(`[value=${what === "side" ? what : shown[0]}]`).checked = true
    for (const figure of this.stage.figures) figure.hidden = !shown.includes(figure.dataset.show)
    this.root.classList.toggle("side", shown.length > 1)
    this.find(".ink-score").hidden = !shown.includes("scores")
    this.find(".scale").hidden = !shown.includes("weights")
    this.resize()
  }

  resize() {
    if (!this.mask || !this.stage.element.clientWidth) return
    this.stage.fit(this.mask)
    this.frame(true)
  }

  zoom(factor, at) {
    const moved = this.stage.zoom(this.mask, factor || 1e-9, at)
    this.frame(true)
    return moved
  }

  point(cell, spoken = false) {
    if (cell === this.cell && !spoken) return
    this.cell = cell
    this.frame(true)
    if (!spoken || cell === null) return
    this.speak(
      facts(this.topMask, cell)
        .map(pair => pair.join(" ").trim())
        .join(", "),
    )
  }

  // At most one drawing per screen refresh. over: also outlines and marks.
  frame(over = false) {
    this.over ||= over
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null
      this.draw()
    })
  }

  draw() {
    if (!this.mask || !this.stage.width) return
    useWindow(this)
    const count = this.layer.groups ? removedCount(this.layer, this.ratio) : 0
    this.mask.remove(count)
    this.stage.near?.remove(count)
    this.stage.draw(this.mask, this.inks, true)
    if (this.over) this.stage.drawOver(this.mask, this.cell, this.selected)
    this.over = false
    this.say(".counts", this.layer.groups ? this.countWords() : worded("no_groups"))
    this.say(".readout", this.readout())
    showPossible(this)
    this.root.dataset.drawn = this.mask.removed
    clearTimeout(this.later)
    this.later = setTimeout(() => this.rest(), REST)
  }

  // Called when nothing has moved for REST milliseconds.
  rest() {
    if (this.stage.finer) this.stage.draw(this.mask, this.inks, false)
    if (this.stage.deep) askForWindow(this)
  }

  countWords() {
    return countWords(this.mask, heldBack(this.layer, this.ratio))
  }

  speak(text) {
    this.find(".spoken").textContent = text
  }

  // Shows why a click had no effect, until the next action.
  notify(text) {
    this.say(".notice", text)
    if (text) this.speak(text)
  }

  sayNote() {
    this.say(".note", noteWords(this.layer, this.stage.deep, this.stage.near, this.asked))
  }

  say(where, html) {
    if (this.said.get(where) === html) return
    this.said.set(where, html)
    this.find(where).innerHTML = html
  }

  readout() {
    if (this.cell === null) return `<span class="dim">${worded("point")}</span>`
    const part = ([label, value]) =>
      label ? `<span class="dim">${label}</span> ${value}` : `<b>${value}</b>`
    return facts(this.topMask, this.cell).map(part).join(' <span class="dim">·</span> ')
  }

  stop() {
    this.watch.disconnect()
    this.ended.abort()
    clearTimeout(this.later)
    layers().waiting.delete(this.wake)
    if (this.layer) layers().details.get(this.layer.id)?.waiting.delete(this.seeWindow)
  }
}

export default component => received(component, (root, key) => new Lab(root, key))

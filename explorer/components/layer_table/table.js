// The table of layers. Python passes the chosen layer; a click on a row or the arrow keys choose
// another. A click on a column's name sorts.

// Rows that are seen at once. The half one shows that more follow.
const ROWS = 5.5

// How the table with that key is sorted. It outlives the table, so it is the same after another
// page.
function orderOf(key) {
  const known = (globalThis.pruningLayerTable ??= new Map())
  if (!known.has(key)) known.set(key, { column: null, descending: false })
  return known.get(key)
}

// A cell is a text, [number, text] or null: its number or text, and what is shown.
const valueOf = cell => (Array.isArray(cell) ? cell[0] : cell)
const textOf = cell => (Array.isArray(cell) ? cell[1] : cell)

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other
  return String(one).localeCompare(String(other), undefined, { numeric: true })
}

// A text that a spreadsheet would compute stays a text.
const quoted = value => {
  const text = typeof value === "string" && /^[=+\-@]/.test(value) ? `'${value}` : value ?? ""
  return `"${String(text).replaceAll('"', '""')}"`
}

class LayerTable {
  constructor(root, key) {
    this.root = root.querySelector(".layers")
    this.root.table = this
    this.find = selector => this.root.querySelector(selector)
    this.frame = this.find(".frame")
    this.body = this.find("tbody")
    this.head = this.find("thead tr")
    this.order = orderOf(key)
    this.rows = new Map()
    this.choice = new Choice(name => this.mark(name))
    this.pause = 0
    this.body.onkeydown = () => (this.pause = REST)
    this.body.onpointerdown = () => (this.pause = 0)
    this.body.onclick = event => this.clicked(event)
    this.body.onchange = event => this.choose(event.target.value)
    this.head.onclick = event => this.sorted(event.target.closest("button")?.dataset.column)
    this.find(".csv").onclick = () => this.download()
  }

  receive({ data, setTriggerValue }) {
    learn(this.root, data.words)
    this.data = data
    const names = JSON.stringify([data.columns, data.rows.map(row => row[0])])
    if (names !== this.names) this.build(data)
    this.names = names
    for (const row of data.rows) this.fill(this.rows.get(row[0]), row)
    this.arrange()
    this.choice.receive(data.chosen, name => setTriggerValue("selected", name))
    this.mark(this.choice.name)
    this.root.dataset.drawn = ""
  }

  // --- what the user does

  clicked({ target }) {
    const row = target.closest("tr")
    if (!row || target.closest("label")) return
    row.querySelector("input").focus({ preventScroll: true })
    this.choose(row.dataset.name)
  }

  choose(name) {
    if (name === this.chosen) return
    this.mark(name)
    this.choice.choose(name, this.pause)
  }

  // In the order of the network, then rising, then falling.
  sorted(column) {
    if (column === undefined) return
    const { order } = this
    const again = order.column === Number(column)
    if (again && order.descending) order.column = null
    else Object.assign(order, { column: Number(column), descending: again })
    this.arrange()
  }

  download() {
    const { columns, rows } = this.data
    const value = (cell, at) => (columns[at].bar ? textOf(cell) : valueOf(cell))
    const lines = [columns.map(({ label }) => label), ...rows.map(row => row.map(value))]
    const text = lines.map(line => line.map(quoted).join(",")).join("\r\n")
    const link = document.createElement("a")
    // The mark at the start lets spreadsheets read names in any language.
    link.href = URL.createObjectURL(new Blob([`\ufeff${text}\r\n`], { type: "text/csv" }))
    link.download = "layers.csv"
    link.click()
    URL.revokeObjectURL(link.href)
  }

  // --- what is shown

  build({ columns, rows, label }) {
    this.find("table").setAttribute("aria-label", label)
    this.frame.style.setProperty("--rows", Math.min(rows.length, ROWS))
    this.head.replaceChildren(
      ...columns.map(({ label, help, number }, at) => {
        const cell = Object.assign(document.createElement("th"), { scope: "col" })
        cell.classList.toggle("number", number)
        const button = Object.assign(document.createElement("button"), { type: "button" })
        if (help) {
          button.dataset.help = help
          button.setAttribute("aria-description", help)
        }
        button.textContent = label
        button.dataset.column = at
        cell.append(button)
        return cell
      }),
    )
    this.rows = new Map(rows.map(row => [row[0], this.row(row[0], columns)]))
    this.body.replaceChildren(...this.rows.values())
    this.chosen = this.arranged = null
    if (!this.rows.has(this.choice.name)) this.choice.forget()
  }

  row(name, columns) {
    const row = document.createElement("tr")
    row.dataset.name = name
    const first = Object.assign(document.createElement("th"), { scope: "row" })
    const label = document.createElement("label")
    const input = Object.assign(document.createElement("input"), { type: "radio", value: name })
    input.name = "layer"
    label.append(input, name)
    first.append(label)
    row.append(first)
    for (const { number } of columns.slice(1)) {
      const cell = document.createElement("td")
      cell.classList.toggle("number", number)
      row.append(cell)
    }
    return row
  }

  // Changes the cells whose text has changed.
  fill(row, cells) {
    for (const [at, cell] of cells.entries()) {
      const text = at && (textOf(cell) ?? worded("not_pruned"))
      const place = row.children[at]
      if (!at || place.dataset.text === text) continue
      place.dataset.text = text
      place.classList.toggle("none", cell === null)
      if (cell === null || !this.data.columns[at].bar) place.textContent = text
      else this.bar(place, cell)
    }
  }

  bar(place, [value, text]) {
    const share = Object.assign(document.createElement("span"), { className: "share" })
    share.append(document.createElement("i"), text)
    share.style.setProperty("--at", value)
    place.replaceChildren(share)
  }

  // Puts the rows in their order. Rows without a value come last.
  arrange() {
    const { column, descending } = this.order
    const order = [...this.data.rows]
    if (column !== null)
      order.sort((one, other) => {
        const [first, second] = [valueOf(one[column]), valueOf(other[column])]
        if (first === null || second === null) return (first === null) - (second === null)
        return compare(first, second) * (descending ? -1 : 1)
      })
    for (const [at, cell] of [...this.head.children].entries()) {
      if (at === column) cell.setAttribute("aria-sort", descending ? "descending" : "ascending")
      else cell.removeAttribute("aria-sort")
    }
    const names = order.map(row => row[0]).join("\n")
    if (names === this.arranged) return
    this.arranged = names
    this.body.append(...order.map(row => this.rows.get(row[0])))
    this.bring()
  }

  mark(name) {
    if (name === this.chosen) return
    this.rows.get(this.chosen)?.classList.remove("chosen")
    this.chosen = name
    const row = this.rows.get(name)
    if (!row) return
    row.classList.add("chosen")
    row.querySelector("input").checked = true
    this.bring()
  }

  // Scrolls the table, and nothing else, until the chosen row is seen.
  bring() {
    const row = this.rows.get(this.chosen)
    if (!row) return
    const { frame } = this
    const top = row.offsetTop - this.head.offsetHeight
    const bottom = row.offsetTop + row.offsetHeight - frame.clientHeight
    frame.scrollTop = Math.min(top, Math.max(bottom, frame.scrollTop))
  }

  stop() {
    this.choice.stop()
  }
}

export default component => received(component, (root, key) => new LayerTable(root, key))

// Undo and redo of hand edits. There is one history per network, layer and granularity until the
// page is closed. Other scores leave it as it is.

const MOST_STEPS = 200

const alike = (edits, others) =>
  edits.size === others.size && [...edits].every(([group, keep]) => others.get(group) === keep)

class History {
  constructor() {
    this.restart(new Map())
  }

  // now: the edits after all steps. Edits that the lab did not make start a new history.
  restart(now) {
    Object.assign(this, { done: [], undone: [], now })
  }

  adopt(edits) {
    if (!alike(edits, this.now)) this.restart(edits)
  }

  push(edits) {
    this.done = [...this.done, this.now].slice(-MOST_STEPS)
    Object.assign(this, { undone: [], now: edits })
  }

  // One step from a list to the other; false where there is none.
  step(from, to) {
    if (!from.length) return false
    to.push(this.now)
    this.now = from.pop()
    return true
  }

  back() {
    return this.step(this.done, this.undone)
  }

  again() {
    return this.step(this.undone, this.done)
  }
}

function historyOf(network, { name, shape, label, scopes, groups }) {
  const { histories } = layers()
  const key = JSON.stringify([network, name, shape, label, scopes, groups])
  if (!histories.has(key)) histories.set(key, new History())
  return histories.get(key)
}

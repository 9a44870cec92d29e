// Draws nothing: takes a layer's bytes and hands them to the views that refer to them.

const held = new WeakMap()

// A layer is stored as long as one of the elements that brought it holds it.
function release(element) {
  const { known, holders } = layers()
  const id = held.get(element)
  holders.get(id)?.delete(element)
  if (holders.get(id)?.size) return
  known.delete(id)
  holders.delete(id)
}

function hold(element, id) {
  const { holders } = layers()
  if (held.get(element) !== id) release(element)
  held.set(element, id)
  if (!holders.has(id)) holders.set(id, new Set())
  holders.get(id).add(element)
}

export default function ({ data, parentElement }) {
  const [number, bytes] = numbered(data)
  if (isOutdated(parentElement, number)) return
  const store = layers()
  const [{ id }] = headOf(bytes)
  hold(parentElement, id)
  if (!store.known.has(id)) {
    store.known.set(id, decode(bytes))
    for (const wake of [...store.waiting]) wake()
  }
  return cleanupOf(parentElement, () => release(parentElement))
}

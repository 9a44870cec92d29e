// Draws nothing: takes a layer's bytes and hands them to the views that refer to them.

const held = new WeakMap()

export default function ({ data, parentElement }) {
  const store = layers()
  const layer = decode(data)
  const before = held.get(parentElement)
  if (before !== layer.id) {
    store.known.delete(before)
    store.known.set(layer.id, layer)
    held.set(parentElement, layer.id)
    for (const wake of [...store.waiting]) wake()
  }
  return () => store.known.delete(held.get(parentElement))
}

// Draws nothing: takes a layer's bytes and hands them to the views that refer to them.

const held = new WeakMap()

export default function ({ data, parentElement }) {
  const store = layers()
  const [{ id }] = headOf(data)
  if (held.get(parentElement) !== id) store.known.delete(held.get(parentElement))
  held.set(parentElement, id)
  if (!store.known.has(id)) {
    store.known.set(id, decode(data))
    for (const wake of [...store.waiting]) wake()
  }
  return () => store.known.delete(held.get(parentElement))
}

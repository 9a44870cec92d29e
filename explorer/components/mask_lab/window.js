// Draws nothing: asks Python for the weights that a lab zooms to, and passes them on when they
// arrive.

const shown = new WeakMap()

// Forgets what this element brought, but not what another element has brought since.
function forget(element) {
  const { details } = layers()
  const id = shown.get(element)
  if (details.get(id)?.from === element) details.delete(id)
}

export default function ({ data, parentElement, setStateValue }) {
  const [number, given] = numbered(data)
  if (isOutdated(parentElement, number)) return
  const of = new TextDecoder().decode(given.subarray(0, 16))
  if (shown.get(parentElement) !== of) forget(parentElement)
  shown.set(parentElement, of)
  const place = detailOf(of)
  place.from = parentElement
  place.ask = at => setStateValue("want", { of, at })
  const bytes = given.subarray(16)
  if (bytes.length && place.window?.id !== headOf(bytes)[0].id) {
    place.window = decode(bytes)
    for (const wake of [...place.waiting]) wake()
  }
  return cleanupOf(parentElement, () => forget(parentElement))
}

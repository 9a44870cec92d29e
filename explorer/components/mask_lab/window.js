// Draws nothing: asks Python for the weights that a lab zooms to, and passes them on when they arrive.

const shown = new WeakMap()

export default function ({ data, parentElement, setStateValue }) {
  const { details } = layers()
  const of = new TextDecoder().decode(data.subarray(0, 16))
  if (shown.get(parentElement) !== of) details.delete(shown.get(parentElement))
  shown.set(parentElement, of)
  const place = detailOf(of)
  place.ask = at => setStateValue("want", { of, at })
  const bytes = data.subarray(16)
  if (bytes.length && place.window?.id !== headOf(bytes)[0].id) {
    place.window = decode(bytes)
    for (const wake of [...place.waiting]) wake()
  }
  return () => details.delete(shown.get(parentElement))
}

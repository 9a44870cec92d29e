// Draws nothing: asks Python for the weights that a lab zooms to, and hands them over when they come.

export default function ({ data, setStateValue }) {
  const of = new TextDecoder().decode(data.subarray(0, 16))
  const place = detailOf(of)
  place.ask = at => setStateValue("want", { of, at })
  const bytes = data.subarray(16)
  if (bytes.length && place.window?.id !== headOf(bytes)[0].id) {
    place.window = decode(bytes)
    for (const wake of [...place.waiting]) wake()
  }
  return () => layers().details.delete(of)
}

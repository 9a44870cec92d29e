// Numbers as text, by the rules of explorer/texts/formats.py.

const whole = n => n.toLocaleString("en-US")

function percent(share, digits = 1) {
  const text = (100 * share).toFixed(digits)
  const edge = (Number(text) >= 100 && share < 1) || (Number(text) <= 0 && share > 0)
  return `${edge ? (100 * share).toFixed(digits + 2) : text.replace(/\.0+$/, "")}%`
}

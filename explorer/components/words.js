// Texts in the page's language. Python sends them; places such as {n} are filled in here.

let words = {}

const worded = (key, values = {}) =>
  words[key].replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place)

// Takes the texts of Python and puts them into the elements that name one. True where they are new
// to this root. From the first time on, the page's style reserves no height for the root's host: it
// has its own.
function learn(root, given) {
  words = given
  const text = JSON.stringify(given)
  if (root.words === text) return false
  root.words = text
  const { host } = root.getRootNode()
  if (host) host.dataset.worded = ""
  for (const element of root.querySelectorAll("[data-words]")) {
    const key = element.dataset.words
    if (words[key]) element.innerHTML = words[key]
    if (words[`${key}_label`]) element.setAttribute("aria-label", words[`${key}_label`])
    if (words[`${key}_title`]) element.title = words[`${key}_title`]
  }
  return true
}

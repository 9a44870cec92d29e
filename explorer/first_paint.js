// Where no side bar is shown, a click on a link to another page opens its place at once. Nothing
// moves later, when the server has sent the side bar.
const sideBar = () => document.querySelector("[data-testid=stSidebar]")

// Streamlit stores here that the user closed the side bar.
const closed = () =>
  Object.keys(localStorage).some(
    key => key.startsWith("stSidebarCollapsed") && localStorage[key] === "true",
  )

// A link of a lesson has the parameters alone as its address; it always leads to another page.
function leaves(event) {
  const link = event.composedPath().find(each => each instanceof HTMLAnchorElement)
  const asked =
    event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
  const here = link && link.origin === location.origin && (!link.target || link.target === "_self")
  const away = link?.pathname !== location.pathname || link.dataset.testid === "stPageLink-NavLink"
  return here && asked && away
}

function giveWay(event) {
  if (sideBar() || closed() || !leaves(event)) return
  document.documentElement.toggleAttribute("data-leaves", true)
  new MutationObserver((_changes, watch) => {
    if (!sideBar()) return
    watch.disconnect()
    document.documentElement.removeAttribute("data-leaves")
  }).observe(document.body, { childList: true, subtree: true })
}

document.addEventListener("click", giveWay, { capture: true })
// The first answer of a page without a side bar names the scripts of the other pages' elements.
// They are loaded after its own.
addEventListener("load", () =>
  document.head.append(document.getElementById("other-pages")?.content ?? ""),
)

// A page that is opened from another one begins at its top. In a busy browser the new page takes
// the place of the old one at once, and would keep its scroll position.
const PAGE = "[data-testid=stMain] [class*=st-key-page_]"
let shownPage

function beginAtTop(changes) {
  for (const node of changes.flatMap(({ addedNodes }) => [...addedNodes])) {
    const page = node instanceof Element && (node.matches(PAGE) ? node : node.querySelector(PAGE))
    if (!page) continue
    const name = page.className.match(/st-key-page_\S+/)[0]
    if (shownPage && name !== shownPage) page.closest("[data-testid=stMain]").scrollTop = 0
    shownPage = name
  }
}

new MutationObserver(beginAtTop).observe(document, { childList: true, subtree: true })

// The first paint ends when Streamlit draws the side bar or a part of the page (page.css).
const DRAWN = `[data-testid=stAppViewContainer] > [data-testid=stSidebar],
  [data-testid=stMain] [data-testid=stElementContainer] > :not([data-testid=stAppSkeleton])`

function endFirstPaint(_changes, watch) {
  if (!document.querySelector(DRAWN)) return
  watch.disconnect()
  document.documentElement.removeAttribute("data-first-paint")
}

new MutationObserver(endFirstPaint).observe(document, { childList: true, subtree: true })

// Elements that wait for a long run are pale (page.css). Milliseconds after which a run is long.
const LONG_RUN = 500
const STATE = "data-test-script-state"
let longRun

const mark = length => document.documentElement.setAttribute("data-run", length)
mark("short")

function noteRun(changes) {
  clearTimeout(longRun)
  if (changes.at(-1).target.getAttribute(STATE) === "running") {
    longRun = setTimeout(mark, LONG_RUN, "long")
  } else {
    mark("short")
  }
}

new MutationObserver(noteRun).observe(document, { subtree: true, attributeFilter: [STATE] })

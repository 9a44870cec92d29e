"""A chart that Streamlit draws anew stays until the new one is there, in a page without Streamlit:
the elements come and go as Streamlit and Plotly make them.
"""

from playwright.sync_api import Browser, Page, expect

from explorer.first_paint import KEPT_CHARTS

PAGE = """<div class="stElementContainer st-key-line"><div data-testid="stPlotlyChart"></div></div>
<script>
  const chart = () => document.querySelector('[data-testid=stPlotlyChart]')
  function mount() {
    const graph = document.createElement('div')
    graph.className = 'js-plotly-plot'
    graph.on = (name, callback) => { graph.again = callback }
    chart().replaceChildren(graph)
    const drawing = document.createElement('div')
    drawing.className = 'plot-container'
    const groups = '<g class="cartesianlayer"><g></g></g>'
    drawing.innerHTML = `<svg class="main-svg" height="200">${groups}</svg>`
    graph.append(drawing)
  }
  function draw(text) {
    chart().querySelector('g g').innerHTML = `<rect width="90" height="90"/><text>${text}</text>`
  }
</script>"""
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def change(page: Page, script: str) -> None:
    """Runs the script and waits until what it changed is drawn."""
    page.evaluate(f"() => {{ {script} }}")
    page.evaluate(TWO_FRAMES)


def test_a_chart_stays_until_the_next_one_is_drawn(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(PAGE)
    page.add_script_tag(content=KEPT_CHARTS.read_text(encoding="utf-8"), type="module")
    copy = page.locator(".st-key-line > .kept-chart[aria-hidden=true]")
    change(page, "mount(); draw('first')")
    expect(copy).to_have_count(0)
    change(page, "mount()")
    expect(copy.locator("text")).to_have_text("first")
    change(page, "draw('second')")
    expect(copy).to_have_count(0)
    change(page, "draw('third'); chart().firstChild.again(); mount()")
    expect(copy.locator("text")).to_have_text("third")
    page.evaluate("() => chart().parentElement.remove()")
    expect(page.locator(".kept-chart")).to_have_count(0)
    page.close()

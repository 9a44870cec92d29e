// Slider, switch, choices and buttons around the pictures.

function listenToControls(lab) {
  const slider = lab.find(".slider input")
  slider.oninput = () => lab.drag(Number(slider.value) / 1000)
  slider.onchange = () => lab.keying || lab.release()
  slider.onkeydown = event => nudge(lab, event)
  slider.onkeyup = slider.onblur = () => {
    lab.keying = false
    lab.release()
  }
  const fixed = lab.find(".fixed input")
  fixed.onchange = () => {
    lab.drag(fixed.checked ? lab.layer.fixed : 0)
    lab.release()
  }
  for (const radio of lab.root.querySelectorAll("[name=show]"))
    radio.onchange = () => lab.show(radio.value)
  const acts = { undo: () => lab.undo(), redo: () => lab.redo(), clear: () => lab.clear() }
  const zooms = { in: () => lab.zoom(1.5), out: () => lab.zoom(1 / 1.5), fit: () => lab.zoom(0) }
  for (const button of lab.root.querySelectorAll("[data-do]"))
    button.onclick = { ...acts, ...zooms }[button.dataset.do]
}

// Arrows move by 1%, with Shift by 0.1%; other keys are the browser's. One report, when the key
// comes up.
function nudge(lab, event) {
  const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key]
  lab.keying = way !== undefined || /^(Page|Home|End)/.test(event.key)
  event.stopPropagation()
  if (!way) return
  event.preventDefault()
  const moved = Math.round(1000 * lab.ratio) + way * (event.shiftKey ? 1 : 10)
  lab.drag(Math.max(0, Math.min(1000, moved)) / 1000)
}

// What this layer offers: what can be shown of it, a slider or a switch.
function fitControls(lab) {
  const { layer } = lab
  for (const what of ["scores", "mask", "side"]) {
    const missing = what === "scores" ? !lab.inks.scores : !layer.groups
    lab.find(`[value=${what}]`).closest("label").hidden = missing
  }
  lab.find(".fixed span").textContent = worded("cut", { pattern: layer.label })
  lab.find(".fixed").hidden = layer.keepOf === null
  lab.find(".slider").hidden = layer.keepOf !== null
  lab.find(".slider input").disabled = !layer.groups
}

function showRatio(lab) {
  const slider = lab.find(".slider input")
  const text = percent(lab.ratio)
  slider.value = String(Math.round(1000 * lab.ratio))
  slider.style.setProperty("--at", 100 * lab.ratio)
  slider.setAttribute("aria-valuetext", text)
  lab.find(".asked").textContent = text
  lab.find(".fixed input").checked = lab.ratio > 0
}

// Which buttons have something to do.
function showPossible(lab) {
  const { history, mask, given } = lab
  const possible = {
    undo: history.done.length,
    redo: history.undone.length,
    clear: mask.edits.size + given.waiting,
  }
  for (const [name, count] of Object.entries(possible))
    lab.find(`[data-do=${name}]`).disabled = !count
}

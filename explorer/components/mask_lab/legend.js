// The colours and their meaning.

function drawLegend(lab) {
  const { layer, inks, stage, find, root } = lab
  const { near } = stage
  const unsigned = layer.reduced && !near
  const colours = bytes =>
    [0, 64, 128, 191, 255]
      .map(n => `rgb(${bytes[3 * n]} ${bytes[3 * n + 1]} ${bytes[3 * n + 2]})`)
      .join(", ")
  const band = bytes => `linear-gradient(90deg, ${colours(bytes)})`
  const [below, above] = beyond(near?.layer ?? layer)
  find(".scale .band").style.background = band(unsigned ? layer.magnitude : layer.diverging)
  find(".grow").style.background = band(layer.magnitude)
  find(".low").textContent = unsigned ? "0" : `${below ? "≤ " : ""}${number(-layer.limit)}`
  find(".high").textContent = `${above ? "≥ " : ""}${number(layer.limit)}`
  if (inks.range) drawScores(lab, inks.range)
  const { kept, pruned, mark, chosen } = layer.look
  find(".kept").style.background = kept
  find(".pruned").style.background =
    `repeating-linear-gradient(135deg, ${mark} 0 1px, ${pruned} 1px 5px)`
  root.style.setProperty("--chosen", chosen)
  for (const each of root.querySelectorAll(".byhand"))
    each.hidden = !layer.groups || (layer.reduced && !stage.deep)
}

function drawScores({ layer, find }, { least, most, clipped }) {
  const score = rank => ({ score: number(rank * layer.scoresScale[0]) })
  find(".least").textContent = worded("least", score(least))
  find(".most").textContent = worded(clipped ? "clipped" : "most", score(most))
}

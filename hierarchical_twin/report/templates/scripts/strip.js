// What the shrinkage did to one parameter of one patient: own data, estimate, population on one axis.
function stripChart(parameter, estimate, journey, width) {
  const [own, population] = journey;
  const values = [estimate.lower, estimate.upper, estimate.median, population].filter((value) => value !== null);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  // An own estimate far away would hide the rest: it stands at the edge, and the sentence gives its value.
  const reach = 1.5 * (high - low);
  const isNear = own !== null && own > low - reach && own < high + reach;
  if (isNear) [low, high] = [Math.min(low, own), Math.max(high, own)];
  const isLog = parameter.scale === "log" && low > 0 && high > 3 * low;
  const scale = isLog ? logScale(low, high) : linearScale(low, high);
  const inner = width - 2 * 24;
  const across = (value) => 24 + (inner * (scale.forward(value) - scale.low)) / (scale.high - scale.low);
  const svg = draw("svg", { class: "drawn", viewBox: `0 0 ${width} 62`, role: "img", "aria-label": stripWords(parameter, estimate, journey) });
  svg.append(draw("line", { class: "axis", x1: 24, x2: width - 24, y1: 40, y2: 40 }));
  const sparse = Math.ceil(scale.ticks.length / (inner / 60));
  scale.ticks.filter((_, at) => at % sparse === 0).forEach((value) => {
    svg.append(draw("line", { class: "axis", x1: across(value), x2: across(value), y1: 40, y2: 44 }));
    svg.append(draw("text", { x: across(value), y: 57, "text-anchor": "middle" }, tick(value)));
  });
  if (estimate.lower !== null) {
    svg.append(draw("line", { class: "interval", x1: across(estimate.lower), x2: across(estimate.upper), y1: 20, y2: 20 }));
  }
  if (isNear) svg.append(draw("line", { class: "path", x1: across(own), x2: across(estimate.median), y1: 20, y2: 20 }));
  if (population !== null) svg.append(diamond(across(population), 20, 6));
  svg.append(draw("circle", { class: "shrunken", cx: across(estimate.median), cy: 20, r: 5.5 }));
  if (isNear) svg.append(draw("circle", { class: "own", cx: across(own), cy: 20, r: 5.5 }));
  return svg;
}

function diamond(x, y, size) {
  return draw("path", { class: "typical", d: `M${x} ${y - size}L${x + size} ${y}L${x} ${y + size}L${x - size} ${y}Z` });
}

function stripWords(parameter, estimate, journey) {
  const [own, population, share] = journey;
  const unit = parameter.unit ? ` ${parameter.unit}` : "";
  const value = (number) => `${plain(number)}${unit}`;
  if (own === null) return `${parameter.name}: their own data do not determine it. The estimate is ${value(estimate.median)}; people like them have ${value(population)}.`;
  const start = `${parameter.name}: their own data alone say ${value(own)}, people like them have ${value(population)}. The estimate, ${value(estimate.median)}, `;
  if (share === null || share < 0 || share > 1) return `${start}does not lie between the two, because parameters are estimated together.`;
  return `${start}keeps ${percent(share)} of the distance from the population to their own data.`;
}

function miniInterval(parameter, estimate) {
  const forward = parameter.scale === "log" ? Math.log : (value) => value;
  const [low, high] = [forward(parameter.low), forward(parameter.high)];
  const across = (value) => (2 + (84 * (forward(value) - low)) / (high - low || 1)).toFixed(1);
  const svg = draw("svg", { class: "mini", viewBox: "0 0 88 11", "aria-hidden": "true" });
  svg.append(draw("line", { class: "base", x1: 2, x2: 86, y1: 5.5, y2: 5.5 }));
  if (estimate.lower === null) return svg;
  svg.append(draw("line", { x1: across(estimate.lower), x2: across(estimate.upper), y1: 5.5, y2: 5.5 }));
  svg.append(draw("circle", { cx: across(estimate.median), cy: 5.5, r: 3 }));
  return svg;
}

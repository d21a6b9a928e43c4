// Charts of one patient: data, fit, bands and population over time or another coordinate; residuals.
const FRAME = { left: 62, right: 12, top: 12, bottom: 44 };

function linearScale(low, high) {
  const margin = 0.04 * (high - low) || Math.abs(high) * 0.1 || 1;
  return { low: low - margin, high: high + margin, forward: (value) => value, ticks: linearTicks(low - margin, high + margin, 6) };
}

function linearTicks(low, high, most) {
  const raw = (high - low) / most;
  const base = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * base).find((size) => size >= raw);
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high; at += 1) ticks.push(at * step);
  return ticks;
}

function logScale(low, high) {
  const [from, to] = [Math.log10(low), Math.log10(high)];
  const margin = 0.05 * (to - from) || 0.1;
  const forward = Math.log10;
  const range = { low: from - margin, high: to + margin };
  const factors = to - from < 2.5 ? [1, 2, 5] : [1];
  let ticks = [];
  for (let power = Math.floor(range.low); power <= Math.ceil(range.high); power += 1) {
    ticks.push(...factors.map((factor) => factor * 10 ** power));
  }
  ticks = ticks.filter((value) => forward(value) >= range.low && forward(value) <= range.high);
  if (ticks.length < 3) ticks = linearTicks(10 ** range.low, 10 ** range.high, 5).filter((value) => value > 0);
  return { ...range, forward, ticks };
}

function decadeScale(threshold, high) {
  const forward = (value) => (value <= threshold ? (0.6 * value) / threshold : 0.6 + Math.log10(value / threshold));
  const ticks = [0];
  for (let power = Math.ceil(Math.log10(threshold)); 10 ** power <= high; power += 1) ticks.push(10 ** power);
  return { low: -0.15, high: forward(high) + 0.12, forward, ticks };
}

function scaleFor(values, kind, threshold) {
  const known = values.filter((value) => value !== null && value !== undefined && (kind !== "log" || value > 0));
  const [low, high] = [Math.min(...known), Math.max(...known)];
  if (kind === "decades") return decadeScale(threshold, high);
  return kind === "log" ? logScale(low, high) : linearScale(low, high);
}

function plotArea(width, height, x, y, words) {
  const inner = { width: width - FRAME.left - FRAME.right, height: height - FRAME.top - FRAME.bottom };
  const place = (scale, value) => (scale.forward(value) - scale.low) / (scale.high - scale.low);
  const across = (value) => FRAME.left + inner.width * place(x, value);
  const up = (value) => FRAME.top + inner.height * (1 - place(y, value));
  const svg = draw("svg", { class: "drawn", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words.alternative });
  for (const value of y.ticks) {
    svg.append(draw("line", { class: "grid", x1: FRAME.left, x2: width - FRAME.right, y1: up(value), y2: up(value) }));
    svg.append(draw("text", { x: FRAME.left - 7, y: up(value) + 3.5, "text-anchor": "end" }, tick(value)));
  }
  const bottom = height - FRAME.bottom;
  svg.append(draw("line", { class: "axis", x1: FRAME.left, x2: width - FRAME.right, y1: bottom, y2: bottom }));
  const sparse = x.ticks.length > inner.width / 45 ? 2 : 1;
  x.ticks.forEach((value, at) => {
    if (at % sparse) return;
    svg.append(draw("line", { class: "axis", x1: across(value), x2: across(value), y1: bottom, y2: bottom + 4 }));
    svg.append(draw("text", { x: across(value), y: bottom + 17, "text-anchor": "middle" }, tick(value)));
  });
  svg.append(draw("text", { class: "label", x: FRAME.left + inner.width / 2, y: height - 6, "text-anchor": "middle" }, words.across));
  const middle = FRAME.top + inner.height / 2;
  svg.append(draw("text", { class: "label", x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, words.up));
  return { svg, across, up, bottom };
}

function pathOf(area, xs, ys) {
  let text = "";
  let pen = "M";
  xs.forEach((value, at) => {
    const level = ys[at];
    const height = level === null ? NaN : area.up(level);
    if (!Number.isFinite(height)) { pen = "M"; return; }
    text += `${pen}${area.across(value).toFixed(1)} ${height.toFixed(1)}`;
    pen = "L";
  });
  return text;
}

function bandOf(area, xs, lower, upper, floor) {
  const known = xs.map((_, at) => at).filter((at) => lower[at] !== null && upper[at] !== null);
  // A limit at or below zero has no place on a logarithmic axis: the band reaches the frame there.
  const height = (value) => { const found = area.up(value); return Number.isFinite(found) ? Math.min(found, floor) : floor; };
  const there = known.map((at) => `${area.across(xs[at]).toFixed(1)} ${height(upper[at]).toFixed(1)}`);
  const back = known.reverse().map((at) => `${area.across(xs[at]).toFixed(1)} ${height(lower[at]).toFixed(1)}`);
  return there.length ? `M${there.join("L")}L${back.join("L")}Z` : "";
}

function fitChart(data, width) {
  const { rows, curve, outcome, coordinate } = data;
  const line = curve.place.length > 1 ? curve : joinedRows(rows);
  const kind = coordinate.decades_from === null ? "linear" : "decades";
  const x = scaleFor([...rows.place, ...line.place], kind, coordinate.decades_from);
  const heights = [rows.DV, line.median, line.lower, line.upper, line.population, line.lower_new, line.upper_new].flat();
  const y = scaleFor(heights, outcome.log ? "log" : "linear");
  const across = withUnit(coordinate.name, coordinate.unit);
  const area = plotArea(width, Math.max(240, Math.min(340, width * 0.55)), x, y, { across, up: withUnit(outcome.name, outcome.unit), alternative: data.alternative });
  for (const [style, lower, upper] of [["band-new", line.lower_new, line.upper_new], ["band", line.lower, line.upper]]) {
    if (lower.length) area.svg.append(draw("path", { class: style, d: bandOf(area, line.place, lower, upper, area.bottom) }));
  }
  if (line.population.length) area.svg.append(draw("path", { class: "population", d: pathOf(area, line.place, line.population) }));
  if (line.median.length) area.svg.append(draw("path", { class: "fit", d: pathOf(area, line.place, line.median) }));
  rows.place.forEach((place, at) => area.svg.append(point(area, rows, place, at)));
  return area.svg;
}

function joinedRows(rows) {
  const column = (name) => rows[name] ?? [];
  return {
    place: rows.place, median: column("IPRED"), lower: column("lower"), upper: column("upper"),
    lower_new: column("lower_new"), upper_new: column("upper_new"), population: column("PRED"),
  };
}

function isOutside(rows, at) {
  if (!rows.lower_new || rows.censored[at] !== 0 || rows.lower_new[at] === null) return false;
  return rows.DV[at] < rows.lower_new[at] || rows.DV[at] > rows.upper_new[at];
}

function point(area, rows, place, at) {
  const [cx, cy] = [area.across(place), area.up(rows.DV[at])];
  const side = rows.censored[at];
  if (side !== 0) {
    // A censored value stands at its limit and points to where the true one lies.
    const way = side > 0 ? 1 : -1;
    return draw("path", { class: "beyond", d: `M${cx - 5} ${cy - 3 * way}L${cx + 5} ${cy - 3 * way}L${cx} ${cy + 6 * way}Z` });
  }
  if (isOutside(rows, at)) {
    return draw("path", { class: "outside", d: `M${cx} ${cy - 5.5}L${cx + 5.5} ${cy}L${cx} ${cy + 5.5}L${cx - 5.5} ${cy}Z` });
  }
  return draw("circle", { class: "point", cx, cy, r: 3.2 });
}

function residualChart(data, width) {
  const { rows, outcome, coordinate } = data;
  const known = rows.place.map((_, at) => at).filter((at) => rows.IWRES[at] !== null);
  const kind = coordinate.decades_from === null ? "linear" : "decades";
  const x = scaleFor(rows.place, kind, coordinate.decades_from);
  const reach = Math.max(2.5, ...known.map((at) => Math.abs(rows.IWRES[at])));
  const y = linearScale(-reach, reach);
  y.ticks = linearTicks(-reach, reach, 5);
  const alternative = `Weighted residuals of ${outcome.name} along ${coordinate.name}: ${known.length} values, `
    + `${known.filter((at) => Math.abs(rows.IWRES[at]) > 2).length} of them beyond 2.`;
  const words = { across: withUnit(coordinate.name, coordinate.unit), up: "IWRES", alternative };
  const area = plotArea(width, 190, x, y, words);
  for (const level of [-2, 0, 2]) {
    const style = level ? "guide" : "axis";
    area.svg.append(draw("line", { class: style, x1: FRAME.left, x2: width - FRAME.right, y1: area.up(level), y2: area.up(level) }));
  }
  for (const at of known) {
    area.svg.append(draw("circle", { class: "point", cx: area.across(rows.place[at]), cy: area.up(rows.IWRES[at]), r: 3 }));
  }
  return area.svg;
}

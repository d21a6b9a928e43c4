// The page of one patient, drawn when it is asked for.
function named(columns, values) {
  return Object.fromEntries(columns.map((name, place) => [name, values[place] ?? []]));
}

function patientView(store, neighbours, close) {
  const host = document.getElementById("patient");
  const { head } = store;

  function show(at, go) {
    const [rows, curves, journeys] = store.details(at);
    const width = Math.max(280, Math.min(736, document.getElementById("browse").clientWidth - 56));
    const data = head.outcomes.map((outcome, place) => {
      const own = named(head.row_columns, rows[place]);
      return { outcome, coordinate: head.coordinate, rows: own, curve: named(head.curve_columns, curves[place]), alternative: alternative(store, at, outcome, own) };
    }).filter(({ rows: own }) => own.place && own.place.length);
    const title = make("h3", { id: "patient-title", tabindex: -1 }, `Patient ${store.rows[at][0]}`);
    const { previous, next } = neighbours(at);
    const step = (target, text) => {
      const made = button(text, () => go(target));
      made.disabled = target === null;
      return made;
    };
    const tools = make("p", { class: "tools patient-tools" }, step(previous, "Previous"), step(next, "Next"), button("Close", close));
    host.replaceChildren(
      make("div", { class: "patient-head" }, title, tools),
      ...data.flatMap((one) => fitPart(one, width)),
      ...estimatePart(at, journeys),
      ...journeyPart(at, journeys, width),
      ...data.flatMap((one) => residualPart(one, width)),
    );
    host.hidden = false;
    return title;
  }

  function fitPart(one, width) {
    const parts = [make("h4", {}, `${withUnit(one.outcome.name, one.outcome.unit)}: data and fit`), fitChart(one, width), legend(one)];
    const columns = ["place", "DV", "IPRED", "PRED", "lower_new", "upper_new", "IWRES", "NPDE"].filter((name) => one.rows[name]);
    const labels = { place: withUnit(one.coordinate.name, one.coordinate.unit), lower_new: "band from", upper_new: "to", DV: "measured" };
    const lines = one.rows.place.map((_, at) => columns.map((name) => {
      const text = name === "place" ? tick(one.rows[name][at]) : plain(one.rows[name][at]);
      return name === "DV" && one.rows.censored[at] ? `${one.rows.censored[at] > 0 ? "<" : ">"} ${text}` : text;
    }));
    const table = numbersTable(`Measurements of ${one.outcome.name} and what the model says of them`, columns.map((name) => labels[name] ?? name), lines);
    return [...parts, make("details", {}, make("summary", {}, "The numbers behind the picture"), table)];
  }

  function estimatePart(at, journeys) {
    const rows = head.parameters.map((parameter, place) => {
      const one = store.estimate(at, place);
      const journey = journeys[place];
      return [withUnit(parameter.name, parameter.unit), plain(one.median), span(one.lower, one.upper), `${plain(one.mean)} ± ${plain(one.sd, 2)}`,
        journey ? plain(journey[0]) : "", journey ? plain(journey[1]) : "", one.rhat === null ? "–" : one.rhat.toFixed(3),
        one.ess_bulk === null ? "–" : Math.round(Math.min(one.ess_bulk, one.ess_tail)).toLocaleString("en-US")];
    });
    const columns = ["Parameter", "Median", head.interval, "Mean ± SD", "Own data alone", "Population", "R-hat", "ESS"];
    return [make("h4", {}, "Estimates"), numbersTable("Estimates and intervals of this patient", columns, rows)];
  }

  function journeyPart(at, journeys, width) {
    const parts = journeys.flatMap((journey, place) => {
      if (!journey) return [];
      const [parameter, estimate] = [head.parameters[place], store.estimate(at, place)];
      return [make("p", {}, stripWords(parameter, estimate, journey)), stripChart(parameter, estimate, journey, width)];
    });
    if (!parts.length) return [];
    const told = store.rows[at][4].map((value, place) => `${head.effects[place]} ${percent(value)}`).join(", ");
    const note = make("p", { class: "note" }, `Share of the population's variance that is left after this patient's data, var(η|y)/ω²: ${told}. Near 100 %, their data say nothing of it.`);
    return [make("h4", {}, "What the shrinkage did"), ...parts, journeyLegend(), note];
  }

  function residualPart(one, width) {
    if (!one.rows.IWRES || !one.rows.IWRES.some((value) => value !== null)) return [];
    return [make("h4", {}, `${one.outcome.name}: weighted residuals`), residualChart(one, width)];
  }

  function hide() { host.hidden = true; host.replaceChildren(); }
  return { show, hide };
}

function alternative(store, at, outcome, rows) {
  const [first, last] = [rows.place[0], rows.place[rows.place.length - 1]];
  const values = rows.DV.filter((value) => value !== null);
  const unit = store.head.coordinate.unit;
  const outside = rows.place.filter((_, place) => isOutside(rows, place)).length;
  return `Patient ${store.rows[at][0]}: ${rows.place.length} measurements of ${outcome.name} from ${store.head.coordinate.name} ${plain(first)} to ${plain(last)} ${unit}`.trim()
    + `, between ${plain(Math.min(...values))} and ${plain(Math.max(...values))} ${outcome.unit}`.trimEnd()
    + `, with the fitted curve and its bands; ${outside} outside the band of a new measurement. The numbers stand in the table below.`;
}

function swatch(...shapes) {
  return draw("svg", { class: "drawn", viewBox: "0 0 24 12", "aria-hidden": "true" }, ...shapes);
}

function legend({ rows, curve }) {
  const line = (style) => swatch(draw("line", { class: style, x1: 1, x2: 23, y1: 6, y2: 6 }));
  const area = (style) => swatch(draw("rect", { class: style, x: 1, y: 1, width: 22, height: 10 }));
  const has = (name) => Boolean(curve.place.length > 1 || rows[name]);
  const items = [["measured", swatch(draw("circle", { class: "point", cx: 12, cy: 6, r: 3.2 }))]];
  if (rows.place.some((_, at) => isOutside(rows, at))) items.push(["measured, outside the band", swatch(draw("path", { class: "outside", d: "M12 0.5L17.5 6L12 11.5L6.5 6Z" }))]);
  if (rows.censored.some((side) => side)) items.push(["beyond a limit", swatch(draw("path", { class: "beyond", d: "M7 3L17 3L12 11Z" }))]);
  if (has("IPRED")) items.push(["this patient, fitted", line("fit")]);
  if (has("lower")) items.push(["interval of their course", area("band")]);
  if (has("lower_new")) items.push(["band of a new measurement", area("band-new")]);
  if (has("PRED")) items.push(["population", line("population")]);
  return make("ul", { class: "legend" }, ...items.map(([word, sign]) => make("li", {}, sign, word)));
}

function journeyLegend() {
  const circle = (style) => swatch(draw("circle", { class: style, cx: 12, cy: 6, r: 4.5 }));
  const items = [["own data alone", circle("own")], ["estimate and interval", circle("shrunken")], ["population, at their covariates", swatch(diamond(12, 6, 5))]];
  return make("ul", { class: "legend" }, ...items.map(([word, sign]) => make("li", {}, sign, word)));
}

// The table of patients: find, sort, turn pages. Rows are drawn for the page that is shown.
const ROWS_SHOWN = 25;
const ROWS_PRINTED = 400;
const MOST_PARAMETERS = 5;
const LIMIT_RHAT = 1.01;

function patientStore() {
  const { head, rows } = readData("patients-data");
  const blocks = [...document.querySelectorAll("script.patients-block")];
  const parsed = new Map();
  const details = (at) => {
    const block = Math.floor(at / head.block);
    if (!parsed.has(block)) parsed.set(block, JSON.parse(blocks[block].textContent));
    return parsed.get(block)[at % head.block];
  };
  const estimate = (at, parameter) =>
    Object.fromEntries(head.statistics.map((name, place) => [name, rows[at][3][parameter][place]]));
  return { head, rows, details, estimate };
}

function tableColumns(store) {
  const { head, rows } = store;
  const columns = [
    { key: "patient", label: "Patient", value: (at) => rows[at][0], isText: true },
    { key: "count", label: "Measurements", value: (at) => rows[at][1], isMinor: true },
  ];
  if (rows.some((row) => row[2] !== null)) columns.push({ key: "outside", label: "Outside band", value: (at) => rows[at][2], isMinor: true });
  head.parameters.map((parameter, place) => ({ parameter, place })).filter(({ parameter }) => parameter.varies)
    .slice(0, MOST_PARAMETERS).forEach(({ parameter, place }) => columns.push({
      key: `parameter-${place}`, label: withUnit(parameter.name, parameter.unit), parameter, place,
      value: (at) => rows[at][3][place][1],
    }));
  if (head.effects.length) columns.push({ key: "shrinkage", label: "Shrinkage", value: (at) => worstShrinkage(store, at)[0], isShare: true });
  const worst = rows.map((row) => Math.max(...row[3].map((one) => one[5] ?? 0)));
  if (worst.some((value) => value > LIMIT_RHAT)) columns.push({ key: "rhat", label: "R-hat", value: (at) => worst[at] });
  return columns;
}

function worstShrinkage({ head, rows }, at) {
  const known = rows[at][4].map((value, place) => [value, head.effects[place]]).filter(([value]) => value !== null);
  return known.length ? known.reduce((worst, one) => (one[0] > worst[0] ? one : worst)) : [null, ""];
}

function patientTable(store, open) {
  const columns = tableColumns(store);
  const words = store.rows.map((row) => row[0].toLocaleLowerCase());
  const state = { query: "", column: null, isDescending: false, page: 0, isPrinting: false, opened: null };
  const body = document.getElementById("people");
  const headers = columns.map((column) => {
    const sorts = button(column.label, () => sortBy(column));
    return make("th", { scope: "col", "aria-sort": "none", class: column.isMinor ? "minor" : null }, sorts);
  });
  document.getElementById("people-head").append(...headers);

  function sortBy(column) {
    // Numbers are looked at from the greatest down, names from A on.
    state.isDescending = state.column === column ? !state.isDescending : !column.isText;
    state.column = column;
    state.page = 0;
    render();
  }

  function order() {
    const query = state.query.trim().toLocaleLowerCase();
    const places = words.map((_, at) => at).filter((at) => words[at].includes(query));
    const { column } = state;
    if (!column) return places;
    const collator = new Intl.Collator(undefined, { numeric: true });
    const compare = column.isText
      ? (one, other) => collator.compare(column.value(one), column.value(other))
      : (one, other) => (column.value(one) ?? -Infinity) - (column.value(other) ?? -Infinity);
    places.sort(compare);
    return state.isDescending ? places.reverse() : places;
  }

  function render() {
    const places = order();
    const size = state.isPrinting ? ROWS_PRINTED : ROWS_SHOWN;
    const pages = Math.max(1, Math.ceil(places.length / size));
    state.page = Math.min(state.page, pages - 1);
    const shown = places.slice(state.page * size, (state.page + 1) * size);
    headers.forEach((header, at) => {
      const direction = state.isDescending ? "descending" : "ascending";
      header.setAttribute("aria-sort", columns[at] === state.column ? direction : "none");
    });
    body.replaceChildren(...shown.map((at) => tableRow(at)));
    const total = store.rows.length.toLocaleString("en-US");
    const all = store.rows.length === 1 ? "1 patient" : `${total} patients`;
    document.getElementById("found").textContent = state.query.trim() ? `${places.length.toLocaleString("en-US")} of ${all}` : all;
    pager(pages, places.length, size);
  }

  function tableRow(at) {
    const cells = columns.map((column) => {
      if (column.isText) {
        return make("th", { scope: "row" }, button(store.rows[at][0], () => open(at), { "data-at": at }));
      }
      if (column.parameter) {
        const estimate = store.estimate(at, column.place);
        const limits = make("span", { class: "limits" }, span(estimate.lower, estimate.upper));
        return make("td", {}, miniInterval(column.parameter, estimate), " ", plain(estimate.median), limits);
      }
      if (column.isShare) {
        const [share, effect] = worstShrinkage(store, at);
        return make("td", {}, percent(share), make("span", { class: "limits" }, effect));
      }
      const value = column.value(at);
      return make("td", { class: column.isMinor ? "minor" : null }, column.key === "rhat" ? value.toFixed(3) : value === null ? "–" : String(value));
    });
    return make("tr", { class: at === state.opened ? "open" : null }, ...cells);
  }

  function pager(pages, count, size) {
    const host = document.getElementById("pager");
    if (pages === 1) { host.replaceChildren(); return; }
    const turn = (step) => { state.page += step; render(); };
    const back = button("Previous page", () => turn(-1));
    const forth = button("Next page", () => turn(1));
    back.disabled = state.page === 0;
    forth.disabled = state.page === pages - 1;
    const first = state.page * size + 1;
    const last = Math.min(count, first + size - 1);
    host.replaceChildren(back, forth, make("span", {}, `${first.toLocaleString("en-US")} to ${last.toLocaleString("en-US")} of ${count.toLocaleString("en-US")}`));
  }

  function find(query) { state.query = query; state.page = 0; render(); }
  function mark(at) { state.opened = at; render(); }
  function print(isPrinting) { state.isPrinting = isPrinting; render(); }
  render();
  return { find, mark, print, order };
}

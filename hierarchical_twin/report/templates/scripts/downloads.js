// Saving tables as CSV. Spreadsheets run text that begins like a formula: such text gets an apostrophe.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const safe = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csvText(columns, rows) {
  return [columns, ...rows].map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
}

function save(name, text, kind) {
  const address = URL.createObjectURL(new Blob([text], { type: `${kind};charset=utf-8` }));
  const link = make("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function intervalRows({ head, rows }) {
  return rows.flatMap(([label, , , estimates]) => head.parameters.map((parameter, place) =>
    [label, parameter.name, parameter.declared, ...estimates[place], head.prob, "equal-tailed"]));
}

function measuredRows(store) {
  const { head, rows } = store;
  return rows.flatMap(([label], at) => {
    const [measured] = store.details(at);
    return measured.flatMap((columns, place) => (columns.length ? columns[0] : []).map((_, row) =>
      [label, head.outcomes[place].name, ...columns.map((column) => column[row])]));
  });
}

function prepareDownloads(store) {
  const known = new Map(readData("downloads-data").map((one) => [one.name, one]));
  for (const saver of document.querySelectorAll("button[data-save]")) {
    const one = known.get(saver.dataset.save);
    if (!one) continue;
    saver.hidden = false;
    saver.addEventListener("click", () => {
      if (one.columns.length) save(one.name, csvText(one.columns, one.rows), "text/csv");
      else save(one.name, one.text, "text/plain");
    });
  }
  document.getElementById("save-intervals").addEventListener("click", () =>
    save("intervals.csv", csvText(["patient", "parameter", "unit", ...store.head.statistics, "prob", "kind"], intervalRows(store)), "text/csv"));
  const columns = store.head.row_columns.map((name) => (name === "place" ? store.head.coordinate.name : name));
  document.getElementById("save-rows").addEventListener("click", () =>
    save("rows.csv", csvText(["patient", "outcome", ...columns], measuredRows(store)), "text/csv"));
}

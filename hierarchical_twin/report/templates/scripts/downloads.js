// The tables that are put together from the patients' data when they are saved.
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
  prepareSaving();
  document.getElementById("save-intervals").addEventListener("click", () =>
    save("intervals.csv", csvText(["patient", "parameter", "unit", ...store.head.statistics, "prob", "kind"], intervalRows(store)), "text/csv"));
  const columns = store.head.row_columns.map((name) => (name === "place" ? store.head.coordinate.name : name));
  document.getElementById("save-rows").addEventListener("click", () =>
    save("rows.csv", csvText(["patient", "outcome", ...columns], measuredRows(store)), "text/csv"));
}

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

function readData(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

function prepareSaving() {
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
}

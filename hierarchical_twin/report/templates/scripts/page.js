// What happens when: opening a patient, searching, printing, the theme.
function start() {
  const store = patientStore();
  document.getElementById("browse").hidden = false;
  let opened = null;
  const table = patientTable(store, (at) => go(at));

  function neighbours(at) {
    const order = table.order();
    const place = order.indexOf(at);
    return { previous: order[place - 1] ?? null, next: place < 0 ? order[0] ?? null : order[place + 1] ?? null };
  }

  function go(at) {
    opened = at;
    table.mark(at);
    const title = view.show(at, go);
    title.focus({ preventScroll: true });
    document.getElementById("patient").scrollIntoView({ block: "start" });
    remember(`#patient=${encodeURIComponent(store.rows[at][0])}`);
  }

  function close() {
    const at = opened;
    opened = null;
    view.hide();
    table.mark(null);
    remember("#patients");
    (document.querySelector(`#people button[data-at="${at}"]`) ?? document.getElementById("find")).focus();
  }

  function redraw() {
    if (opened === null) return;
    const isInside = document.getElementById("patient").contains(document.activeElement);
    const title = view.show(opened, go);
    if (isInside) title.focus({ preventScroll: true });
  }

  const view = patientView(store, neighbours, close);
  document.getElementById("find").addEventListener("input", (event) => table.find(event.target.value));
  document.getElementById("patient").addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  window.addEventListener("beforeprint", () => { table.print(true); openDetails(true); });
  window.addEventListener("afterprint", () => { table.print(false); openDetails(false); });
  let [waiting, width] = [0, window.innerWidth];
  window.addEventListener("resize", () => {
    // A phone's address bar changes the height alone: nothing to draw again.
    if (opened === null || window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 200);
  });
  prepareDownloads(store);
  theme();
  const asked = /^#patient=(.*)$/.exec(location.hash);
  const at = asked ? store.rows.findIndex((row) => row[0] === decoded(asked[1])) : -1;
  if (at >= 0) go(at);
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function remember(hash) {
  // Some browsers refuse to change the address of a page opened from disk: then it stays as it was.
  try { history.replaceState(null, "", hash); } catch { /* nothing depends on it */ }
}

function openDetails(isPrinting) {
  for (const one of document.querySelectorAll("main details")) {
    if (isPrinting && !one.open) { one.open = true; one.dataset.printed = ""; }
    else if (!isPrinting && "printed" in one.dataset) { one.open = false; delete one.dataset.printed; }
  }
}

start();

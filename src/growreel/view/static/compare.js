// The page of all runs.
import { byId, element, get, address, clip, times, count, trouble } from "./tools.js";
import { showCharts } from "./charts.js";

let last = "", open = () => {};
const chosen = new Set();

export function begin(hello, openRun) {
  open = openRun;
  byId("compare-show").addEventListener("click", () => beside().then(() => trouble(null), trouble));
}

export async function enter() { last = ""; await refresh(); }
export function leave() { last = ""; }

export async function refresh() {
  const table = await get("compare");
  const text = JSON.stringify(table);
  if (text === last) return;
  last = text;
  const heads = ["Choose", "Run", "Size now", "Last size", "Loss", "Clips", "Done", "Hours", ...table.metrics];
  byId("compare-head").replaceChildren(...heads.map((textContent) => element("th", { scope: "col", textContent })));
  byId("compare-rows").replaceChildren(...table.rows.map((row) => {
    const box = element("input", { type: "checkbox", checked: chosen.has(row.id), "aria-label": `Choose ${row.id}`, "data-run": row.id });
    box.addEventListener("change", () => { if (box.checked) chosen.add(row.id); else chosen.delete(row.id); limit(); });
    const name = element("button", { type: "button", textContent: row.id });
    name.addEventListener("click", () => open(row.id));
    if (row.error) return element("tr", {}, element("td"), element("th", { scope: "row", textContent: row.id }), element("td", { colSpan: heads.length - 2, textContent: row.error }));
    const cells = [times(row.size), times(row.last_size), row.loss, count(row.clips), `${Math.round(row.share * 100)} %`, row.hours, ...table.metrics.map((metric) => row.metrics[metric] ?? "")];
    return element("tr", {}, element("td", {}, box), element("th", { scope: "row" }, name), ...cells.map((textContent) => element("td", { textContent })));
  }));
  limit();
}

function limit() {
  byId("compare-show").disabled = chosen.size < 1;
  for (const box of byId("compare-rows").querySelectorAll("input")) box.disabled = !box.checked && chosen.size >= 4;
}

async function beside() {
  const found = await get("compare/beside", { runs: [...chosen].join("|") });
  const place = byId("compare-beside");
  const charts = element("div", { className: "charts" }), reader = element("div");
  const columns = found.runs.map((each) => {
    const column = element("div", {}, element("h3", { textContent: each.name }), element("p", { className: "about", textContent: each.facts.map(([name, value]) => `${name} ${value}`).join(", ") }));
    if (each.sample) column.append(clip(element("img", { alt: `Newest samples of ${each.name}`, src: address("sample", { run: each.id, name: each.sample }) })));
    return column;
  });
  place.replaceChildren(element("h2", { textContent: "Beside each other" }), element("div", { className: "beside-runs" }, ...columns), reader, charts);
  if (found.card.length) {
    const head = element("tr", {}, element("th", { scope: "col", textContent: "Metric" }), ...found.runs.map((each) => element("th", { scope: "col", textContent: each.name })));
    const rows = found.card.map((row) => element("tr", {}, element("th", { scope: "row", textContent: row.name }), ...row.cells.map((cell) => element("td", { textContent: cell ? `${cell.value} ${cell.interval}` : "" }))));
    place.append(element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Metric cards" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))));
    if (found.card_differences.length) place.append(element("p", { className: "warning", textContent: `Not measured in the same way: ${found.card_differences.join("; ")}` }));
  }
  showCharts(charts, reader, found.charts, "compare-reader");
}

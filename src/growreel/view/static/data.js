// The page of the clips that are learnt.
import { byId, element, get, post, address, say, trouble, clip, times, count, arrows, currentRun } from "./tools.js";

let first = 0, last = "", state = null, later = 0, asked = 0;

export function begin() {
  byId("data-form").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["data-show", "data-label", "data-sort", "data-down"]) byId(id).addEventListener("change", again);
  byId("data-text").addEventListener("input", () => { clearTimeout(later); later = setTimeout(again, 250); });
  byId("data-before").addEventListener("click", () => turn(-1));
  byId("data-next").addEventListener("click", () => turn(1));
  byId("data-wall").addEventListener("keydown", keys);
}

export async function enter() { last = ""; await refresh(); }
export function leave() { first = 0; last = ""; }
function again() { first = 0; refresh().then(() => trouble(null), trouble); }
function turn(by) { first = Math.max(0, first + by * state.rows.length); refresh().then(() => trouble(null), trouble); }

export async function refresh() {
  const values = { show: byId("data-show").value, label: byId("data-label").value, text: byId("data-text").value, sort: byId("data-sort").value, down: byId("data-down").checked ? "1" : "0", first };
  const mine = (asked += 1), answer = await get("data", values);
  if (mine !== asked) return; // something else was asked for meanwhile, and its answer may have come first
  state = answer;
  const text = JSON.stringify(state) + currentRun();
  if (text === last) return;
  last = text;
  byId("data-lede").textContent = `${state.store}: ${count(state.clips)} clips of ${times(state.size)}, ${Number(state.fps.toFixed(2))} frames a second.`;
  const looked = state.looked < state.to_look ? ` Looked at ${count(state.looked)} of ${count(state.to_look)} so far.` : "";
  byId("data-about").textContent = `${count(state.found)} shown, ${count(state.dropped)} dropped; growreel prepare --drop ${state.list} leaves those out.${looked} ${state.error}`;
  const label = byId("data-label"), labels = ["", ...state.labels];
  if (label.options.length !== labels.length) label.replaceChildren(...labels.map((name) => element("option", { value: name, textContent: name || "any" })));
  label.disabled = labels.length < 2;
  show();
  byId("data-before").disabled = state.first === 0;
  byId("data-next").disabled = state.first + state.rows.length >= state.found;
  byId("data-place").textContent = state.rows.length ? `${count(state.first + 1)} to ${count(state.first + state.rows.length)}` : "";
  const rows = state.skipped.map((each) => element("tr", {}, element("th", { scope: "row", textContent: each.name }), element("td", { textContent: each.reason })));
  byId("data-skipped").replaceChildren(...(rows.length ? rows : [element("tr", {}, element("td", { colSpan: 2, textContent: "Nothing was skipped." }))]));
}

function show() {
  const list = byId("data-wall"), key = `${currentRun()} ${state.rows.map((row) => row.clip).join()}`;
  const focused = document.activeElement?.dataset.clip;
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...state.rows.map((row) => {
      const image = clip(element("img", { alt: "", loading: "lazy", src: address("data/clip", { clip: row.clip }), className: "pixels" }));
      const tile = element("button", { type: "button", className: "tile", "data-clip": row.clip }, image);
      tile.addEventListener("click", () => mark(row.clip, null));
      return element("li", {}, tile, element("div", { className: "facts-of" }));
    }));
    if (!state.rows.length) list.replaceChildren(element("li", { className: "empty", textContent: "No clip is like that." }));
  }
  for (const [k, row] of state.rows.entries()) paint(list.children[k], row);
  if (focused) list.querySelector(`[data-clip="${focused}"]`)?.focus();
}

function paint(item, row) {
  const tile = item.querySelector(".tile");
  tile.setAttribute("aria-pressed", String(row.dropped));
  tile.setAttribute("aria-label", `Drop clip ${row.clip} of ${row.source}`);
  tile.classList.toggle("dropped", row.dropped);
  const parts = [`${row.clip}: ${row.source}, frame ${row.frame}`];
  if (row.label !== null) parts.push(`label ${row.label}`);
  if (row.brightness !== null) parts.push(`brightness ${row.brightness}, motion ${row.motion}`);
  if (row.copy_of !== null) parts.push(`copy of ${row.copy_of}`);
  const said = row.dropped ? [element("span", { className: "state", textContent: "dropped " })] : [];
  item.querySelector(".facts-of").replaceChildren(...said, parts.join(" \u00b7 "));
}

async function mark(number, keep) {
  const row = state.rows.find((each) => each.clip === number);
  const kept = keep === null ? row.dropped : keep;
  try {
    const answer = await post("drop", { clip: number, keep: kept });
    row.dropped = !kept;
    state.dropped = answer.dropped;
    show();
    say(`Clip ${number} is ${kept ? "kept" : "dropped"}`);
    byId("data-about").textContent = `${count(state.found)} shown, ${count(state.dropped)} dropped; growreel prepare --drop ${state.list} leaves those out.`;
  } catch (error) { trouble(error); }
}

function keys(event) {
  const tile = event.target.closest(".tile");
  if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
  if (arrows(event, byId("data-wall"))) return;
  if (event.key === "d" || event.key === "k") mark(Number(tile.dataset.clip), event.key === "k");
}

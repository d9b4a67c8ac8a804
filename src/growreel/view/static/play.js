// The page of clips that are made on demand.
import { byId, element, get, getBytes, address, say, trouble, clip, times, count, arrows, isMoving } from "./tools.js";
import { startWalk, stopWalk, walking } from "./walk.js";

const AT_ONCE = 4, MIXES = 9, NEAR = "0.3";
let facts = null, mode = { kind: "seeds" }, chosen = [], shown = [], abort = null, later = 0, followed = "";
let favourites = new Set(JSON.parse(localStorage.getItem("growreel-favourites") || "[]"));

export function begin(hello) {
  byId("help-seed").textContent = hello.helps.seed;
  byId("help-truncation").textContent = hello.helps.truncation;
  byId("help-fade").textContent = hello.helps["config.growth.fade_clips"] || "";
  for (const id of ["play-stage", "play-alpha", "play-truncation"]) byId(id).addEventListener("input", () => { tellValues(); soon(); });
  for (const id of ["play-seed", "play-count"]) byId(id).addEventListener("change", () => { mode = { kind: "seeds" }; soon(); });
  byId("play-model").addEventListener("change", () => { followed = ""; loadModel(byId("play-model").value).then(wall, trouble); });
  byId("play-class").addEventListener("change", () => { tellValues(); soon(); });
  byId("play-form").addEventListener("submit", (event) => event.preventDefault());
  byId("play-before").addEventListener("click", () => move(-Number(byId("play-count").value)));
  byId("play-next").addEventListener("click", () => move(Number(byId("play-count").value)));
  byId("play-chance").addEventListener("click", () => { byId("play-seed").value = Math.floor(Math.random() * 1e9); move(0); });
  byId("play-seeds").addEventListener("click", () => { mode = { kind: "seeds" }; wall(); });
  byId("play-neighbours").addEventListener("click", () => neighbours(chosen[0]));
  byId("play-wall").addEventListener("keydown", keys);
  byId("play-between").addEventListener("click", () => { mode = { kind: "between", ends: [...chosen] }; wall(); });
  byId("play-favourites").addEventListener("click", () => { mode = { kind: "favourites" }; wall(); });
  byId("export").addEventListener("click", takeAway);
  byId("export-what").addEventListener("change", filmOrClips);
  byId("walk-start").addEventListener("click", () => { if (walking()) stopWalk(); else walk(); });
  byId("walk-step").addEventListener("change", () => { if (walking()) walk(); });
  countFavourites();
}

export async function enter() { await loadModel(""); await wall(); }
export function leave() { stopWalk(); if (abort) abort.abort(); abort = null; chosen = []; }
export async function refresh() {}
export function motionChanged(moving) { if (!moving) stopWalk(); }

function walk() {
  if (!isMoving()) { say("Clips are paused; press Play clips first."); return; }
  startWalk(() => ({ ...view(), seed: byId("play-seed").value || "0", step: byId("walk-step").value }));
}

async function loadModel(id) {
  facts = await get("model", { model: id });
  const choice = byId("play-model");
  choice.replaceChildren(...facts.models.map((each) => element("option", { value: each.id, textContent: each.name })));
  choice.value = id || facts.models[0].id;
  const classes = byId("play-class"), before = classes.value;
  byId("play-classes").hidden = !facts.classes.length;
  classes.replaceChildren(element("option", { value: "", textContent: "all in turn" }), ...facts.classes.map((name) => element("option", { value: name, textContent: name })));
  classes.value = facts.classes.includes(before) ? before : "";
  const stage = byId("play-stage");
  stage.max = facts.stages.length - 1;
  if (followed !== choice.value) { stage.value = facts.stage; byId("play-alpha").value = facts.alpha; followed = choice.value; }
  tellValues();
}

function tellValues() {
  const size = facts.stages[Number(byId("play-stage").value)];
  const untrained = Number(byId("play-stage").value) > facts.stage ? " (not trained yet)" : "";
  byId("play-stage-said").textContent = times(size) + untrained;
  byId("play-stage").setAttribute("aria-valuetext", times(size) + untrained);
  byId("play-alpha-said").textContent = byId("play-alpha").value;
  byId("play-truncation-said").textContent = byId("play-truncation").value;
}

function view() {
  return { model: byId("play-model").value, class: byId("play-class").value, stage: byId("play-stage").value, alpha: byId("play-alpha").value, truncation: byId("play-truncation").value };
}

function soon() { clearTimeout(later); later = setTimeout(() => wall().catch(trouble), 150); }

function move(by) {
  const seed = byId("play-seed");
  seed.value = Math.max(0, Math.floor(Number(seed.value) || 0) + by);
  mode = { kind: "seeds" };
  wall().catch(trouble);
}

const isSeed = (place) => !place.includes("~");
const baseSeed = (place) => Number(place.split("~")[0]);

function places() {
  const first = Math.max(0, Math.floor(Number(byId("play-seed").value) || 0)), many = Number(byId("play-count").value);
  const [a, b] = mode.ends || [];
  switch (mode.kind) {
    case "neighbours": return [mode.of, ...Array.from({ length: many - 1 }, (_, k) => `${baseSeed(mode.of)}~${(baseSeed(mode.of) + 7919 * (k + 1)) % 9007199254740991}~${NEAR}`)];
    case "between": return Array.from({ length: MIXES }, (_, k) => (k === 0 ? a : k === MIXES - 1 ? b : `${baseSeed(a)}~${baseSeed(b)}~${(k / (MIXES - 1)).toFixed(4)}`));
    case "favourites": return [...favourites];
    default: return Array.from({ length: many }, (_, k) => String(first + k));
  }
}

function called(place) {
  const [a, b, share] = place.split("~"), classes = facts ? facts.classes : [];
  const kind = classes.length ? `, ${byId("play-class").value || classes[Number(a) % classes.length]}` : "";
  return (b === undefined ? `seed ${a}` : `${Math.round(share * 100)} % from ${a} to ${b}`) + kind;
}

async function wall() {
  if (abort) abort.abort();
  const mine = (abort = new AbortController());
  shown = places();
  chosen = chosen.filter((place) => shown.includes(place));
  byId("play-heading").textContent = { seeds: "Seeds", neighbours: `Neighbours of ${called(mode.of || "0")}`, between: "From one to the other", favourites: "Favourites" }[mode.kind];
  byId("play-seeds").hidden = mode.kind === "seeds";
  const list = byId("play-wall"), images = [];
  const focused = document.activeElement && document.activeElement.dataset.place;
  list.replaceChildren(...shown.map((place) => {
    const image = clip(element("img", { alt: "" }));
    images.push([place, image]);
    const tile = element("button", { type: "button", className: "tile", "aria-pressed": String(chosen.includes(place)), "aria-label": `Choose ${called(place)}`, "data-place": place }, image);
    tile.addEventListener("click", () => choose(place));
    const star = element("button", { type: "button", className: "star", "data-star": place });
    star.addEventListener("click", () => favour(place));
    return element("li", {}, tile, element("div", { className: "under" }, element("span", { textContent: called(place) }), star));
  }));
  if (!shown.length) list.replaceChildren(element("li", { className: "empty", textContent: "There are none yet." }));
  marks();
  if (focused) list.querySelector(`[data-place="${focused}"]`)?.focus();
  const settings = view();
  const one = async () => {
    while (images.length && !mine.signal.aborted) {
      const [place, image] = images.shift();
      const bytes = await getBytes("clip", { ...settings, place }, mine.signal);
      const source = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
      mine.signal.addEventListener("abort", () => URL.revokeObjectURL(source));
      image.src = source;
      if (facts.stages[Number(settings.stage)].split("x")[1] < 128) image.className = "pixels";
    }
  };
  try { await Promise.all(Array.from({ length: AT_ONCE }, one)); trouble(null); } catch (error) { if (!mine.signal.aborted) throw error; }
}

function keys(event) {
  const place = event.target.closest(".tile")?.dataset.place;
  if (!place || event.ctrlKey || event.metaKey || event.altKey || arrows(event, byId("play-wall"))) return;
  if (event.key === "f") favour(place);
  if (event.key === "n" && isSeed(place)) neighbours(place);
}

function neighbours(place) {
  mode = { kind: "neighbours", of: place };
  wall().then(() => byId("play-wall").querySelector(".tile")?.focus(), trouble);
}

function choose(place) {
  chosen = chosen.includes(place) ? chosen.filter((each) => each !== place) : [...chosen, place].slice(-2);
  marks();
}

function favour(place) {
  if (favourites.has(place)) favourites.delete(place); else favourites.add(place);
  localStorage.setItem("growreel-favourites", JSON.stringify([...favourites]));
  say(`${called(place)} is ${favourites.has(place) ? "a favourite" : "no favourite any more"}`);
  countFavourites();
  marks();
}

function countFavourites() { byId("play-favourite-count").textContent = count(favourites.size); }

function marks() {
  for (const tile of byId("play-wall").querySelectorAll(".tile")) tile.setAttribute("aria-pressed", String(chosen.includes(tile.dataset.place)));
  for (const star of byId("play-wall").querySelectorAll(".star")) {
    const is = favourites.has(star.dataset.star);
    star.textContent = is ? "\u2605" : "\u2606";
    star.setAttribute("aria-label", `Favourite: ${called(star.dataset.star)}`);
    star.setAttribute("aria-pressed", String(is));
  }
  byId("play-neighbours").disabled = chosen.length !== 1 || !isSeed(chosen[0]);
  byId("play-between").disabled = chosen.length !== 2 || !chosen.every(isSeed);
}

function filmOrClips() {
  const film = byId("export-what").value === "film", format = byId("export-format");
  byId("film-length").hidden = byId("film-clips").hidden = !film;
  const list = format.querySelector("[value=txt]");
  list.disabled = film;
  if (film && format.value === "txt") format.value = "mp4";
  // a clip of a large stage takes seconds, so a film of it has means between fewer clips unless asked otherwise
  if (film) byId("film-step").value = facts.stages[Number(byId("play-stage").value)].split("x")[1] < 128 ? "1" : "8";
}

function takeAway() {
  const what = byId("export-what").value, film = what === "film";
  const ends = mode.kind === "between" ? mode.ends : chosen;
  const taken = { shown, chosen, favourites: [...favourites], film: ends }[what];
  if (film && (ends.length !== 2 || !ends.every(isSeed))) { trouble(new Error("A film goes from one seed to another: choose two clips of seeds first.")); return; }
  if (!taken.length) { trouble(new Error("There is nothing to export: choose clips or mark favourites first.")); return; }
  trouble(null);
  const more = film ? { film: byId("film-frames").value, step: byId("film-step").value } : {};
  const link = element("a", { href: address("export", { ...view(), ...more, format: byId("export-format").value, places: taken.slice(0, 64).join() }), download: "" });
  link.click();
  say(film ? `Making a film from ${called(ends[0])} to ${called(ends[1])}` : `Exporting ${Math.min(64, taken.length)} clips`);
}

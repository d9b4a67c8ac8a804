// Small things that every page uses: elements, requests, messages, and clips that stop when asked.
const told = { token: "", run: "" };

export function remember(values) { Object.assign(told, values); }
export function currentRun() { return told.run; }
export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("data-") || name.startsWith("aria-") || name === "role" || name === "scope") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

export function address(path, values = {}) {
  const query = new URLSearchParams({ run: told.run, ...values });
  return `api/${path}?${query}`;
}

async function checked(answer) {
  if (answer.ok) return answer;
  let said = `the viewer answered ${answer.status}`;
  try { said = (await answer.json()).error || said; } catch { /* not JSON: the status says enough */ }
  throw new Error(said);
}

export async function get(path, values, signal) {
  return (await checked(await fetch(address(path, values), { signal }))).json();
}

export async function getBytes(path, values, signal) {
  return (await checked(await fetch(address(path, values), { signal }))).arrayBuffer();
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-Growreel-Token": told.token };
  return (await checked(await fetch(`api/${path}`, { method: "POST", headers, body: JSON.stringify({ run: told.run, ...body }) }))).json();
}

export function say(text) { byId("said").textContent = text; }

export function trouble(error) {
  if (error && error.name === "AbortError") return;
  const place = byId("trouble");
  const text = error ? (error instanceof TypeError ? "The viewer does not answer; is growreel view still running?" : error.message) : "";
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !error;
}

// Arrow keys in a wall of tiles. Returns whether the key was one.
export function arrows(event, wall) {
  const tiles = [...wall.querySelectorAll(".tile")], at = tiles.indexOf(event.target.closest(".tile"));
  const columns = tiles.filter((each) => each.offsetTop === tiles[0].offsetTop).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (!step || at < 0) return false;
  tiles[at + step]?.focus();
  event.preventDefault();
  return true;
}

export const count = (number) => Number(number).toLocaleString("en-US");
export const times = (size) => String(size).replaceAll("x", "\u00d7");

// Clips move unless asked not to. A still is the first picture of the clip, drawn by the page itself.
let moving = !matchMedia("(prefers-reduced-motion: reduce)").matches;
const clips = new Set();

function settle(image) {
  if (!image.isConnected && image.complete && image.dataset.seen) { clips.delete(image); return; }
  if (moving && image.dataset.moving) {
    image.src = image.dataset.moving;
    delete image.dataset.moving;
  } else if (!moving && !image.dataset.moving && image.naturalWidth) {
    const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    canvas.getContext("2d").drawImage(image, 0, 0);
    image.dataset.moving = image.src;
    image.src = canvas.toDataURL();
  }
}

export function clip(image) {
  clips.add(image);
  image.addEventListener("load", () => { image.dataset.seen = "1"; if (!moving && !image.src.startsWith("data:")) { delete image.dataset.moving; settle(image); } });
  return image;
}

export function isMoving() { return moving; }

export function motionButton(button, changed) {
  const show = () => { button.textContent = moving ? "Pause clips" : "Play clips"; };
  button.addEventListener("click", () => { moving = !moving; show(); for (const image of [...clips]) settle(image); changed(moving); });
  show();
}

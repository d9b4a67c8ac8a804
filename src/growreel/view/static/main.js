// Which page is shown, of which run, and when it asks for news.
import { byId, element, get, remember, currentRun, trouble, motionButton } from "./tools.js";
import * as run from "./run.js";
import * as play from "./play.js";
import * as data from "./data.js";
import * as compare from "./compare.js";

const pages = { run, play, data, compare };
const EVERY = { run: 5000, data: 5000, compare: 15000 };
const SUITS = { run: ["run", "play", "data", "compare"], folder: ["compare", "run", "play", "data"], model: ["play"], store: ["data"] };
let shown = "", allowed = [], timer = 0, busy = false;

async function refresh() {
  if (busy || document.hidden || !shown) return;
  busy = true;
  try { await pages[shown].refresh(); trouble(null); } catch (error) { trouble(error); } finally { busy = false; }
}

function show(name) {
  const next = allowed.includes(name) ? name : allowed[0];
  if (shown && shown !== next) pages[shown].leave();
  shown = next;
  for (const each of Object.keys(pages)) byId(`page-${each}`).hidden = each !== shown;
  for (const link of byId("pages").children) {
    if (link.dataset.page === shown) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  byId("run-choice").hidden = shown === "compare" || byId("run-name").options.length < 2;
  document.title = `${shown[0].toUpperCase()}${shown.slice(1)} - ${byId("title").textContent} - growreel`;
  clearInterval(timer);
  if (EVERY[shown]) timer = setInterval(refresh, EVERY[shown]);
  pages[shown].enter().then(() => trouble(null), trouble);
}

async function begin() {
  const hello = await get("hello");
  remember({ token: hello.token, run: hello.runs[0] || "" });
  allowed = SUITS[hello.kind];
  byId("title").textContent = hello.name;
  for (const link of byId("pages").children) link.hidden = !allowed.includes(link.dataset.page);
  const choice = byId("run-name");
  choice.replaceChildren(...hello.runs.map((name) => element("option", { value: name, textContent: name })));
  choice.addEventListener("change", () => { remember({ run: choice.value }); for (const page of Object.values(pages)) page.leave(); show(shown); });
  for (const page of Object.values(pages)) page.begin(hello, (name) => { choice.value = name; remember({ run: name }); location.hash = "run"; });
  motionButton(byId("motion"), (moving) => play.motionChanged(moving));
  addEventListener("hashchange", () => { if (location.hash !== "#main") show(location.hash.slice(1)); });
  document.addEventListener("visibilitychange", refresh);
  show(location.hash.slice(1));
}

begin().catch(trouble);
export { currentRun };

// The page of one run.
import { byId, element, get, post, address, say, trouble, count, times, clip, currentRun } from "./tools.js";
import { showCharts } from "./charts.js";

let newest = "", last = "", drawn = "";

export function begin(hello) {
  clip(byId("run-picture"));
  byId("run-tell-about").textContent = Object.entries(hello.tell).map(([name, about]) => `${name[0].toUpperCase()}${name.slice(1)}: ${about}`).join(" ");
  for (const button of byId("run-tell").children) {
    button.title = hello.tell[button.dataset.what];
    button.addEventListener("click", async () => {
      try {
        await post("tell", { what: button.dataset.what, raw: button.dataset.raw === "1" });
        say(`Asked: ${button.textContent}`);
        await refresh();
      } catch (error) { trouble(error); }
    });
  }
  byId("run-sample").addEventListener("change", (event) => picture(event.target.value));
}

export async function enter() { last = ""; await refresh(); }
export function leave() { last = drawn = newest = ""; }

export async function refresh() {
  const asked = currentRun(), state = await get("run");
  if (asked !== currentRun()) return; // another run was chosen meanwhile
  const text = JSON.stringify(state);
  if (text === last) return;
  last = text;
  const fade = state.phase === "fade" ? `, fading in, alpha ${state.alpha.toFixed(2)}` : "";
  const doing = state.listening ? (state.listening.state === "paused" ? "Paused" : "Training") : state.finished ? "Finished" : "Not training";
  const left = state.listening ? `, ${state.left === "not known" ? "time left not known yet" : `about ${state.left} left`}` : "";
  byId("run-state").textContent = `${state.name}: ${doing} at ${times(state.stage)}${fade}. ${count(state.clips)} of ${count(state.total)} clips shown in ${state.trained}${left}.`;
  byId("run-progress").value = Math.min(1, state.clips / state.total);
  byId("run-plan").replaceChildren(...state.plan.map((stage) => {
    const item = element("li", { className: stage.state }, element("span", { textContent: times(stage.size) }), element("span", { className: "hidden", textContent: `, ${stage.state}` }));
    const hatch = element("i", { "aria-hidden": "true" });
    hatch.style.width = `${stage.fade}%`;
    item.style.flexGrow = stage.share;
    item.append(hatch);
    return item;
  }));
  for (const button of byId("run-tell").children) {
    const paused = state.listening && state.listening.state === "paused";
    button.disabled = !state.listening || (button.dataset.what === "pause" && paused) || (button.dataset.what === "resume" && !paused);
  }
  const waiting = state.waiting ? [element("li", { textContent: `${state.waiting} asked and not yet answered` })] : [];
  byId("run-answers").replaceChildren(...waiting, ...state.answers.map((textContent) => element("li", { textContent })));
  samples(state);
  byId("run-remarks").replaceChildren(...state.remarks.map((remark) => element("li", { className: remark.level },
    element("span", { className: "level", textContent: { good: "Good", look: "Look", bad: "Bad" }[remark.level] }), element("span", { textContent: remark.text.replaceAll("`", "") }))));
  const curves = JSON.stringify(state.charts);
  if (curves !== drawn) { showCharts(byId("run-charts"), byId("run-reader"), state.charts, "reader"); drawn = curves; }
  byId("run-settings").replaceChildren(...state.settings.map((each) => element("tr", {},
    element("th", { scope: "row", textContent: each.name }), element("td", { textContent: each.value }), element("td", { textContent: each.default }),
    element("td", { className: "about", textContent: each.help.replaceAll("`", "") }))));
}

function samples(state) {
  const choice = byId("run-sample"), key = state.samples.join();
  choice.disabled = !state.samples.length;
  if (choice.dataset.key !== `${currentRun()} ${key}`) {
    const follow = choice.value === newest || !newest;
    const kept = choice.value;
    choice.dataset.key = `${currentRun()} ${key}`;
    choice.replaceChildren(...state.samples.map((name) => element("option", { value: name, textContent: `${count(Number.parseInt(name, 10))} clips${name.endsWith("-raw") ? ", raw" : ""}` })));
    choice.value = follow || !state.samples.includes(kept) ? state.samples[0] : kept;
    newest = state.samples[0] || "";
    picture(choice.value);
  }
}

function picture(name) {
  const image = byId("run-picture");
  byId("run-no-picture").hidden = Boolean(name);
  image.hidden = !name;
  if (!name) return;
  image.src = address("sample", { name });
  image.alt = `Samples of the fixed seeds after ${count(Number.parseInt(name, 10))} clips${name.endsWith("-raw") ? ", raw" : ""}`;
}

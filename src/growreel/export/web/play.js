// A wall of clips that play together. Seeds below the length of the table are growreel's own; the others are this page's.

const COUNT = 8;
const byId = (id) => document.getElementById(id);
const facts = await (await fetch("facts.json")).json();
const table = new Float32Array(await (await fetch("seeds.bin")).arrayBuffer());
const dimension = Number(facts.latent_dim);
const classes = JSON.parse(facts.classes ?? "[]");
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let clips = [], asked = 0, paused = false, opened = performance.now();

byId("facts").textContent =
  `${facts.title}: ${facts.stage} (frames, rows, columns), ${facts.fps} frames a second, licence ${facts.license}, ` +
  `model ${facts.model_sha256.slice(0, 12)}, growreel ${facts.growreel}.`;

byId("classes").hidden = !classes.length;
for (const [number, name] of classes.entries()) byId("class").append(new Option(name, String(number)));
byId("class").onchange = () => show();

// mulberry32 and Box-Muller: the same clips for the same seed on every machine.
function drawn(seed) {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
  return Float32Array.from({ length: dimension }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}

function latentsOf(seed) {
  return (seed + 1) * dimension <= table.length ? table.slice(seed * dimension, (seed + 1) * dimension) : drawn(seed);
}

// As growreel sample has it: seed s is of class s modulo their number, unless one is chosen for all.
function classOf(seed) {
  return byId("class").value === "" ? seed % Math.max(1, classes.length) : Number(byId("class").value);
}

function make(latents, truncation, of = 0) {
  const id = ++asked;
  worker.postMessage({ kind: "make", id, latents, truncation, of });
  return new Promise((done) => waiting.set(id, done));
}

worker.onmessage = ({ data }) => {
  if (data.kind === "ready") show();
  if (data.kind === "compared") document.documentElement.dataset.webgpu = `${data.same} ${data.seconds}`;
  if (data.kind === "failed") byId("state").textContent = `It did not work: ${data.said}`;
  if (data.kind === "clip") {
    waiting.get(data.id)?.(data);
    waiting.delete(data.id);
  }
};
worker.postMessage({ kind: "start", facts });

async function show() {
  const first = Math.max(0, Math.floor(Number(byId("seed").value) || 0));
  const truncation = Number(byId("truncation").value);
  const turn = ++asked;
  worker.postMessage({ kind: "forget", id: turn });
  waiting.clear();
  clips = [];
  document.documentElement.dataset.clips = "0";
  byId("wall").replaceChildren();
  byId("state").textContent = "Making clips.";
  for (let k = 0; k < COUNT; k++) {
    const canvas = document.createElement("canvas");
    const item = document.createElement("li"), name = document.createElement("span");
    const of = classOf(first + k), what = classes.length ? `seed ${first + k}, ${classes[of]}` : `seed ${first + k}`;
    name.textContent = what;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Clip of ${what}`);
    item.append(canvas, name);
    byId("wall").append(item);
    make(latentsOf(first + k), truncation, of).then((clip) => {
      const since = (performance.now() - opened) / 1000;
      clips.push({ canvas, frames: frames(clip) });
      document.documentElement.dataset.clips = String(clips.length);
      document.documentElement.dataset.first ??= since.toFixed(2);
      const rate = clip.dims[2] / Math.max(clip.seconds, 1e-3); // clocks of browsers are no finer
      const said = rate >= 10 ? Math.round(rate).toLocaleString("en-US") : rate.toFixed(1);
      byId("state").textContent = `${clips.length} of ${COUNT} clips, ${said} frames a second, made on ${clip.by === "WebGPU" ? "WebGPU" : "the processor"}.`;
    });
  }
}

function frames({ values, dims }) {
  const [, colours, count, rows, columns] = dims, plane = rows * columns;
  return Array.from({ length: count }, (_, t) => {
    const picture = new ImageData(columns, rows);
    for (let place = 0; place < plane; place++) {
      for (let c = 0; c < 3; c++) {
        picture.data[4 * place + c] = Math.round((values[(Math.min(c, colours - 1) * count + t) * plane + place] + 1) * 127.5);
      }
      picture.data[4 * place + 3] = 255;
    }
    return picture;
  });
}

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
function tick(now) {
  for (const { canvas, frames } of clips) {
    const picture = frames[paused ? 0 : Math.floor((now / 1000) * Number(facts.fps)) % frames.length];
    if (canvas.width !== picture.width || canvas.height !== picture.height) [canvas.width, canvas.height] = [picture.width, picture.height];
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }
  requestAnimationFrame(tick);
}
requestAnimationFrame(tick);

function hold(value) {
  paused = value;
  byId("pause").setAttribute("aria-pressed", String(paused));
}
hold(still);
byId("pause").onclick = () => hold(!paused);
const move = (by) => {
  byId("seed").value = String(Math.max(0, Number(byId("seed").value) + by));
  show();
};
byId("before").onclick = () => move(-COUNT);
byId("next").onclick = () => move(COUNT);
byId("chance").onclick = () => move(Math.floor(Math.random() * 1e6) - Number(byId("seed").value));
byId("seed").onchange = show;
byId("truncation").oninput = () => (byId("truncation-said").textContent = byId("truncation").value);
byId("truncation").onchange = show;
byId("controls").onsubmit = (event) => event.preventDefault();
window.growreel = { make, latentsOf }; // for tests, and for whoever looks

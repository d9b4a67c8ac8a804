// The endless walk: some frames are asked for while those before are shown.
import { byId, getBytes, trouble } from "./tools.js";

const CHUNK = 16, AHEAD = 2, RATE = 25, MOST_STEP = 16;
let current = null;

export const walking = () => current !== null;

export function stopWalk() {
  if (!current) return;
  current.abort.abort();
  cancelAnimationFrame(current.animation);
  current = null;
  byId("walk-start").textContent = "Start the walk";
  byId("walk-rate").textContent = "";
}

export function startWalk(settings) {
  stopWalk();
  const mine = (current = { abort: new AbortController(), queue: [], asked: 0, waiting: 0, animation: 0, times: [], step: 1 });
  byId("walk-start").textContent = "Stop the walk";
  const canvas = byId("walk-canvas"), context = canvas.getContext("2d");
  canvas.hidden = false;
  const fill = async () => {
    if (mine.waiting || mine.queue.length >= CHUNK * AHEAD || mine !== current) return;
    mine.waiting += 1;
    try {
      const asked = settings(), own = asked.step === "auto", began = performance.now();
      const bytes = await getBytes("walk", { ...asked, step: own ? mine.step : asked.step, start: mine.asked, count: CHUNK }, mine.abort.signal);
      if (own) mine.step = suited(mine.step, (performance.now() - began) / CHUNK);
      const [count, height, width, channels] = new Uint32Array(bytes, 0, 4);
      const levels = new Uint8Array(bytes, 16);
      for (let k = 0; k < count; k += 1) mine.queue.push(picture(levels.subarray(k * height * width * channels), height, width, channels));
      mine.asked += CHUNK;
    } catch (error) {
      if (mine === current) { stopWalk(); trouble(error); }
    } finally { mine.waiting -= 1; }
    fill();
  };
  let due = performance.now();
  const show = (now) => {
    if (mine !== current) return;
    mine.animation = requestAnimationFrame(show);
    if (now < due) return;
    const frame = mine.queue.shift();
    if (!frame) { due = now; fill(); return; }
    due = Math.max(due + 1000 / RATE, now - 1000 / RATE);
    if (canvas.width !== frame.width || canvas.height !== frame.height) { canvas.width = frame.width; canvas.height = frame.height; }
    context.putImageData(frame, 0, 0);
    mine.times.push(now);
    if (mine.times.length > 50) mine.times.shift();
    if (mine.times.length > 10 && mine.times.length % 5 === 0) {
      byId("walk-rate").textContent = `${((mine.times.length - 1) / ((now - mine.times[0]) / 1000)).toFixed(1)} frames/s`;
    }
    fill();
  };
  fill();
  mine.animation = requestAnimationFrame(show);
}

// Every chunk begins at a knot of all steps, so another step from here on makes no jump.
function suited(step, milliseconds) {
  const load = (milliseconds * RATE) / 1000;
  if (load > 0.9 && step < MOST_STEP) return step * 2;
  return load < 0.3 && step > 1 ? step / 2 : step;
}

function picture(levels, height, width, channels) {
  const pixels = new Uint8ClampedArray(height * width * 4);
  for (let k = 0; k < height * width; k += 1) {
    pixels[4 * k] = levels[k * channels];
    pixels[4 * k + 1] = levels[k * channels + (channels > 1 ? 1 : 0)];
    pixels[4 * k + 2] = levels[k * channels + (channels > 1 ? 2 : 0)];
    pixels[4 * k + 3] = 255;
  }
  return new ImageData(pixels, width, height);
}

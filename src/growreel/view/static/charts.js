// Charts as the server lays them out: coordinates from 0 to 1000 that are stretched over the room there is.
import { element, times, count } from "./tools.js";

const SVG = "http://www.w3.org/2000/svg";

function shape(tag, kind, points) {
  const made = document.createElementNS(SVG, tag);
  made.setAttribute("class", kind);
  made.setAttribute("points", points);
  return made;
}

function placed(made, style) { Object.assign(made.style, style); return made; }

function draw(chart) {
  const values = chart.lines.map((line) => element("b", { textContent: line.last }));
  const legend = element("ul", { className: "legend" }, ...chart.lines.map((line, k) =>
    element("li", { className: `s${line.style}` }, element("i", { "aria-hidden": "true" }), `${line.name} `, values[k])));
  const plot = element("div", { className: "plot", role: "img", "aria-label": `${chart.title}. ${chart.summary}` });
  chart.bands.forEach(([left, fade, width, label], k) => {
    const band = placed(element("div", { className: k ? "band" : "band first" }), { left: `${left}%`, width: `${width}%` });
    if (fade > 0) band.append(placed(element("div", { className: "fade" }), { width: `${(fade / width) * 100}%` }));
    if (label) band.append(element("span", { textContent: times(label) }));
    plot.append(band);
  });
  for (const tick of chart.y_ticks) {
    plot.append(placed(element("div", { className: "grid" }, element("span", { textContent: tick.label })), { top: `${tick.at}%` }));
  }
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of [["viewBox", "0 0 1000 1000"], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  for (const line of chart.lines) {
    if (line.area) svg.append(shape("polygon", `area s${line.style}`, line.area));
    svg.append(shape("polyline", `values s${line.style}${line.smooth ? " faint" : ""}`, line.points));
    if (line.smooth) svg.append(shape("polyline", `smooth s${line.style}`, line.smooth));
  }
  const cross = element("div", { className: "cross", hidden: true });
  plot.append(svg, cross);
  const axis = element("div", { className: "x-axis", "aria-hidden": "true" }, ...chart.x_ticks.map((tick) =>
    placed(element("span", { textContent: tick.label }), { left: `${tick.at}%` })));
  const title = element("h3", { textContent: chart.title });
  if (chart.unit) title.append(" ", element("span", { className: "unit", textContent: chart.unit }));
  const about = element("p", { className: "about", textContent: chart.about + (chart.cut ? ` Values outside the axis: ${chart.cut}.` : "") });
  const figure = element("figure", { className: "chart" }, element("figcaption", {}, title, legend), plot, axis, about);
  const lines = chart.lines.map((line) => line.points.split(" ").map((pair) => pair.split(",").map(Number)));
  return { ...chart, figure, plot, cross, values, series: lines, last: chart.lines.map((line) => line.last) };
}

function valueAt(chart, points, x) {
  let low = 0, high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle; else high = middle;
  }
  const point = Math.abs(points[low][0] - x) <= Math.abs(points[high][0] - x) ? points[low] : points[high];
  const place = 1 - point[1] / 1000;
  return chart.logarithmic ? chart.low * Math.pow(chart.high / chart.low, place) : chart.low + place * (chart.high - chart.low);
}

export function written(value) {
  const size = Math.abs(value);
  if (size >= 1e7 || (size && size < 1e-4)) {
    const [digits, power] = value.toExponential(2).split("e");
    return `${Number(digits)}\u00d710${[...power].map((each) => ({ "+": "", "-": "\u207b" })[each] ?? "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[each]).join("")}`;
  }
  return size >= 999.95 ? count(Math.round(value)) : String(Number(value.toPrecision(4)));
}

// Fill `place` with charts and `readerPlace` with a slider that reads values of all of them at once.
export function showCharts(place, readerPlace, charts, id) {
  if (!charts.length) {
    place.replaceChildren(element("p", { className: "empty", textContent: "No line of statistics has been written yet." }));
    readerPlace.replaceChildren();
    return;
  }
  const drawn = charts.map(draw);
  place.replaceChildren(...drawn.map((each) => each.figure));
  const end = Math.max(...charts.map((each) => each.end));
  let slider = document.getElementById(id);
  if (!slider) {
    slider = element("input", { type: "range", id, min: 0, step: "any" });
    const label = element("label", { htmlFor: id, textContent: "Read values at" });
    readerPlace.replaceChildren(element("div", { className: "reader" }, label, slider, element("output", { htmlFor: id })));
    slider.addEventListener("input", () => slider.read(Number(slider.value)));
    slider.addEventListener("blur", () => slider.leave());
  }
  const output = readerPlace.querySelector("output");
  slider.max = end;
  slider.read = (clips) => {
    output.textContent = `${count(Math.round(clips))} clips`;
    for (const chart of drawn) {
      const share = (clips - chart.start) / (chart.end - chart.start);
      chart.cross.hidden = share < 0 || share > 1;
      chart.cross.style.left = `${share * 100}%`;
      chart.series.forEach((points, k) => { chart.values[k].textContent = written(valueAt(chart, points, share * 1000)); });
    }
  };
  slider.leave = () => {
    slider.value = end;
    output.textContent = `${count(Math.round(end))} clips`;
    for (const chart of drawn) {
      chart.cross.hidden = true;
      chart.values.forEach((value, k) => { value.textContent = chart.last[k]; });
    }
  };
  for (const chart of drawn) {
    chart.plot.addEventListener("pointermove", (event) => {
      const box = chart.plot.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      slider.value = chart.start + share * (chart.end - chart.start);
      slider.read(Number(slider.value));
    });
    chart.plot.addEventListener("pointerleave", () => slider.leave());
  }
  if (document.activeElement === slider) slider.read(Number(slider.value)); else slider.leave();
}

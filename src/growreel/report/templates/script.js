"use strict";
(() => {
  // Motion: every clip has a still beside it; which of the two is shown is the media query of its <source>.
  const button = document.getElementById("motion");
  const sources = document.querySelectorAll("picture > source");
  let moving = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const show = () => {
    for (const source of sources) source.media = moving ? "not all" : "all";
    button.textContent = moving ? "Pause clips" : "Play clips";
  };
  button.addEventListener("click", () => { moving = !moving; show(); });
  button.hidden = sources.length === 0;
  show();

  // Reading values: one position for all charts, by pointer on any of them or by the slider.
  const slider = document.getElementById("reader");
  if (!slider) return;
  const output = document.querySelector(".reader output");
  const charts = [...document.querySelectorAll(".chart")].map((figure) => {
    const number = (name) => Number(figure.dataset[name]);
    return {
      figure,
      plot: figure.querySelector(".plot"),
      cross: figure.querySelector(".cross"),
      lines: [...figure.querySelectorAll("polyline.values")],
      values: [...figure.querySelectorAll(".legend b")],
      low: number("low"), high: number("high"), log: number("log") === 1, start: number("start"), end: number("end"),
    };
  });
  const last = charts.map((chart) => chart.values.map((value) => value.textContent));
  const format = (value) => {
    const size = Math.abs(value);
    if (size >= 1e7 || (size && size < 1e-4)) {
      const [digits, power] = value.toExponential(2).split("e");
      return `${Number(digits)}\u00d710${[...power].map((each) => ({ "+": "", "-": "\u207b" })[each] ?? "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[each]).join("")}`;
    }
    return size >= 999.95 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(4)));
  };
  const nearest = (points, x) => {
    let low = 0, high = points.numberOfItems - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points.getItem(middle).x < x) low = middle; else high = middle;
    }
    const a = points.getItem(low), b = points.getItem(high);
    return Math.abs(a.x - x) <= Math.abs(b.x - x) ? a : b;
  };
  const read = (clips) => {
    output.textContent = `${Math.round(clips).toLocaleString("en-US")} clips`;
    charts.forEach((chart) => {
      const share = (clips - chart.start) / (chart.end - chart.start);
      chart.cross.hidden = share < 0 || share > 1;
      chart.cross.style.left = `${share * 100}%`;
      chart.lines.forEach((line, k) => {
        const place = 1 - nearest(line.points, share * 1000).y / 1000;
        const value = chart.log ? chart.low * Math.pow(chart.high / chart.low, place) : chart.low + place * (chart.high - chart.low);
        chart.values[k].textContent = format(value);
      });
    });
  };
  const leave = () => {
    slider.value = slider.max;
    output.textContent = `${Math.round(slider.max).toLocaleString("en-US")} clips`;
    charts.forEach((chart, k) => {
      chart.cross.hidden = true;
      chart.values.forEach((value, i) => { value.textContent = last[k][i]; });
    });
  };
  for (const chart of charts) {
    const follow = (event) => {
      const box = chart.plot.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      slider.value = chart.start + share * (chart.end - chart.start);
      read(Number(slider.value));
    };
    chart.plot.addEventListener("pointermove", follow);
    chart.plot.addEventListener("pointerdown", follow);
    chart.plot.addEventListener("pointerleave", leave);
  }
  slider.addEventListener("input", () => read(Number(slider.value)));
  slider.addEventListener("blur", leave);
  slider.closest(".reader").hidden = false;
})();

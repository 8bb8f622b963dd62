"use strict";

const FIGURES = JSON.parse(document.getElementById("figures").textContent);
const CHARTS = [...document.querySelectorAll(".chart")];
const PRINTED_WIDTH = 660; // pixels: A4 within its margins

async function loadPlotly() {
  const packed = document.getElementById("plotly");
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  packed.replaceWith(script);
}

function draw(chart) {
  const { data, layout } = FIGURES[chart.dataset.figure];
  const traces = data.map((trace) => ({ ...trace, visible: isShown(chart.id, trace.meta) }));
  return Plotly.react(chart, traces, layout, { displayModeBar: false, doubleClick: false, responsive: true });
}

// Checkboxes select the visible traces of their charts. A trace's `meta` says what it belongs to.
function isShown(id, meta) {
  const boxes = document.querySelectorAll(`[data-toggles~="${id}"] input:not(:checked)`);
  return ![...boxes].some((box) => box.value === meta?.[box.name]);
}
for (const fieldset of document.querySelectorAll("[data-toggles]")) {
  fieldset.addEventListener("change", () => {
    fieldset.dataset.toggles.split(" ").forEach((id) => draw(document.getElementById(id)));
  });
}

// A select element chooses the figures of its charts: chart `map` with value 3 shows figure `map-3`.
for (const select of document.querySelectorAll("[data-chooses]")) {
  select.addEventListener("change", () => {
    for (const id of select.dataset.chooses.split(" ")) {
      const chart = document.getElementById(id);
      chart.dataset.figure = `${id}-${select.value}`;
      draw(chart);
    }
  });
}

// A click on a cell of a chart selects the value in its `customdata`.
function listen() {
  for (const select of document.querySelectorAll("[data-clicked]")) {
    document.getElementById(select.dataset.clicked).on("plotly_click", ({ points: [{ customdata }] }) => {
      select.value = customdata;
      select.dispatchEvent(new Event("change"));
    });
  }
}

// A search shows the table rows that contain every word.
for (const input of document.querySelectorAll("[data-searches]")) {
  const rows = [...document.getElementById(input.dataset.searches).tBodies[0].rows];
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    }
    input.parentElement.querySelector("output").value = `${rows.filter((row) => !row.hidden).length} rows`;
  });
}

// A click on a heading sorts by numbers if the column has some, otherwise by text. A second click reverses the order.
for (const button of document.querySelectorAll(".sortable button")) {
  const column = button.parentElement;
  button.addEventListener("click", () => {
    const ascending = column.getAttribute("aria-sort") !== "ascending";
    column.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    column.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = column.closest("table").tBodies[0];
    const cell = (row) => row.cells[column.cellIndex];
    const text = (row) => cell(row).dataset.order ?? cell(row).textContent;
    const number = (row) => (Number.isNaN(parseFloat(text(row))) ? -Infinity : parseFloat(text(row)));
    const order = column.classList.contains("number")
      ? (a, b) => number(a) - number(b) || 0
      : (a, b) => text(a).localeCompare(text(b));
    body.append(...[...body.rows].sort((a, b) => (ascending ? order(a, b) : order(b, a))));
  });
}

// A filter of images: all, or those that a strategy classifies correctly or wrongly.
for (const select of document.querySelectorAll("[data-filters]")) {
  const section = document.getElementById(select.dataset.filters);
  const items = [...section.querySelectorAll("[data-right]")];
  select.addEventListener("change", () => {
    const [name, negated] = [select.value.replace(/^not /, ""), select.value.startsWith("not ")];
    for (const item of items) {
      item.hidden = name !== "" && item.dataset.right.split(" ").includes(name) === negated;
    }
    section.querySelectorAll("#more").forEach((details) => (details.open = true));
    section.querySelector("output").value = `${items.filter((item) => !item.hidden).length} images`;
  });
}

// For printing, all details are opened (except for more pictures), and charts get the width of the paper.
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open], #more)")];
  closed.forEach((details) => (details.open = true));
  CHARTS.forEach((chart) => Plotly.relayout(chart, { width: Math.min(chart.clientWidth, PRINTED_WIDTH) }));
});
window.addEventListener("afterprint", () => {
  closed.forEach((details) => (details.open = false));
  CHARTS.forEach((chart) => Plotly.relayout(chart, { width: null, autosize: true }));
});

loadPlotly()
  .then(() => Promise.all(CHARTS.map(draw)))
  .then(listen)
  .then(() => (document.documentElement.dataset.ready = "yes"));

/* The controls that move over a comparison: a slider for each of its two settings, and the pad, a small map of all
   cells. */

import { h } from "../../static/elements.js";

/** view() is the comparison. at() is {x, y} of the cell under the sliders, index() its number. reference() is the
    number of cell A, or null. settings(k) names the settings of cell k. go({x, y}) moves there. */
export function compareAxes({ words, say, view, at, index, reference, cellAt, settings, go }) {
  function axisSlider(name) {
    const range = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, class: "cmp-range" });
    const title = h("span", { class: "cmp-axis-name" });
    const value = h("output", { class: "cmp-axis-value" });
    const ticks = h("div", { class: "cmp-ticks", "aria-hidden": "true" });
    range.addEventListener("input", () =>
      go(name === "x" ? { x: +range.value, y: at().y } : { x: at().x, y: +range.value }),
    );
    return {
      range,
      title,
      value,
      ticks,
      node: h(
        "div",
        { class: `cmp-slider cmp-slider-${name}` },
        h("label", {}, title, value),
        h("div", { class: "cmp-track" }, range, ticks),
      ),
    };
  }
  const sliders = { x: axisSlider("x"), y: axisSlider("y") };
  const pad = h("div", { class: "cmp-pad", role: "group", tabindex: 0, "aria-label": words.pad });

  // The values along the pad's edges, as the sliders name them; the pad's own description reads them out.
  const edges = { x: h("div", { class: "cmp-edge cmp-edge-x" }), y: h("div", { class: "cmp-edge cmp-edge-y" }) };
  const map = h("div", { class: "cmp-map" }, edges.y, pad, edges.x);
  for (const edge of Object.values(edges)) edge.setAttribute("aria-hidden", "true");

  function drawEdges() {
    for (const [name, edge] of Object.entries(edges)) {
      const labels = view().cells.length && view()[name] ? view()[name].labels : [];
      edge.hidden = !labels.length;
      const text = labels.join("\n");
      if (edge.dataset.text !== text) {
        edge.dataset.text = text;
        edge.replaceChildren(...labels.map((label) => h("span", { title: label }, h("b", { dir: "auto" }, label))));
      }
      [...edge.children].forEach((one, k) => one.classList.toggle("cmp-on", k === at()[name]));
    }
  }

  function drawSliders() {
    for (const name of ["x", "y"]) {
      const { range, title, value, ticks, node } = sliders[name];
      const axis = view()[name];
      node.hidden = !axis;
      if (!axis) continue;
      range.max = axis.labels.length - 1;
      range.value = at()[name];
      range.disabled = axis.labels.length < 2;
      title.textContent = axis.name;
      value.textContent = axis.labels[at()[name]];
      range.setAttribute("aria-label", axis.name);
      range.setAttribute("aria-valuetext", `${axis.name} ${axis.labels[at()[name]]}`);
      const marks = axis.labels.length <= 12 && axis.labels.every((label) => label.length <= 10) ? axis.labels : [];
      if (ticks.dataset.marks !== marks.join("\n")) {
        ticks.dataset.marks = marks.join("\n");
        ticks.replaceChildren(...marks.map((mark) => h("span", {}, mark)));
      }
      [...ticks.children].forEach((tick, k) => tick.classList.toggle("cmp-on", k === at()[name]));
    }
  }

  function drawPad() {
    const count = view().cells.length;
    pad.hidden = !count;
    map.style.setProperty("--columns", view().columns || 1);
    map.style.setProperty("--rows", view().rows || 1);
    while (pad.children.length > count) pad.lastChild.remove();
    while (pad.children.length < count)
      pad.append(h("span", { class: "cmp-cell" }, h("img", { alt: "", hidden: true, draggable: "false" }), h("i")));
    view().cells.forEach((cell, k) => {
      const node = pad.children[k];
      const image = node.firstChild;
      const source = cell.id ? `/thumbnail/${cell.id}` : cell.src || cell.preview || "";
      if (node.dataset.source !== source) {
        node.dataset.source = source;
        image.hidden = !source;
        if (source) image.src = source;
      }
      node.dataset.state = cell.state;
      node.classList.toggle("cmp-here", k === index());
      node.classList.toggle("cmp-reference", k === reference());
      node.style.setProperty(
        "--share",
        cell.state === "running" ? (cell.index || 0) / Math.max(1, cell.total || 1) : 0,
      );
      node.title = say("cell", { settings: settings(k), state: words[`state.${cell.state}`] });
    });
    pad.setAttribute(
      "aria-description",
      count ? say("cell", { settings: settings(index()), state: words[`state.${cellAt(index()).state}`] }) : "",
    );
  }

  function padAt(event) {
    const box = pad.getBoundingClientRect();
    go({
      x: Math.floor(((event.clientX - box.left) / box.width) * view().columns),
      y: Math.floor(((event.clientY - box.top) / box.height) * view().rows),
    });
  }
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    padAt(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.buttons) padAt(event);
  });

  return {
    vertical: sliders.y.node,
    horizontal: sliders.x.node,
    map,
    isVertical: (element) => element === sliders.y.range,
    draw() {
      drawSliders();
      drawPad();
      drawEdges();
    },
  };
}

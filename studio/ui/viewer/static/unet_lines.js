/* The lines of the U-Net's drawing, behind its blocks: the way of the data, the skips, t into every block, and the words into
   those that attend to them. Blocks side by side in the form of a U, or one below the other on a phone. */

import { symbolText } from "../../static/machine.js";
import { svg } from "./chart.js";

const RAIL = 10; // CSS pixels from the edge to the first rail
const LANE = 14; // between two lines that run side by side

let count = 0; // of the drawings, for the names of their arrow tips

/** `place`: the positioned element of the blocks. Returns {element, draw(cells)}; `cells` are [{block, box}] in the order in
    which data passes, "time" among them. `words`: {skips, context}. */
export function unetLines(place, words) {
  const element = svg("svg", { class: "ls-unet-lines", "aria-hidden": "true" });
  const tip = `ls-unet-tip-${++count}`;
  let cells = [];
  new ResizeObserver(lay).observe(place);

  function lay() {
    const [width, height] = [place.clientWidth, place.clientHeight];
    if (!width || !cells.length) return;
    element.setAttribute("viewBox", `0 0 ${width} ${height}`);
    element.setAttribute("width", width);
    element.setAttribute("height", height);
    const marker = svg("marker", { id: tip, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7 });
    marker.setAttribute("orient", "auto-start-reverse");
    marker.append(svg("path", { d: "M 0 0 L 8 4 L 0 8 z" }));
    const defs = svg("defs");
    defs.append(marker);
    const at = cells.map(({ block, box }) => ({
      block,
      left: box.offsetLeft,
      right: box.offsetLeft + box.offsetWidth,
      top: box.offsetTop,
      bottom: box.offsetTop + box.offsetHeight,
      x: box.offsetLeft + box.offsetWidth / 2,
      y: box.offsetTop + box.offsetHeight / 2,
    }));
    const time = at.find((one) => one.block.place === "time");
    const way = at.filter((one) => one !== time);
    const isStack = way.every((one) => Math.abs(one.left - way[0].left) < 2);
    element.replaceChildren(defs, ...(isStack ? stack(way, time) : sideBySide(way, time, height)));
  }

  const path = (d, kind, hasTip = true) =>
    svg("path", { d, class: `ls-unet-${kind}`, ...(hasTip ? { "marker-end": `url(#${tip})` } : {}) });
  const text = (x, y, words, kind) => svg("text", { x, y, class: `ls-unet-${kind}` }, words);
  const blocksOf = (way) => way.filter((one) => ["down", "mid", "up"].includes(one.block.place));
  const attended = (way) => way.filter((one) => one.block.cross_attentions > 0);
  /** A block of the way down and the one on the way up that gets its output. */
  function skips(way) {
    const [downs, ups] = ["down", "up"].map((name) => way.filter((one) => one.block.place === name));
    return downs.map((one, k) => [one, ups[ups.length - 1 - k]]).filter(([, other]) => other);
  }

  function sideBySide(way, time, height) {
    const lines = way.slice(1).map((to, k) => {
      const from = way[k];
      if (Math.abs(to.y - from.y) < 8) return path(`M ${from.right} ${from.y} H ${to.left - 1}`, "way");
      return to.y > from.y
        ? path(`M ${from.x} ${from.bottom} V ${to.y} H ${to.left - 1}`, "way")
        : path(`M ${from.right} ${from.y} H ${to.x} V ${to.bottom + 1}`, "way");
    });
    skips(way).forEach(([from, to], k) => {
      lines.push(path(`M ${from.right} ${from.top + LANE} H ${to.left - 1}`, "skip"));
      if (k === 0) lines.push(text((from.right + to.left) / 2, from.top + LANE - 5, words.skips, "word"));
    });
    const blocks = blocksOf(way);
    if (time) {
      lines.push(path(`M ${time.left} ${time.y} H ${RAIL} V ${RAIL} H ${blocks.at(-1).x}`, "time", false));
      for (const one of blocks) lines.push(path(`M ${one.x} ${RAIL} V ${one.top - 1}`, "time"));
    }
    const to = attended(way);
    if (to.length) {
      const rail = height - RAIL;
      lines.push(path(`M ${way[0].left} ${rail} H ${to.at(-1).x + LANE}`, "words", false));
      for (const one of to) lines.push(path(`M ${one.x + LANE} ${rail} V ${one.bottom + 1}`, "words"));
      lines.push(symbolText({ x: way[0].left, y: rail - 8, class: "ls-unet-start" }, words.context));
    }
    return lines;
  }

  function stack(way, time) {
    const lines = way.slice(1).map((to, k) => path(`M ${to.x} ${way[k].bottom} V ${to.top - 1}`, "way"));
    skips(way).forEach(([from, to], k) => {
      const lane = from.right + LANE * (skips(way).length - k);
      lines.push(path(`M ${from.right} ${from.y} H ${lane} V ${to.y} H ${to.right + 1}`, "skip"));
      if (k === 0) lines.push(text(lane - 4, (from.y + to.y) / 2, words.skips, "end"));
    });
    const blocks = blocksOf(way);
    if (time) {
      lines.push(path(`M ${time.left} ${time.y} H ${RAIL} V ${blocks.at(-1).y - 6}`, "time", false));
      for (const one of blocks) lines.push(path(`M ${RAIL} ${one.y - 6} H ${one.left - 1}`, "time"));
    }
    const to = attended(way);
    if (to.length) {
      const rail = RAIL + LANE;
      lines.push(path(`M ${rail} ${RAIL + 8} V ${to.at(-1).y + 6}`, "words", false));
      for (const one of to) lines.push(path(`M ${rail} ${one.y + 6} H ${one.left - 1}`, "words"));
      lines.push(symbolText({ x: rail - 6, y: RAIL + 2, class: "ls-unet-start" }, words.context));
    }
    return lines;
  }

  return {
    element,
    draw(next) {
      cells = next;
      lay();
    },
  };
}

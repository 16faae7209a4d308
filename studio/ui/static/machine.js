/* The machine of latent diffusion as one drawing: picture, encoder, latents, noise, U-Net, words, decoder. A page lights
   parts of it by name and hears which part was chosen. The blocks of the U-Net are those of the loaded checkpoint. */

import { svg } from "../viewer/static/chart.js";
import { fill } from "./elements.js";

/** What can be lit and chosen, in the order in which data passes. */
export const MACHINE_PARTS = [
  "picture",
  "encoder",
  "latents",
  "noising",
  "noise",
  "unet",
  "time",
  "attention",
  "steps",
  "prompt",
  "text_encoder",
  "guidance",
  "clean",
  "decoder",
  "output",
];

// Where things stand, for a wide place and for a phone. Boxes are [x, y, width, height]; arrows are paths.
const WIDE = {
  size: [960, 404],
  panels: { pixels: [4, 4, 178, 396], latent: [194, 4, 604, 396], conditions: [810, 4, 146, 396] },
  boxes: {
    picture: [22, 60, 56, 56],
    encoder: [106, 52, 60, 72],
    latents: [216, 64, 48, 48],
    noising: [290, 56, 366, 64],
    noise: [684, 64, 48, 48],
    unet: [322, 158, 396, 196],
    time: [738, 181, 44, 34],
    guidance: [286, 178, 0, 0],
    steps: [322, 366, 396, 28],
    clean: [216, 232, 48, 48],
    decoder: [106, 220, 60, 72],
    output: [22, 228, 56, 56],
    prompt: [828, 60, 110, 56],
    text_encoder: [828, 156, 110, 60],
  },
  arrows: {
    encoder: "M 80 88 H 102",
    latents: "M 168 88 H 212",
    noising: "M 266 88 H 286",
    noise: "M 658 88 H 680",
    unet: "M 708 130 V 154",
    clean: "M 318 256 H 268",
    decoder: "M 212 256 H 170",
    output: "M 102 256 H 82",
    text_encoder: "M 883 118 V 152",
    attention: "M 883 218 V 336 H 722",
    time: "M 738 198 H 722",
  },
  begins: { noise: [676, 50, "end"], picture: [50, 146, "middle"] },
  context: [892, 272],
  loop: "M 300 256 V 384 H 740 V 262 H 722",
  steps: [520, 380],
  guidance: [230, 322, 62, 40],
};
const NARROW = {
  size: [352, 660],
  panels: { pixels: [2, 2, 138, 92], latent: [2, 100, 348, 362], conditions: [2, 470, 348, 84] },
  boxes: {
    picture: [18, 28, 44, 44],
    encoder: [84, 24, 46, 54],
    latents: [12, 126, 38, 38],
    noising: [70, 118, 214, 52],
    noise: [304, 126, 38, 38],
    unet: [10, 196, 326, 186],
    time: [288, 203, 40, 24],
    steps: [64, 404, 190, 40],
    clean: [12, 404, 38, 38],
    prompt: [10, 494, 120, 50],
    text_encoder: [170, 490, 120, 58],
    decoder: [76, 586, 46, 54],
    output: [152, 590, 44, 44],
  },
  arrows: {
    encoder: "M 64 50 H 81",
    latents: "M 132 51 H 137 V 107 H 18 V 123",
    noising: "M 52 145 H 67",
    noise: "M 286 145 H 301",
    unet: "M 323 181 V 193",
    clean: "M 18 384 V 401",
    decoder: "M 10 423 H 5 V 613 H 73",
    output: "M 124 613 H 149",
    text_encoder: "M 132 519 H 167",
    attention: "M 292 519 H 346 V 360 H 339",
    time: "M 308 227 V 235",
  },
  begins: { noise: [290, 114, "end"], picture: [150, 54, "start"] },
  context: [298, 512],
  loop: "M 64 384 V 422 H 254 V 386",
  steps: [159, 424],
  guidance: [262, 406, 76, 36],
};
const ROOM_FOR_WIDE = 720; // px of width from which the wide arrangement is readable
// Until the checkpoint has answered: three levels with attention in the lower two.
const USUAL = [
  { place: "down", cross_attentions: 0 },
  { place: "down", cross_attentions: 1 },
  { place: "down", cross_attentions: 1 },
  { place: "mid", cross_attentions: 1 },
  { place: "up", cross_attentions: 1 },
  { place: "up", cross_attentions: 1 },
  { place: "up", cross_attentions: 0 },
];

/** The text of a symbol in a drawing; what follows "_" is its index, up to a bracket. */
export function symbolText(attributes, words) {
  const [letter, index, rest = ""] = words.split(/_([^(]+)/);
  const text = svg("text", attributes, letter);
  if (index) text.append(svg("tspan", { dy: 4, class: "ls-machine-index" }, index), svg("tspan", { dy: -4 }, rest));
  return text;
}

let count = 0; // of the drawings

/** `words`: the texts under `machine`. pick(name) is called with a chosen part; without it the drawing only shows.
    Returns `element` and
    light(names): marks parts; an empty list marks none.
    fit(answer): draws the blocks and shapes of a checkpoint (the answer to the question `architecture`).
    show({picture, latents, noise, clean, output}): data URLs or addresses of pictures at their places.
    begin(name): where a run begins, "noise" or "picture"; what it leaves out is pale. null: all of it is in use.
    count(steps): how many steps the loop has. */
export function machine({ words, pick = null }) {
  const say = (key, values) => fill(words[key], values);
  const tipId = `ls-machine-tip-${++count}`; // a page may have several drawings
  const element = svg("svg", { class: "ls-machine", role: "group", "aria-label": say("label") });
  let layout = null;
  let lit = [];
  let answer = null;
  let pictures = {};
  let steps = null;
  let beginning = null;

  function draw() {
    const focused = element.contains(document.activeElement) ? document.activeElement.dataset.part : null;
    element.setAttribute("viewBox", `0 0 ${layout.size.join(" ")}`);
    element.dataset.layout = layout === WIDE ? "wide" : "narrow";
    const tip = svg("defs");
    const marker = svg("marker", { id: tipId, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6 });
    marker.setAttribute("markerHeight", 6);
    marker.setAttribute("orient", "auto-start-reverse");
    marker.append(svg("path", { d: "M 0 0 L 8 4 L 0 8 z", class: "ls-machine-tip" }));
    tip.append(marker);
    element.dataset.begin = beginning ?? "";
    element.replaceChildren(tip, ...panels(), ...arrows(), ...MACHINE_PARTS.map(part), ...beginningMark());
    light(lit);
    if (focused) element.querySelector(`[data-part="${focused}"]`)?.focus();
  }

  function panels() {
    return Object.entries(layout.panels).flatMap(([name, [x, y, width, height]]) => [
      svg("rect", { x, y, width, height, rx: 10, class: "ls-machine-panel", "data-panel": name }),
      layout === WIDE
        ? svg("text", { x: x + 10, y: y + 17, class: "ls-machine-space" }, say(`space.${name}`))
        : svg("text", { x: x + width / 2, y: y + 13, class: "ls-machine-small" }, say(`space.${name}`)),
    ]);
  }

  function arrows() {
    const lines = Object.entries(layout.arrows).map(([name, d]) =>
      svg("path", { d, class: "ls-machine-arrow", "data-to": name, "marker-end": `url(#${tipId})` }),
    );
    lines.push(
      svg("path", {
        d: layout.loop,
        class: "ls-machine-arrow ls-machine-loop",
        "data-to": "steps",
        "marker-end": `url(#${tipId})`,
      }),
    );
    return lines;
  }

  /** Where the run begins, in words beside the ring. */
  function beginningMark() {
    if (!beginning) return [];
    const [x, y, anchor] = layout.begins[beginning];
    const text = svg("text", { x, y, class: "ls-machine-begin" }, say(`word.begin.${beginning}`));
    text.style.textAnchor = anchor;
    return [text];
  }

  /** One part: what it is called, its drawing, and how it is chosen. */
  function part(name) {
    const group = svg("g", { "data-part": name, class: "ls-machine-part" });
    if (pick) {
      group.setAttribute("role", "button");
      group.setAttribute("tabindex", "0");
      group.setAttribute("aria-label", say(`part.${name}`));
      group.addEventListener("click", () => pick(name));
      group.addEventListener("keydown", (event) => {
        if (!["Enter", " "].includes(event.key)) return;
        event.preventDefault();
        pick(name);
      });
    }
    group.append(svg("title", {}, say(`part.${name}`)), ...DRAWINGS[name](layout.boxes[name], name));
    return group;
  }

  const symbol = (attributes, name) => symbolText(attributes, say(`symbol.${name}`));

  /** A picture or latents: a square with its symbol and shape under it. */
  function datum([x, y, width, height], name) {
    const shape = shapeOf(name);
    const parts = [svg("rect", { x, y, width, height, rx: 4, class: "ls-machine-datum" })];
    if (pictures[name])
      parts.push(
        svg("image", {
          href: pictures[name],
          x: x + 1,
          y: y + 1,
          width: width - 2,
          height: height - 2,
          class: "ls-pixels",
        }),
      );
    parts.push(symbol({ x: x + width / 2, y: y - 6, class: "ls-machine-symbol" }, name));
    if (shape) parts.push(svg("text", { x: x + width / 2, y: y + height + 13, class: "ls-machine-small" }, shape));
    return parts;
  }
  function shapeOf(name) {
    const shapes = answer?.shapes;
    if (!shapes) return "";
    return (["picture", "output"].includes(name) ? shapes.picture : shapes.latents).join("×");
  }

  /** The VAE's halves: they narrow towards the latents. */
  function funnel([x, y, width, height], name) {
    const narrow = height / 4;
    const [left, right] = name === "encoder" ? [0, narrow] : [narrow, 0];
    const wide = name === "decoder" && layout === WIDE ? [right, left] : [left, right];
    const [l, r] = name === "decoder" ? (layout === WIDE ? [0, narrow] : [narrow, 0]) : wide;
    return [
      svg("path", {
        d: `M ${x} ${y + l} L ${x + width} ${y + r} V ${y + height - r} L ${x} ${y + height - l} Z`,
        class: "ls-machine-box",
      }),
      symbol({ x: x + width / 2, y: y + height / 2 + 6, class: "ls-machine-letter" }, name),
      svg("text", { x: x + width / 2, y: y + height + 13, class: "ls-machine-small" }, say(`word.${name}`)),
    ];
  }

  function box([x, y, width, height], name) {
    return [
      svg("rect", { x, y, width, height, rx: 8, class: "ls-machine-box" }),
      symbol({ x: x + width / 2, y: y + height / 2 - 2, class: "ls-machine-letter" }, name),
      svg("text", { x: x + width / 2, y: y + height / 2 + 15, class: "ls-machine-small" }, say(`word.${name}`)),
    ];
  }

  /** The forward process: the share of noise grows from left to right. */
  function noising([x, y, width, height]) {
    const bars = 24;
    const parts = [svg("rect", { x, y, width, height, rx: 8, class: "ls-machine-box" })];
    const [low, tall] = [y + height - 8, height - 30];
    for (let k = 0; k < bars; k++) {
      const share = (k + 1) / bars; // of noise
      const at = x + 10 + (k * (width - 20)) / bars;
      parts.push(
        svg("rect", {
          x: at,
          y: low - tall,
          width: (width - 20) / bars - 1,
          height: tall * (1 - share),
          class: "ls-machine-signal",
        }),
        svg("rect", {
          x: at,
          y: low - tall * share,
          width: (width - 20) / bars - 1,
          height: tall * share,
          class: "ls-machine-noise",
        }),
      );
    }
    parts.push(svg("text", { x: x + width / 2, y: y + 15, class: "ls-machine-small" }, say("word.noising")));
    return parts;
  }

  /** The U-Net: its blocks as bars that shrink with the grid, its skips, t into each, words into those that attend. */
  function unet([x, y, width, height]) {
    const blocks = (answer?.blocks ?? []).filter(
      (block) => block.part === "unet" && ["down", "mid", "up"].includes(block.place),
    );
    const all = blocks.length ? blocks : USUAL;
    const downs = all.filter((block) => block.place === "down").length;
    const ups = all.filter((block) => block.place === "up").length;
    const depths = all.map((block, k) =>
      block.place === "down" ? k : block.place === "mid" ? downs : Math.max(0, downs - 1 - (k - (all.length - ups))),
    );
    const gap = width / all.length;
    const [wide, base] = [Math.min(26, gap * 0.46), y + height - 46];
    // Data runs to the left in the wide arrangement, as the latents do there.
    const middle = (k) => (layout === WIDE ? x + width - (k + 0.5) * gap : x + (k + 0.5) * gap);
    const tall = (k) => Math.max(18, (height - 96) * 0.72 ** depths[k]);
    const side = (layout === WIDE ? -wide : wide) / 2; // from the middle of a block to the edge at which data leaves it
    const line = (d, name) => svg("path", { d, class: name, "marker-end": `url(#${tipId})` });
    const parts = [
      svg("rect", { x, y, width, height, rx: 10, class: "ls-machine-box" }),
      svg("text", { x: x + width / 2, y: y + 17, class: "ls-machine-letter" }, say("symbol.unet")),
    ];
    all.forEach((block, k) => {
      if (block.place !== "down") return;
      const other = all.length - 1 - k;
      const at = base - Math.min(tall(k), tall(other)) + 6;
      parts.push(line(`M ${middle(k) + side} ${at} H ${middle(other) - side}`, "ls-machine-skip"));
    });
    all.forEach((_block, k) => {
      if (k < all.length - 1)
        parts.push(line(`M ${middle(k) + side} ${base - 8} H ${middle(k + 1) - side}`, "ls-machine-way"));
    });
    all.forEach((block, k) => {
      parts.push(
        svg("rect", {
          x: middle(k) - wide / 2,
          y: base - tall(k),
          width: wide,
          height: tall(k),
          rx: 3,
          class: "ls-machine-block",
          "data-place": block.place,
        }),
      );
    });
    // Between two of the ways of t, above the outermost skip
    const center = (middle(downs) + middle(downs + 1)) / 2;
    parts.push(svg("text", { x: center, y: base - tall(0) + 2, class: "ls-machine-small" }, say("word.skips")));
    blockPlaces = all.map((block, k) => ({
      x: middle(k),
      top: base - tall(k),
      floor: base,
      isAttended: block.cross_attentions > 0,
    }));
    return parts;
  }
  let blockPlaces = []; // where the blocks stand, and which of them look at the words

  /** The words on their way into every block that attends to them. */
  function attention() {
    const [x, y, width, height] = layout.boxes.unet;
    const rail = y + height - (layout === WIDE ? 18 : 22);
    const parts = [
      // Where a finger finds it
      svg("rect", { x: x + 6, y: rail - 12, width: width - 12, height: 30, class: "ls-machine-target" }),
      svg("path", { d: `M ${x + 12} ${rail} H ${x + width - 4}`, class: "ls-machine-rail" }),
    ];
    for (const { x: at, floor } of blockPlaces.filter((one) => one.isAttended))
      parts.push(
        svg("path", { d: `M ${at} ${rail} V ${floor - 2}`, class: "ls-machine-rail" }),
        svg("path", { d: `M ${at} ${floor - 11} l 6 6 l -6 6 l -6 -6 z`, class: "ls-machine-diamond" }),
      );
    const [left, baseline] = layout.context;
    parts.push(
      svg("text", { x: x + 14, y: rail + 13, class: "ls-machine-small ls-machine-left" }, say("word.attention")),
      symbol({ x: left, y: baseline, class: "ls-machine-symbol ls-machine-left" }, "context"),
    );
    return parts;
  }

  /** t, and its way into every block. */
  function time([x, y, width, height]) {
    const [left, above, across] = layout.boxes.unet;
    const rail = above + 40;
    const xs = blockPlaces.map((one) => one.x);
    return [
      svg("path", {
        d: `M ${layout === WIDE ? left + across : x + width / 2} ${rail} H ${Math.min(...xs)}`,
        class: "ls-machine-time",
      }),
      ...blockPlaces.map((one) =>
        svg("path", {
          d: `M ${one.x} ${rail} V ${one.top - 1}`,
          class: "ls-machine-time",
          "marker-end": `url(#${tipId})`,
        }),
      ),
      svg("rect", { x, y, width, height, rx: height / 2, class: "ls-machine-box" }),
      svg("text", { x: x + width / 2, y: y + height / 2 + 6, class: "ls-machine-letter" }, "t"),
    ];
  }

  function round() {
    const [x, y] = layout.steps;
    const text = steps === null ? say("word.steps") : say("word.steps.count", { count: steps });
    return [
      svg("rect", { x: x - 86, y: y - 15, width: 172, height: 28, rx: 14, class: "ls-machine-box" }),
      svg("text", { x, y: y + 4, class: "ls-machine-small" }, text),
    ];
  }

  function guidance() {
    const [x, y, width, height] = layout.guidance;
    return [
      svg("rect", { x, y, width, height, rx: 8, class: "ls-machine-box" }),
      svg("text", { x: x + width / 2, y: y + 17, class: "ls-machine-letter" }, "w"),
      svg("text", { x: x + width / 2, y: y + 32, class: "ls-machine-small" }, say("word.guidance")),
    ];
  }

  const DRAWINGS = {
    picture: datum,
    encoder: funnel,
    latents: datum,
    noising,
    noise: datum,
    unet,
    time,
    attention,
    steps: round,
    prompt: box,
    text_encoder: box,
    guidance,
    clean: datum,
    decoder: funnel,
    output: datum,
  };

  function light(names) {
    lit = names;
    element.dataset.lit = names.length ? "some" : "none";
    for (const one of element.querySelectorAll("[data-part]"))
      one.classList.toggle("ls-lit", names.includes(one.dataset.part));
    for (const one of element.querySelectorAll("[data-to]"))
      one.classList.toggle("ls-lit", names.includes(one.dataset.to));
  }

  const fitLayout = (width) => {
    const next = width >= ROOM_FOR_WIDE ? WIDE : NARROW;
    if (next === layout) return;
    layout = next;
    draw();
  };
  fitLayout(1000);
  new ResizeObserver(([entry]) => entry.contentRect.width && fitLayout(entry.contentRect.width)).observe(element);

  return {
    element,
    light,
    fit(next) {
      answer = next;
      draw();
    },
    show(next) {
      pictures = { ...pictures, ...next };
      draw();
    },
    begin(next) {
      beginning = next;
      draw();
    },
    count(next) {
      steps = next;
      draw();
    },
  };
}

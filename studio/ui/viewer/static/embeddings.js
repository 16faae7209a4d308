/* Part of the panel Words: the text encoder's vectors of the tokens. Shows their lengths, the cosine between any
   two, and the tokens on a plane. The studio is asked once for a prompt, when the panel opens. */

import { ask } from "./ask.js";
import { number, svg } from "./chart.js";
import { RAMPS } from "./colours.js";

export function embeddings(context) {
  const { h, say } = context;
  const [WIDE, TALL, EDGE] = [420, 300, 44]; // of the plane
  const SIDE = 320; // of the matrix
  const LETTER = 6.1; // width of a letter in the labels' font
  const answersByText = new Map(); // checkpoint and text => the answer, a failure, or "asking"
  const status = h("p", { class: "ls-note", role: "status" });
  const lengths = h("div", { class: "ls-bars" });
  const matrix = svg("svg", { class: "ls-matrix", role: "img", "aria-label": say("embeddings.cosine") });
  const read = h("p", { class: "ls-values ls-note" });
  const plane = svg("svg", {
    viewBox: `0 0 ${WIDE} ${TALL}`,
    class: "ls-chart ls-plane",
    role: "img",
    "aria-label": say("embeddings.plane"),
  });
  const planeNote = h("p", { class: "ls-note" });
  const body = h(
    "div",
    { class: "ls-three-of" },
    h("div", {}, h("h3", {}, say("embeddings.lengths")), lengths),
    h("div", {}, h("h3", {}, say("embeddings.cosine")), matrix, read),
    h("div", {}, h("h3", {}, say("embeddings.plane")), plane, planeNote),
  );
  const element = h("div", { class: "ls-embeddings" }, status, body);
  let tokensHere = null;

  const nameOf = (token) => (token.kind === "content" ? token.text : say(`words.${token.kind}`));

  async function fetchVectors(key, prompt) {
    answersByText.set(key, "asking");
    try {
      answersByText.set(key, await ask("embeddings", { checkpoint: context.checkpoint(), prompt }));
    } catch (failure) {
      answersByText.set(key, failure);
    }
    context.draw();
  }

  function drawLengths({ tokens }) {
    const most = Math.max(...tokens.map((token) => token.norm), 1e-9);
    lengths.replaceChildren(
      ...tokens.map((token) =>
        h(
          "div",
          { class: "ls-bar-row", "data-kind": token.kind },
          h("span", {}, nameOf(token)),
          h("b", {}, h("i", { style: `width: ${((token.norm / most) * 100).toFixed(2)}%` })),
          h("small", {}, number(token.norm, 1)),
        ),
      ),
    );
  }

  function drawMatrix({ tokens, cosine }) {
    const many = tokens.length;
    const cell = SIDE / many;
    const label = many <= 24;
    const margin = label ? 64 : 4;
    matrix.setAttribute("viewBox", `0 0 ${SIDE + margin} ${SIDE + margin}`);
    const parts = [];
    cosine.forEach((row, i) =>
      row.forEach((value, j) => {
        const at = Math.round(Math.min(1, Math.max(0, (value + 1) / 2)) * 255) * 4;
        const one = svg("rect", {
          x: margin + j * cell,
          y: i * cell,
          width: cell + 0.3,
          height: cell + 0.3,
          fill: `rgb(${RAMPS.signed.slice(at, at + 3).join()})`,
        });
        one.addEventListener("pointerenter", () => {
          read.textContent = say("embeddings.pair", {
            one: nameOf(tokens[i]),
            other: nameOf(tokens[j]),
            value: number(value, 3),
          });
        });
        parts.push(one);
      }),
    );
    if (label) {
      tokens.forEach((token, k) => {
        parts.push(
          svg("text", { x: margin - 6, y: (k + 0.5) * cell + 3.5, "text-anchor": "end" }, short(nameOf(token))),
        );
        parts.push(
          svg(
            "text",
            {
              x: margin + (k + 0.5) * cell,
              y: SIDE + 8,
              "text-anchor": "end",
              transform: `rotate(-45 ${margin + (k + 0.5) * cell} ${SIDE + 8})`,
            },
            short(nameOf(token)),
          ),
        );
      });
    }
    matrix.replaceChildren(...parts);
    read.textContent = say("embeddings.point");
  }
  const short = (text) => (text.length > 10 ? `${text.slice(0, 9)}…` : text);

  function drawPlane({ tokens, share }) {
    const spans = [0, 1].map((axis) => {
      const values = tokens.map((token) => token.at[axis]);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      return high - low > 1e-9 ? [low, high] : [low - 1, high + 1];
    });
    const x = (value) => EDGE + ((WIDE - 2 * EDGE) * (value - spans[0][0])) / (spans[0][1] - spans[0][0]);
    const y = (value) => TALL - 24 - ((TALL - 48) * (value - spans[1][0])) / (spans[1][1] - spans[1][0]);
    const points = tokens.map((token) => ({
      x: x(token.at[0]),
      y: y(token.at[1]),
      name: short(nameOf(token)),
      kind: token.kind,
    }));
    // Boxes that labels must not cover
    const labelBoxes = points.map((one) => [one.x - 4, one.y - 4, one.x + 4, one.y + 4]);
    const labels = points.map((one) => {
      const labelWidth = one.name.length * LETTER;
      const boxes = [
        [-labelWidth / 2, -16],
        [-labelWidth / 2, 6],
        [8, -5],
        [-8 - labelWidth, -5],
        [8, -17],
        [8, 7],
        [-8 - labelWidth, -17],
        [-8 - labelWidth, 7],
        [-labelWidth / 2, -28],
        [-labelWidth / 2, 18],
      ].map(([dx, dy]) => [one.x + dx, one.y + dy, one.x + dx + labelWidth, one.y + dy + 10]);
      const free =
        boxes.find(
          ([a, b, c, d]) =>
            a > 2 &&
            c < WIDE - 2 &&
            b > 2 &&
            d < TALL - 2 &&
            labelBoxes.every(([p, q, r, s]) => c < p || a > r || d < q || b > s),
        ) || boxes[0];
      labelBoxes.push(free);
      return svg("text", { x: free[0], y: free[1] + 9, class: "ls-line-label" }, one.name);
    });
    const dots = points.map((one) =>
      svg("circle", { cx: one.x, cy: one.y, r: 3.5, class: one.kind === "content" ? "ls-point" : "ls-point ls-ghost" }),
    );
    plane.replaceChildren(
      svg("rect", { x: 0.5, y: 0.5, width: WIDE - 1, height: TALL - 1, rx: 10, class: "ls-plane-table" }),
      ...labels,
      ...dots,
    );
    planeNote.textContent = say("embeddings.share", { share: number(share * 100, 0) });
  }

  return {
    element,
    /** Shows the tokens of a text; needs a studio to ask. */
    draw(prompt) {
      element.hidden = !context.answers?.("embeddings");
      if (element.hidden) return;
      const key = `${context.checkpoint()} ${prompt}`;
      const answer = answersByText.get(key);
      if (!answer) fetchVectors(key, prompt);
      const there = answer && answer !== "asking" && !(answer instanceof Error);
      body.hidden = !there;
      status.hidden = there && !answer.left_out;
      status.textContent = there
        ? say("embeddings.left_out", { count: answer.left_out })
        : answer instanceof Error
          ? answer.message || say("ask.failed")
          : say("embeddings.asking");
      if (!there || tokensHere === key) return;
      tokensHere = key;
      drawLengths(answer);
      drawMatrix(answer);
      drawPlane(answer);
    },
  };
}

/* A figure of the tab Learn: points of a plane on their way from noise to data, on the path of diffusion and on that of a
   flow, by the studio's own schedulers. */

import { h } from "../../static/elements.js";
import { ask, askUntilLoaded, latest } from "../../viewer/static/ask.js";
import { number, svg } from "../../viewer/static/chart.js";

const COUNTS = [1, 2, 4, 8, 25];
const SCHEDULERS = ["euler", "dpmpp_2m", "unipc"]; // those that run both paths and add no noise
const PATHS = ["diffusion", "flow"];
const HALF = 3; // the plane is shown from -HALF to HALF in both directions

export const plane = {
  name: "plane",
  build(context) {
    const { tell: say, props } = context;
    const newest = latest();
    const choice = { scheduler: "euler", steps: 4, seed: 0 };
    let answer = null;
    const label = (name) => props.schedulers[name].label;
    const scheduler = h(
      "select",
      {
        class: "ls-choice",
        "aria-label": say("plane.scheduler"),
        onchange: () => choose({ scheduler: scheduler.value }),
      },
      ...SCHEDULERS.map((name) => h("option", { value: name }, label(name))),
    );
    const counts = COUNTS.map((steps) =>
      h(
        "button",
        { class: "ls-pick", type: "button", "data-steps": steps, onclick: () => choose({ steps }) },
        say(steps === 1 ? "plane.step" : "plane.steps", { count: steps }),
      ),
    );
    const again = h(
      "button",
      { class: "ls-button", type: "button", onclick: () => choose({ seed: choice.seed + 1 }) },
      say("plane.again"),
    );
    const slider = h("input", { type: "range", class: "ls-range", min: 0, step: 1, "aria-label": say("plane.time") });
    const where = h("output", { class: "ls-level" });
    slider.addEventListener("input", drawPoints);
    const status = h("p", { class: "ls-note", role: "status" });
    const planes = Object.fromEntries(
      PATHS.map((name) => {
        const drawing = svg("svg", {
          viewBox: `${-HALF} ${-HALF} ${2 * HALF} ${2 * HALF}`,
          class: "ls-plane",
          role: "img",
          "aria-label": say(`plane.${name}`),
          "data-path": name,
        });
        const note = h("small", {});
        const caption = h("figcaption", {}, h("span", { class: "ls-pane-name" }, say(`plane.${name}`)), note);
        return [name, { drawing, note, figure: h("figure", { class: "ls-pane" }, drawing, caption) }];
      }),
    );
    const element = h(
      "div",
      { class: "ls-learn-plane" },
      h("div", { class: "ls-learn-words" }, scheduler, ...counts, again),
      h(
        "div",
        { class: "ls-whatif" },
        h("label", {}, say("plane.time")),
        h("div", { class: "ls-track" }, slider),
        where,
      ),
      status,
      h("div", { class: "ls-row-of ls-learn-planes" }, ...PATHS.map((name) => planes[name].figure)),
    );

    async function choose(changes) {
      Object.assign(choice, changes);
      for (const button of counts)
        button.setAttribute("aria-pressed", String(Number(button.dataset.steps) === choice.steps));
      const { steps, ...rest } = choice;
      const question = { ...rest, num_inference_steps: steps, checkpoint: context.checkpoint() };
      try {
        const next = await newest(() => askUntilLoaded(() => ask("plane", question)));
        if (!next) return;
        answer = next;
        status.textContent = "";
        slider.max = steps;
        slider.value = steps;
        drawPoints();
      } catch (failure) {
        status.textContent = failure.message || say("figure.failed");
      }
    }

    /** The ways up to the slider's step, the points there, and the clouds of data. y points up. */
    function drawPoints() {
      const at = Number(slider.value);
      where.textContent = say("plane.at", { index: at, total: slider.max });
      for (const [name, { drawing, note }] of Object.entries(planes)) {
        const { places, strays } = answer.paths[name];
        const clouds = answer.means.map(([x, y]) =>
          svg("circle", { cx: x, cy: -y, r: 2 * answer.deviation, class: "ls-plane-cloud" }),
        );
        const ways = places[0].map((_, k) =>
          svg("polyline", {
            points: places
              .slice(0, at + 1)
              .map((place) => `${place[k][0]},${-place[k][1]}`)
              .join(" "),
            class: "ls-plane-way",
          }),
        );
        const points = places[at].map(([x, y]) => svg("circle", { cx: x, cy: -y, r: 0.045, class: "ls-plane-point" }));
        drawing.replaceChildren(...clouds, ...ways, ...points);
        note.textContent = say("plane.strays", { distance: number(strays, 2) });
      }
    }

    return {
      element,
      draw() {
        if (!answer && context.checkpoint()) choose({});
      },
    };
  },
};

/* Figures of the chapter on other beginnings: a picture of which a part is made anew, and a map that a ControlNet obeys. */

import { paintMap } from "../../generate/static/paint_map.js";
import { fill, h } from "../../static/elements.js";
import { fewSteps, slot } from "./few_steps.js";

const STEPS = 8;

/** The fields of a run like the one that is shown, with other words. */
function fieldsWith(prompt, { run }) {
  const { checkpoint, guidance_scale, scheduler, noise_schedule, seed } = run;
  return { checkpoint, guidance_scale, scheduler, noise_schedule, seed, prompt, steps: STEPS };
}

/** One part of the picture made anew, with the chapter's words; the rest stays. */
const mask = {
  name: "mask",
  build(context) {
    const { tell: say } = context;
    const PARTS = ["left", "right", "top", "bottom", "middle"];
    let part = "middle";
    const parts = PARTS.map((name) =>
      h(
        "button",
        { class: "ls-pick", type: "button", "data-name": name, onclick: () => choose(name) },
        say(`under_mask.${name}`),
      ),
    );
    const place = slot(say, say("under_mask.picture"));
    const element = h(
      "div",
      { class: "ls-learn-steps" },
      h("h4", {}, say("under_mask")),
      h("p", { class: "ls-note" }, say("under_mask.how")),
      h("div", { class: "ls-learn-words", role: "group", "aria-label": say("under_mask.parts") }, ...parts),
      h("div", { class: "ls-row-of ls-learn-two" }, place.element),
    );
    function choose(name) {
      part = name;
      draw();
    }
    function draw() {
      for (const one of parts) one.setAttribute("aria-pressed", String(one.dataset.name === part));
      const { picture, record } = context;
      element.hidden = !picture || !record?.run;
      if (element.hidden) return;
      place.show(fewSteps({ ...fieldsWith(context.wish(), record), part }, picture, "few-steps-under-mask"));
    }
    return { element, draw };
  },
};

/** A painted map, and the picture that a ControlNet holds to it, beside the one of the same noise without. */
const map = {
  name: "map",
  build(context) {
    const { tell: say, props } = context;
    const PAUSE = 250; // ms after the last stroke
    const word = (key, values) => fill(props.control[key], values);
    const painter = paintMap({ word, onPaint: change, prompt: () => context.wish() });
    const none = h("p", { class: "ls-note" }, say("map.none"));
    const obeyed = slot(say, say("map.with"));
    const free = slot(say, say("map.without"));
    const body = h(
      "div",
      { class: "ls-learn-map" },
      painter.element,
      h("div", { class: "ls-row-of ls-learn-two" }, obeyed.element, free.element),
    );
    const element = h(
      "div",
      { class: "ls-learn-steps" },
      h("h4", {}, say("map")),
      h("p", { class: "ls-note" }, say("map.how")),
      none,
      body,
    );
    let checkpoint = null;
    let wish = null; // the words that the example is of
    let record = null;
    let png = ""; // the painted map in base64; "" while nothing is painted
    let example = ""; // the same of the example
    let timer = null;

    function change(next) {
      png = next;
      clearTimeout(timer);
      timer = setTimeout(show, PAUSE);
    }
    function show() {
      const fields = fieldsWith(context.wish(), context.record);
      free.show(fewSteps(fields));
      if (!png) return obeyed.show(null);
      const file = new Blob([Uint8Array.from(atob(png), (one) => one.charCodeAt(0))], { type: "image/png" });
      const { model } = props.maps[checkpoint];
      obeyed.show(fewSteps({ ...fields, control: model }, { fields: {}, key: png, file }, "few-steps-of-map"));
    }
    return {
      element,
      async draw() {
        if (!context.record?.run) return;
        const offer = props.maps[context.checkpoint()];
        none.hidden = !!offer;
        body.hidden = !offer;
        if (!offer) return;
        const isNew = checkpoint !== context.checkpoint();
        if (!isNew && wish === context.wish() && record === context.record) return;
        checkpoint = context.checkpoint();
        wish = context.wish();
        record = context.record;
        await painter.open(offer.palette, offer.size, null); // what is painted stays
        if (!isNew && png !== example) return change(png);
        painter.showExample();
        example = png;
      },
    };
  },
};

export const CONDITIONS = [mask, map];

/* Earlier pictures, as a strip of thumbnails. */

import { h } from "../../../static/elements.js";

export function earlierPictures({ say, open }) {
  const strip = h("div", { class: "ls-strip" });
  const earlier = h("div", { class: "ls-earlier", hidden: true }, h("h2", {}, say("earlier")), strip);

  /** `here`: the picture on the stage, or null. */
  function draw(all, here) {
    earlier.hidden = all.length === 0;
    const ids = all.map((p) => `${p.id}${p.unsaved ? "?" : ""}`).join();
    if (strip.dataset.ids !== ids) {
      strip.dataset.ids = ids;
      strip.replaceChildren(
        ...all.map((p) =>
          h(
            "button",
            {
              class: p.unsaved ? "ls-thumb ls-unsaved" : "ls-thumb",
              type: "button",
              "data-id": p.id,
              "aria-label": say(p.unsaved ? "earlier.open.unsaved" : "earlier.open", { prompt: p.prompt }),
              title: p.unsaved ? `${p.prompt} (${say("unsaved")})` : p.prompt,
              onclick: () => open(p),
            },
            h("img", { class: "ls-small", src: `/thumbnail/${p.id}`, alt: "", loading: "lazy" }),
          ),
        ),
      );
    }
    for (const thumb of strip.children)
      thumb.setAttribute("aria-pressed", String(!!here && thumb.dataset.id === here.id));
  }

  return { element: earlier, draw };
}

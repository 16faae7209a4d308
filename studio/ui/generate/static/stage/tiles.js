/* The images of one run, small, beside the picture; a click chooses one. A run of one image has no tiles. */

import { h, show } from "../../../static/elements.js";

export function buildTiles({ say, choose }) {
  const tiles = h("div", { class: "ls-tiles", role: "group", "aria-label": say("tiles") });

  /** `single`: an earlier picture replaces the run on the stage. */
  function draw(view, selected, single) {
    const count = single ? 1 : Math.max(view.images || 1, (view.pictures || []).length);
    tiles.hidden = count < 2 || ["first", "invalid", "refused"].includes(view.state);
    if (tiles.hidden) return tiles.replaceChildren();
    tiles.style.setProperty("--columns", Math.ceil(count / 5));
    while (tiles.children.length > count) tiles.lastChild.remove();
    while (tiles.children.length < count) {
      const k = tiles.children.length;
      const label = say("tile", { index: k + 1, count });
      tiles.append(
        h(
          "button",
          { class: "ls-tile", type: "button", onclick: () => choose(k), "aria-label": label },
          h("img", { class: "ls-small", alt: "", hidden: true }),
        ),
      );
    }
    [...tiles.children].forEach((tile, k) => {
      const done = (view.pictures || [])[k];
      const small = done ? `/thumbnail/${done.id}` : (view.previews || [])[k];
      if (small && tile.firstChild.dataset.source !== small) show(tile.firstChild, small, "");
      tile.setAttribute("aria-pressed", String(k === selected));
      tile.style.aspectRatio = `${view.width || 1} / ${view.height || 1}`;
    });
  }

  return { element: tiles, draw };
}

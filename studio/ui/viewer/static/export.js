/* Panel: the run as files, and as a link. */

import { runLink } from "./run_link.js";

export const panel = {
  name: "export",
  place: "deeper",
  build(context) {
    const { h, say } = context;
    const FILE_KINDS = ["mp4", "webp", "gif", "sheet", "html", "attention", "tensors", "csv", "json"];
    const QUANTITIES = Object.keys(context.props.quantities);
    const FILMS = ["mp4", "webp", "gif", "sheet"];
    const rate = h("input", {
      type: "number",
      class: "ls-text ls-steps-field",
      min: 1,
      max: 30,
      value: 8,
      onchange: () => context.draw(),
    });
    const how = h(
      "select",
      { class: "ls-choice", "aria-label": say("decoder"), onchange: () => context.draw() },
      ...["fast", "channels", "cells"].map((name) => h("option", { value: name }, say(`decoder.${name}`))),
    );
    const boxes = QUANTITIES.map((name) =>
      h("input", {
        type: "checkbox",
        value: name,
        checked: ["x_t", "denoised", "noise_pred"].includes(name),
        onchange: () => context.draw(),
      }),
    );
    const choice = () => boxes.filter((box) => box.checked).map((box) => box.value);
    const panes = h("button", { class: "ls-button", type: "button", onclick: asPanes }, say("export.panes"));
    const links = FILE_KINDS.map((kind) => ({
      kind,
      link: h(
        "a",
        { class: "ls-export", download: "", "data-kind": kind },
        h("b", {}, say(`export.${kind}`)),
        h("small", {}, say(`export.${kind}.what`)),
      ),
    }));
    const row = (kinds) =>
      h("div", { class: "ls-exports" }, ...links.filter(({ kind }) => kinds(kind)).map(({ link }) => link));
    const link = runLink(context, () => context.record);
    const element = h(
      "section",
      { class: "ls-panel" },
      h("h3", {}, say("export.share")),
      link.element,
      h("h3", { class: "ls-spaced" }, say("export.films")),
      h(
        "fieldset",
        { class: "ls-quantities" },
        h("legend", {}, say("export.quantities")),
        ...QUANTITIES.map((name, k) => h("label", { class: "ls-check" }, boxes[k], h("span", {}, say(`pane.${name}`)))),
      ),
      h(
        "div",
        { class: "ls-panel-head" },
        panes,
        h("label", { class: "ls-inline" }, say("decoder"), how),
        h("label", { class: "ls-inline" }, say("export.fps"), rate),
      ),
      row((kind) => FILMS.includes(kind)),
      h("h3", { class: "ls-spaced" }, say("export.files")),
      row((kind) => !FILMS.includes(kind)),
    );

    /** Chooses the quantities of the panes above, drawn in the same way. A pane that compares two of them has no
        picture of its own. */
    function asPanes() {
      const { state } = context;
      for (const box of boxes) box.checked = state.panes.includes(box.value);
      how.value = ["channels", "cells"].includes(state.how) ? state.how : "fast";
      context.draw();
    }
    return {
      element,
      available: (record) => !!record?.ended && !record.isSample,
      draw() {
        const { record } = context;
        link.draw();
        // At least one picture: unticking the last box ticks the predicted picture.
        if (!choice().length) boxes[QUANTITIES.indexOf("denoised")].checked = true;
        const fps = Math.min(30, Math.max(1, Math.round(Number(rate.value)) || 8));
        for (const { kind, link } of links) {
          if (kind === "attention") link.hidden = !record.evaluations.some((entry) => entry.attention);
          const query = { kind, image: record.image };
          // A contact sheet has one quantity; the second of several is taken.
          if (FILMS.includes(kind)) Object.assign(query, { fps, how: how.value, quantities: choice().join(",") });
          link.href = `/export/${encodeURIComponent(record.job)}?${new URLSearchParams(query)}`;
        }
      },
    };
  },
};

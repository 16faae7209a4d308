/* Panel: the run as files. */
"use strict";

window.LatentStudio.panels.push({
  name: "export",
  place: "deeper",
  build(context) {
    const { h, say } = context;
    const KINDS = ["mp4", "webp", "gif", "sheet", "html", "attention", "tensors", "csv", "json"];
    const QUANTITIES = ["x_t", "denoised", "noise_pred"];
    const pace = h("input", { type: "number", class: "ls-text ls-steps-field", min: 1, max: 30, value: 8, onchange: () => context.draw() });
    const boxes = QUANTITIES.map((name) => h("input", { type: "checkbox", value: name, checked: true, onchange: () => context.draw() }));
    const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
    const links = KINDS.map((kind) => ({ kind, link: h("a", { class: "ls-export", download: "", "data-kind": kind }, h("b", {}, say(`export.${kind}`)), h("small", {}, say(`export.${kind}.what`))) }));
    const element = h("section", { class: "ls-panel" },
      h("div", { class: "ls-panel-head" }, ...QUANTITIES.map((name, k) => h("label", { class: "ls-check" }, boxes[k], h("span", {}, say(`pane.${name}`)))), h("label", { class: "ls-inline" }, say("export.fps"), pace)),
      h("div", { class: "ls-exports" }, ...links.map(({ link }) => link)));
    return {
      element,
      available: (record) => !!record?.ended,
      draw() {
        const { record } = context;
        // At least one picture: unticking the last one ticks the predicted picture.
        if (!chosen().length) boxes[QUANTITIES.indexOf("denoised")].checked = true;
        const fps = Math.min(30, Math.max(1, Math.round(Number(pace.value)) || 8));
        for (const { kind, link } of links) {
          if (kind === "attention") link.hidden = !record.evaluations.some((entry) => entry.attention);
          const query = { kind, image: record.image };
          if (["mp4", "webp", "gif", "sheet"].includes(kind)) Object.assign(query, { fps, quantities: chosen().join(",") });
          link.href = `/export/${encodeURIComponent(record.job)}?${new URLSearchParams(query)}`;
        }
      },
    };
  },
});

/* The list of conversions on the tab Models: pickles that become safetensors files, their progress, and why one
   failed. */

import { h } from "../../static/elements.js";

export function conversions({ say, onView }) {
  const list = h("ul", { class: "ls-hub-downloads", "aria-label": say("conversions"), hidden: true });

  function line(conversion) {
    const isRunning = ["waiting", "running"].includes(conversion.state);
    const share = conversion.fraction || 0;
    const facts = [
      say(`conversion.${conversion.state === "running" ? (share ? "writing" : "reading") : conversion.state}`),
    ];
    const bar = h("div", {
      class: "ls-memory-track",
      role: "progressbar",
      "aria-valuenow": String(Math.round(100 * share)),
      "aria-label": conversion.name,
    });
    const filler = h("i", { class: "ls-memory-models" });
    filler.style.width = `${(100 * share).toFixed(1)}%`;
    bar.append(filler);
    const message = conversion.message ? h("span", { class: "ls-hub-message" }, conversion.message) : null;
    return h(
      "li",
      { class: "ls-hub-download ls-conversion", "data-state": conversion.state },
      h("div", {}, h("strong", {}, conversion.name), h("span", {}, facts.join(" · ")), isRunning ? bar : null, message),
    );
  }

  onView((view) => {
    const all = view.conversions || [];
    list.hidden = !all.length;
    list.replaceChildren(...all.slice(0, 6).map(line));
  });
  return list;
}

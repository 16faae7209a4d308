/* A link that makes a recorded run again: it opens the page with the run's settings in their fields. */

import { copyText, selectIn } from "../../static/copying.js";

/** {element, draw()} for the panel of files. */
export function runLink({ h, say }, recordOf) {
  const note = h("p", { class: "ls-note ls-run-link", role: "status" });
  const button = h("button", { class: "ls-button", type: "button", onclick: make }, say("export.link"));
  const element = h(
    "div",
    { class: "ls-run-share" },
    button,
    h("p", { class: "ls-note" }, say("export.link.what")),
    note,
  );
  let linkOf = null; // the run whose link is shown

  async function make() {
    const record = recordOf();
    linkOf = record;
    const address = `/presets/link/${encodeURIComponent(record.job)}?seed=${encodeURIComponent(record.run.seed)}`;
    const answer = await fetch(address).catch(() => null);
    if (linkOf !== record) return;
    if (!answer?.ok) {
      const refused = answer?.status === 400 ? await answer.text() : "";
      note.textContent = refused || say(answer?.status === 404 ? "gone" : "ask.failed");
      return;
    }
    const { query } = await answer.json();
    const link = `${location.origin}${location.pathname}?${query}`;
    const anchor = h("a", { href: link }, link);
    const sentences = [];
    if (record.run.branch) sentences.push(say("export.link.branch"));
    if (/[?&]settings=(image_to_image|inpaint)/.test(link)) sentences.push(say("export.link.picture"));
    const line = (sentence) => h("span", {}, sentence);
    note.replaceChildren(anchor, ...sentences.map(line));
    const why = await copyText(link, () => selectIn(anchor));
    if (linkOf === record) note.append(line(why || say("export.linked")));
  }
  return {
    element,
    draw() {
      if (linkOf && linkOf !== recordOf()) {
        linkOf = null;
        note.replaceChildren();
      }
    },
  };
}

/* "Add by link" on the tab Models: one file of an https address, or of a model's page on Civitai. Its progress is among
   the downloads. */

import { h } from "../../static/elements.js";

export function byLink({ say, trigger, watch, props, onView }) {
  const text = (key, type, name) =>
    h("input", {
      type,
      class: name,
      placeholder: say(`link.${key}`),
      "aria-label": say(`link.${key}`),
      autocomplete: "off",
      spellcheck: "false",
    });
  const link = text("address", "text", "ls-hub-repository");
  const sha256 = text("sha256", "text", "ls-hub-token");
  const add = h("button", { type: "submit", class: "ls-button" }, say("link.add"));
  const form = h("form", { class: "ls-hub-form" }, link, sha256, add);
  const fold = h(
    "details",
    { class: "ls-hub" },
    h("summary", {}, say("link.title")),
    h("p", { class: "ls-hub-what" }, say("link.what")),
    form,
  );
  let isAsking = false;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!link.value.trim() || isAsking) return;
    isAsking = true;
    add.setAttribute("aria-busy", "true");
    trigger("add_link", { link: link.value, sha256: sha256.value });
  });
  watch("value", () => {
    if (!isAsking) return;
    isAsking = false;
    add.removeAttribute("aria-busy");
    if (props.value?.problem) return;
    link.value = "";
    sha256.value = "";
  });
  onView((view) => {
    fold.hidden = !view.manages;
  });
  return fold;
}

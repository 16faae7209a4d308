/* What the library is searched by: words, model, rating, and behind a button LoRA, size and days. */

import { h } from "../../static/elements.js";

const PAUSE = 250; // ms after the last key of a search
const STARS = [1, 2, 3, 4, 5];

/** `count`: the element that says how many pictures there are. Returns the element, `values()` as parameters of the
    address, `isActive()`, and `draw(choices)` for what there is to choose from. */
export function filters({ say, count, onChange }) {
  const list = (key, anyKey, options = []) =>
    h(
      "select",
      { "aria-label": say(key), onchange: change },
      h("option", { value: "" }, say(anyKey)),
      ...options.map(([value, text]) => h("option", { value }, text)),
    );
  const day = (key) => h("input", { type: "date", onchange: change, "aria-label": say(key) });
  const search = h("input", { type: "search", "aria-label": say("search"), placeholder: say("search") });
  const fields = {
    q: search,
    model: list("model", "any_model"),
    rating: list(
      "rating",
      "any_rating",
      STARS.map((stars) => [stars, say(stars < 5 ? "stars_up" : "stars", { stars })]),
    ),
    lora: list("lora", "any_lora"),
    size: list("size", "any_size"),
    from: day("from"),
    to: day("to"),
  };
  const more = h(
    "button",
    { type: "button", class: "ls-button", "aria-expanded": "false", onclick: () => fold(rest.hidden) },
    say("more_filters"),
  );
  const days = (key) => h("label", {}, h("span", { "aria-hidden": "true" }, say(key)), fields[key]);
  const none = h("button", { type: "button", class: "ls-button", onclick: empty }, say("no_filters"));
  const rest = h(
    "div",
    { class: "ls-library-tools", hidden: true },
    fields.lora,
    fields.size,
    days("from"),
    days("to"),
  );
  rest.append(none);
  const first = h("div", { class: "ls-library-tools" }, search, fields.model, fields.rating, more, count);
  const element = h("div", { class: "ls-library-filters" }, first, rest);

  const values = () => Object.fromEntries(Object.entries(fields).map(([key, field]) => [key, field.value.trim()]));
  const isActive = () => Object.values(values()).some(Boolean);

  function fold(isOpen) {
    rest.hidden = !isOpen;
    more.setAttribute("aria-expanded", String(isOpen));
  }
  function change() {
    none.hidden = !isActive();
    onChange();
  }
  function empty() {
    for (const field of Object.values(fields)) field.value = "";
    change();
    search.focus();
  }
  function options(field, pairs) {
    const now = field.value;
    field.replaceChildren(
      field.options[0],
      ...pairs.map(([value, text]) => h("option", { value, selected: value === now }, text)),
    );
    field.hidden = !pairs.length;
  }

  let pause = null;
  search.addEventListener("input", () => (clearTimeout(pause), (pause = setTimeout(change, PAUSE))));
  none.hidden = true;

  return {
    element,
    values,
    isActive,
    draw({ models, loras, sizes }) {
      options(
        fields.model,
        models.map((name) => [name, name]),
      );
      options(
        fields.lora,
        loras.map((name) => [name, name]),
      );
      options(
        fields.size,
        sizes.map(([width, height]) => [`${width}x${height}`, `${width} × ${height}`]),
      );
    },
  };
}

/* "Merge checkpoints" on the tab Models: what is merged and how, and merges with their progress. */

import { h } from "../../static/elements.js";

export function merging({ say, trigger, onView }) {
  const METHODS = { weighted_sum: { count: 2, least: 0, most: 1 }, add_difference: { count: 3, least: -2, most: 2 } };
  const PRECISIONS = ["first", "fp16", "bf16", "fp32"];
  const option = (value, text) => h("option", { value }, text);
  /** An input below its name. A menu inside a label would have its choice in its name. */
  function field(key, input) {
    input.setAttribute("aria-label", say(`merge.${key}`));
    return h("label", { class: "ls-merge-field" }, h("span", {}, say(`merge.${key}`)), input);
  }

  const method = h("select", {}, ...Object.keys(METHODS).map((name) => option(name, say(`merge.method.${name}`))));
  const choices = ["a", "b", "c"].map(() => h("select", { required: true }));
  const fields = choices.map((select, k) => field("abc"[k], select));
  const weight = h("input", { type: "number", step: "any", value: "0.5", required: true });
  const precision = h("select", {}, ...PRECISIONS.map((name) => option(name, say(`merge.precision.${name}`))));
  const name = h("input", { type: "text", maxlength: "100", autocomplete: "off", spellcheck: "false" });
  const formula = h("p", { class: "ls-hub-what", "aria-live": "polite" });
  const few = h("p", { class: "ls-hub-what" }, say("merge.few"));
  const form = h(
    "form",
    { class: "ls-merge-form" },
    field("method", method),
    ...fields,
    field("weight", weight),
    field("precision", precision),
    field("name", name),
    h("button", { type: "submit", class: "ls-button" }, say("merge.start")),
  );
  const fold = h(
    "details",
    { class: "ls-hub" },
    h("summary", {}, say("merge.title")),
    h("p", { class: "ls-hub-what" }, say("merge.what")),
    few,
    formula,
    form,
  );
  const list = h("ul", { class: "ls-hub-downloads", "aria-label": say("merge.list") });
  const box = h("section", { class: "ls-hub-box", hidden: true }, fold, list);

  let isWeightTouched = false;
  weight.addEventListener("input", () => (isWeightTouched = true));

  /** What belongs to the method, its formula with what is chosen, and the name that the file gets without one. */
  function drawForm() {
    const { count, least, most } = METHODS[method.value];
    fields.forEach((one, k) => {
      one.hidden = k >= count;
      choices[k].disabled = k >= count;
    });
    if (!isWeightTouched) weight.value = method.value === "weighted_sum" ? "0.5" : "1";
    weight.min = String(least);
    weight.max = String(most);
    const [a, b, c] = choices.map((select) => select.selectedOptions[0]?.textContent || "");
    const w = Number(weight.value);
    const round = (number) => String(Number(number.toFixed(4)));
    const recipe =
      method.value === "weighted_sum" ? `${round(1 - w)}(${a}) + ${round(w)}(${b})` : `${a} + ${round(w)}(${b} - ${c})`;
    formula.textContent = a && b && (c || count === 2) && weight.value !== "" ? recipe : "";
    name.placeholder = formula.textContent;
  }
  form.addEventListener("input", drawForm);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    trigger("merge", {
      models: choices.slice(0, METHODS[method.value].count).map((select) => select.value),
      method: method.value,
      weight: Number(weight.value),
      precision: precision.value,
      name: name.value.trim(),
    });
  });

  let listed = "";
  function drawChoices(models) {
    const stamp = JSON.stringify(models.map((model) => [model.id, model.label]));
    if (stamp === listed) return; // a menu that is open stays
    listed = stamp;
    choices.forEach((select, k) => {
      const before = select.value;
      select.replaceChildren(...models.map((model) => option(model.id, model.name)));
      if (models.some((model) => model.id === before)) select.value = before;
      else if (models.length) select.selectedIndex = Math.min(k, models.length - 1);
    });
    const isEnough = models.length >= 2;
    few.hidden = isEnough;
    form.hidden = !isEnough;
    formula.hidden = !isEnough;
    drawForm();
  }

  function line(merge) {
    const isActive = ["waiting", "running"].includes(merge.state);
    const share = merge.fraction || 0;
    const state = merge.state === "running" && !share ? "reading" : merge.state;
    const bar = h("div", {
      class: "ls-memory-track",
      role: "progressbar",
      "aria-valuenow": String(Math.round(100 * share)),
      "aria-label": merge.name,
    });
    const done = h("i", { class: "ls-memory-models" });
    done.style.width = `${(100 * share).toFixed(1)}%`;
    bar.append(done);
    const facts = [say(`merge.state.${state}`), ...(merge.recipe === merge.name ? [] : [merge.recipe])];
    const about = h(
      "div",
      {},
      h("strong", {}, merge.name),
      h("span", {}, facts.join(" · ")),
      isActive ? bar : null,
      merge.message ? h("span", { class: "ls-hub-message" }, merge.message) : null,
    );
    const stop = h(
      "button",
      {
        type: "button",
        class: "ls-button",
        "aria-label": say("merge.stop.of", { name: merge.name }),
        onclick: () => trigger("stop_merge", { id: merge.id }),
      },
      say("merge.stop"),
    );
    return h("li", { class: "ls-hub-download ls-merge", "data-state": merge.state }, about, isActive ? stop : null);
  }

  onView((view) => {
    box.hidden = !view.manages;
    if (!view.manages) return;
    drawChoices((view.models || []).filter((model) => model.mergeable));
    const merges = view.merges || [];
    list.hidden = !merges.length;
    list.replaceChildren(...merges.slice(0, 6).map(line));
  });
  return box;
}

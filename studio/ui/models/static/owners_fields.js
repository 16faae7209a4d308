/* What an owner sets in a model's details: its prediction type, its shift, its VAE, a note. A guest reads the
   values. */

import { h } from "../../static/elements.js";

/** say(key) gives a text, view() the last answer, all() its models; trigger(event, data) tells Gradio of a change.
    Returns a function for each field, from a model to its element or its text. */
export function ownersFields({ say, view, all, trigger }) {
  function prediction(model) {
    const names = ["epsilon", "v_prediction", "sample", "flow_prediction"];
    if (!view().manages)
      return model.prediction_type ? say(`prediction.${model.prediction_type}`) : say("prediction.unknown");
    const fileChoice = model.prediction_corrected
      ? say("prediction.file")
      : say("prediction.as", { type: say(`prediction.${model.prediction_type || "unknown"}`) });
    const predictionChoice = model.prediction_corrected ? model.prediction_type : "";
    const options = [["", fileChoice], ...names.map((name) => [name, say(`prediction.${name}`)])];
    const select = h(
      "select",
      { "aria-label": say("fact.prediction") },
      ...options.map(([value, text]) => h("option", { value, selected: value === predictionChoice }, text)),
    );
    select.addEventListener("change", () => {
      select.blur();
      trigger("correct", { id: model.id, prediction_type: select.value });
    });
    return select;
  }

  /** The shift of a rectified flow's times: the owner's number, else the file's. */
  function shift(model) {
    if (!view().manages) return String(model.shift);
    const field = h("input", {
      type: "number",
      class: "ls-model-shift",
      min: 0,
      max: 100,
      step: "any",
      placeholder: model.shift_chosen ? "" : String(model.shift),
      title: say("shift.help"),
      "aria-label": say("fact.shift"),
    });
    field.value = model.shift_chosen ? String(model.shift) : "";
    field.addEventListener("change", () => {
      field.blur();
      const predictionType = model.prediction_corrected ? model.prediction_type : "";
      const value = field.value === "" ? null : Number(field.value);
      trigger("correct", { id: model.id, prediction_type: predictionType, shift: value });
    });
    return field;
  }

  /** The VAE that the model runs with: its own, a VAE file's or, if it has none, another checkpoint's. */
  function vae(model) {
    const ownVae = model.own_vae;
    const lenders = all().filter(
      (m) =>
        m.id !== model.id &&
        (m.lends_vae_to || []).includes(model.family) &&
        (m.kind === "vae" || !ownVae || m.id === model.vae),
    );
    const label = (m) => (m.kind === "vae" ? m.label : say("vae.from", { name: m.label }));
    const lender = lenders.find((m) => m.id === model.vae);
    if (!view().manages) return lender ? label(lender) : say(ownVae ? "vae.own" : "vae.none");
    if (!ownVae && !lenders.length) return say("vae.nowhere");
    const options = [["", say(ownVae ? "vae.own" : "vae.none")], ...lenders.map((m) => [m.id, label(m)])];
    const select = h(
      "select",
      { class: "ls-model-vae", "aria-label": say("fact.vae") },
      ...options.map(([value, text]) => h("option", { value, selected: value === (model.vae || "") }, text)),
    );
    select.addEventListener("change", () => {
      select.blur();
      trigger("lend", { id: model.id, vae: select.value });
    });
    return select;
  }

  function note(model) {
    if (!view().manages) return model.note ? h("p", { class: "ls-model-note" }, model.note) : "";
    const field = h("textarea", {
      rows: 2,
      maxlength: 2000,
      placeholder: say("note.empty"),
      "aria-label": say("note"),
    });
    field.value = model.note || "";
    field.addEventListener("change", () => trigger("note", { id: model.id, note: field.value }));
    return h("label", { class: "ls-model-note" }, h("span", {}, say("note")), field);
  }

  return { prediction, shift, vae, note };
}

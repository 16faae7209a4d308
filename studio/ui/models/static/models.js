/* The tab Models: a list of all models, a drawer with the details of one, and the memory bars. */

import { fill, h, icon, isVisible, listText } from "../../static/elements.js";
import { byLink } from "./by_link.js";
import { conversions } from "./conversions.js";
import { hub } from "./hub.js";
import { memoryBars } from "./memory.js";
import { merging } from "./merging.js";
import { ownersFields } from "./owners_fields.js";

export function models({ element, props, watch, trigger: send }) {
  const say = (key, values) => fill(props.words[key], values);
  const LOOK_MILLISECONDS = 1000; // while something is going on, or a person has just asked for something
  const IDLE_LOOKS = 5; // otherwise every fifth look
  const JUST_NOW_MILLISECONDS = 10_000;
  const ROWS = 200; // more are drawn on demand
  const MODEL_KINDS = ["checkpoint", "vae", "lora", "embedding", "preview_decoder", "controlnet", "safety_checker"];
  const GIB = 2 ** 30;
  const state = { search: "", kind: "", family: "", rows: ROWS, open: null };

  const bytes = (n) =>
    n >= GIB ? `${(n / GIB).toFixed(n >= 10 * GIB ? 0 : 1)} GB` : `${Math.max(1, Math.round(n / 2 ** 20))} MB`;
  let lastAnswer = {}; // the last answer of /models-found
  let etag = "";
  let isFetching = false;
  let lastOrderAt = 0;
  const trigger = (event, data) => {
    lastOrderAt = Date.now();
    send(event, data);
  };
  const view = () => lastAnswer;
  const all = () => view().models || [];

  /* ------------------------------------------------------------------------------------------------- frame */

  const memory = h("div", { class: "ls-memory" });
  const message = h("p", { class: "ls-models-message", role: "status", hidden: true });
  const search = h("input", {
    type: "search",
    class: "ls-models-search",
    placeholder: say("search"),
    "aria-label": say("search"),
  });
  const kinds = h("div", { class: "ls-models-kinds", role: "group", "aria-label": say("kinds") });
  const families = h("select", { class: "ls-models-family", "aria-label": say("families") });
  const again = h(
    "button",
    { type: "button", class: "ls-button", onclick: () => refresh() },
    icon("reuse"),
    say("refresh"),
  );
  const tools = h("div", { class: "ls-models-tools" }, search, kinds, families, again);
  const list = h("ul", { class: "ls-models-list", "aria-label": say("list") });
  const more = h(
    "button",
    { type: "button", class: "ls-button ls-models-more", onclick: () => ((state.rows += ROWS), draw()) },
    say("more"),
  );
  const none = h("div", { class: "ls-models-none" });
  const drawer = h("aside", { class: "ls-model-drawer", "aria-label": say("details"), hidden: true });
  const listeners = [];
  const conversionList = conversions({ say, onView: (listener) => listeners.push(listener) });
  const mergeSection = merging({ say, trigger, onView: (listener) => listeners.push(listener) });
  const linkSection = byLink({ say, trigger, watch, props, onView: (listener) => listeners.push(listener) });
  const hubSection = hub({ say, trigger, bytes, watch, props, onView: (listener) => listeners.push(listener) });
  element.replaceChildren(
    h(
      "div",
      { class: "ls-models" },
      memory,
      message,
      linkSection,
      hubSection,
      mergeSection,
      conversionList,
      tools,
      h("div", { class: "ls-models-body" }, h("div", { class: "ls-models-main" }, list, more, none), drawer),
    ),
  );
  search.addEventListener(
    "input",
    () => ((state.search = search.value.trim().toLowerCase()), (state.rows = ROWS), draw()),
  );
  families.addEventListener("change", () => ((state.family = families.value), (state.rows = ROWS), draw()));

  /* -------------------------------------------------------------------------------------------------- news */

  async function fetchList(refresh) {
    if (isFetching) return;
    isFetching = true;
    try {
      const headers = etag ? { "if-none-match": etag } : {};
      const answer = await fetch(`/models-found${refresh ? "?refresh=1" : ""}`, { headers, cache: "no-store" });
      if (answer.status === 200) {
        etag = answer.headers.get("etag") || "";
        lastAnswer = await answer.json();
        draw();
      }
    } catch {
      showMessage(say("lost"));
    } finally {
      isFetching = false;
    }
  }
  async function refresh() {
    again.setAttribute("aria-busy", "true");
    await fetchList(true);
    again.removeAttribute("aria-busy");
  }
  /** Asks for news while the tab is in sight, more often while something is going on. An unchanged answer is one
      short line. */
  const ask = () => !document.hidden && isVisible(element) && fetchList(false);
  const isActive = (each) => ["waiting", "running", "verifying"].includes(each.state);
  const hasActivity = () =>
    view().loading ||
    [...(view().downloads || []), ...(view().conversions || []), ...(view().merges || [])].some(isActive);
  let looks = 0;
  setInterval(() => {
    looks = hasActivity() || Date.now() - lastOrderAt < JUST_NOW_MILLISECONDS ? 0 : (looks + 1) % IDLE_LOOKS;
    if (looks === 0) ask();
  }, LOOK_MILLISECONDS);
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && ask()).observe(element);

  function showMessage(text) {
    message.textContent = text;
    message.hidden = !text;
  }

  /* -------------------------------------------------------------------------------------------------- parts */

  function drawKinds(counts) {
    const choices = ["", ...MODEL_KINDS.filter((kind) => counts[kind]), ...(counts.problem ? ["problem"] : [])];
    kinds.replaceChildren(
      ...choices.map((kind) => {
        const choose = () => ((state.kind = kind), (state.rows = ROWS), draw());
        const label = say(`kind.${kind || "all"}`);
        const count = kind ? counts[kind] : all().length;
        const attributes = {
          type: "button",
          class: "ls-pick",
          "aria-pressed": String(state.kind === kind),
          onclick: choose,
        };
        return h("button", attributes, `${label} `, h("b", {}, String(count)));
      }),
    );
  }

  function drawFamilies() {
    const familyNames = [
      ...new Set(
        all()
          .map((model) => model.family)
          .filter(Boolean),
      ),
    ].sort();
    const options = ["", ...familyNames].map((f) =>
      h("option", { value: f, selected: f === state.family }, f || say("family.all")),
    );
    families.replaceChildren(...options);
    families.hidden = familyNames.length < 2;
  }

  const badge = (text, css = "") => h("span", { class: `ls-model-badge ${css}` }, text);

  function tile(model) {
    const box = h("span", { class: "ls-model-tile", "data-family": model.family || "", "aria-hidden": "true" });
    if (model.has_picture) {
      const image = h("img", { src: `/model-picture/${model.id}`, alt: "", loading: "lazy" });
      image.addEventListener("error", () => image.remove());
      box.append(image);
    } else {
      box.append((model.family || say(`short.${model.kind || "unknown"}`)).replace("Stable Diffusion", "SD"));
    }
    return box;
  }

  function place(model) {
    const loading = view().loading;
    if (loading && loading.name === model.name && model.kind === "checkpoint") {
      const share = typeof loading.fraction === "number" ? ` ${Math.round(100 * loading.fraction)} %` : "";
      return badge(say("place.loading") + share, "ls-model-badge-busy");
    }
    if (model.state !== "usable") return badge(say(`state.${model.state}`), `ls-model-badge-${model.state}`);
    return model.place === "disk" ? null : badge(say(`place.${model.place}`), "ls-model-badge-loaded");
  }

  /** A button in a model's line: it acts, and does not open the line. */
  function lineButton(model, label, go) {
    const onPress = (click) => {
      click.stopPropagation();
      go();
    };
    return h(
      "button",
      { type: "button", class: "ls-button", "aria-label": say(`${label}.of`, { name: model.label }), onclick: onPress },
      say(label),
    );
  }

  function action(model) {
    if (!view().manages) return null;
    const isConverting = (view().conversions || []).some((c) => c.id === model.id && isActive(c));
    if (model.convertible)
      return isConverting ? null : lineButton(model, "convert", () => trigger("convert", { id: model.id }));
    if (model.place === "device") return lineButton(model, "unload", () => trigger("release", { id: model.id }));
    if (model.kind !== "checkpoint") return null;
    if (model.state === "incomplete" && state.open !== model.id) {
      return lineButton(model, "vae.choose", () => {
        state.open = model.id;
        draw();
        drawer.querySelector(".ls-model-vae")?.focus();
      });
    }
    if (model.state !== "usable") return null;
    return lineButton(model, "load", () => trigger("bring", { id: model.id }));
  }

  function row(model) {
    const open = () => {
      state.open = state.open === model.id ? null : model.id;
      draw();
      if (state.open) drawer.querySelector("button")?.focus();
    };
    const facts = [model.family, model.precision, model.size_bytes ? bytes(model.size_bytes) : "", model.where].filter(
      Boolean,
    );
    const name = h(
      "button",
      { type: "button", class: "ls-model-name", "aria-expanded": String(state.open === model.id), onclick: open },
      model.label,
    );
    const line = h("span", { class: "ls-model-facts" }, facts.join(" · "));
    const why = model.reason ? h("span", { class: "ls-model-why" }, model.reason) : null;
    const about = h("div", { class: "ls-model-about" }, name, line, why);
    const end = h("div", { class: "ls-model-end" }, place(model), action(model));
    return h(
      "li",
      { class: "ls-model", "data-id": model.id, "data-state": model.state, "data-open": state.open === model.id },
      tile(model),
      about,
      end,
    );
  }

  /* ------------------------------------------------------------------------------------------------ details */

  const runnable = (model) => model.kind === "checkpoint" && ["usable", "incomplete"].includes(model.state);
  const { prediction, shift, vae, note } = ownersFields({ say, view, all, trigger });

  function pair(term, ...value) {
    return [h("dt", {}, term), h("dd", {}, ...value)];
  }

  function drawDrawer() {
    const model = all().find((m) => m.id === state.open);
    drawer.hidden = !model;
    if (!model) {
      drawer.replaceChildren();
      return;
    }
    if (drawer.contains(document.activeElement) && document.activeElement.matches("textarea, select, input")) return;
    const close = h(
      "button",
      { type: "button", class: "ls-round", "aria-label": say("close"), onclick: () => ((state.open = null), draw()) },
      "×",
    );
    const picture = model.has_picture
      ? h("img", {
          class: "ls-model-picture",
          src: `/model-picture/${model.id}`,
          alt: say("picture", { name: model.label }),
        })
      : null;
    const size = model.native_width ? `${model.native_width} × ${model.native_height}` : "";
    const hash = model.sha256 ? h("code", { title: model.sha256 }, model.sha256.slice(0, 10)) : say("hash.later");
    const facts = [
      ...(model.kind ? pair(say("fact.kind"), say(`one.${model.kind}`)) : []),
      ...(model.family ? pair(say("fact.family"), model.family) : []),
      ...(model.form ? pair(say("fact.form"), listText([model.form, model.precision].filter(Boolean))) : []),
      ...(model.computed_in ? pair(say("fact.computed_in"), model.computed_in) : []),
      ...(model.parts ? pair(say("fact.parts"), listText(model.parts)) : []),
      ...(size ? pair(say("fact.native"), size) : []),
      ...pair(say("fact.size"), model.size_bytes ? bytes(model.size_bytes) : "0 MB"),
      ...pair(say("fact.hash"), hash),
      ...(model.where ? pair(say("fact.where"), model.where) : []), // a guest is not told
      ...(model.origin ? pair(say("fact.origin"), model.origin) : []),
      ...(model.kind === "checkpoint" && model.state !== "refused"
        ? pair(say("fact.prediction"), prediction(model))
        : []),
      ...(model.shift ? pair(say("fact.shift"), shift(model)) : []),
      ...(runnable(model) && !model.built_in ? pair(say("fact.vae"), vae(model)) : []),
    ];
    const metadata = (model.metadata || []).flatMap(([term, value]) => pair(term, value));
    drawer.replaceChildren(
      h("header", {}, h("h2", {}, model.label), close),
      picture || "",
      model.reason ? h("p", { class: "ls-model-why" }, model.reason) : "",
      h("div", { class: "ls-model-actions" }, place(model), action(model)),
      h("dl", {}, ...facts),
      note(model),
      metadata.length ? h("details", {}, h("summary", {}, say("metadata")), h("dl", {}, ...metadata)) : "",
    );
  }

  /* --------------------------------------------------------------------------------------------------- draw */

  function fits(model) {
    if (state.kind === "problem" ? model.state === "usable" : state.kind && model.kind !== state.kind) return false;
    if (state.family && model.family !== state.family) return false;
    const text = [model.label, model.name, model.where, model.family, model.note, model.reason].join(" ").toLowerCase();
    return state.search.split(/\s+/).every((word) => text.includes(word));
  }

  function draw() {
    const counts = {};
    for (const model of all()) {
      const keys = [model.kind, model.state === "usable" ? null : "problem"].filter(Boolean);
      for (const key of keys) counts[key] = (counts[key] || 0) + 1;
    }
    const ready = Array.isArray(view().models);
    memory.hidden = !view().manages; // a guest is not told how much there is
    memory.replaceChildren(...memoryBars(view().memory || {}, { say, bytes }));
    drawKinds(counts);
    drawFamilies();
    const matches = all().filter(fits);
    list.replaceChildren(...matches.slice(0, state.rows).map(row));
    more.hidden = matches.length <= state.rows;
    none.hidden = matches.length > 0;
    none.textContent = !ready ? say("reading") : all().length ? say("none.fits") : say("none");
    drawDrawer();
    showMessage(view().message || props.value?.problem || "");
    for (const each of listeners) each(view());
  }
  watch("value", () => {
    showMessage(props.value?.problem || "");
    fetchList(false);
  });
  draw();
}

/* The section Control: ControlNets with a picture each. Absent while the chosen checkpoint has none. Its pictures are
   uploaded here, once each; the value that Generate sends says where they lie. */

import { fill, h } from "../../static/elements.js";
import { paintMap } from "./paint_map.js";

export function control({ element, props, watch }) {
  const word = (key, values) => fill(props.words[key], values);
  const list = h("div", { class: "ls-control-list" });
  const add = h("button", { class: "ls-button", type: "button", onclick: () => more() }, word("add"));
  const fold = h(
    "details",
    { class: "ls-control" },
    h("summary", {}, h("i", { "aria-hidden": "true" }), word("label")),
    h("p", { class: "ls-control-help" }, word("help")),
    list,
    add,
  );
  let models = [];
  let palettes = {}; // by model: the colours of its maps, where they can be painted
  let native = [512, 512];
  let units = []; // {element, model, path or png, preprocessor, scale, start, end}

  /** What the server says: which ControlNets there are. */
  function offered() {
    const now = props.value?.models || [];
    if (now.join("\n") === models.join("\n") && props.value && props.value.units) return;
    models = now;
    ({ palettes = {}, size: native = native } = props.value || {});
    for (const unit of units) unit.offer();
    if (models.length && !fold.isConnected) element.replaceChildren(fold);
    if (!models.length) element.replaceChildren();
    tell();
  }
  function tell() {
    const keep = ({ model, path, png, preprocessor, scale, start, end }) => ({
      model,
      path,
      png,
      preprocessor,
      scale,
      start,
      end,
    });
    props.value = { models, palettes, size: native, units: units.map(keep) };
    add.hidden = units.length >= props.most;
    units.forEach((unit, k) => (unit.title.textContent = word("one", { number: k + 1 })));
  }
  function more() {
    const unit = drawUnit();
    units.push(unit);
    list.append(unit.element);
    tell();
    if (palettes[unit.model]) unit.paint();
    else unit.file.focus();
  }

  function drawUnit() {
    const unit = {
      model: models[0],
      path: "",
      png: "",
      preprocessor: Object.keys(props.preprocessors)[0],
      scale: 1,
      start: 0,
      end: 1,
    };
    let blob = null;
    let turn = 0;
    unit.title = h("strong", {});
    const remove = h(
      "button",
      { class: "ls-pick", type: "button", title: word("remove"), "aria-label": word("remove"), onclick: gone },
      "×",
    );
    const model = h("select", {
      "aria-label": word("model"),
      onchange: () => ((unit.model = model.value), suit(), tell()),
    });
    const preprocessor = h(
      "select",
      {
        "aria-label": word("preprocessor"),
        onchange: () => ((unit.preprocessor = preprocessor.value), tell(), look()),
      },
      ...Object.entries(props.preprocessors).map(([name, label]) => h("option", { value: name }, label)),
    );
    unit.file = h("input", {
      type: "file",
      accept: "image/png,image/jpeg,image/webp,image/gif",
      class: "ls-file",
      "aria-label": word("picture"),
      onchange: () => unit.file.files[0] && choose(unit.file.files[0]),
    });
    const name = h("span", {}, word("picture"));
    const map = h("img", { class: "ls-control-map", alt: word("map"), hidden: true });
    const note = h("p", { class: "ls-control-note", role: "status" });
    const drop = h("label", { class: "ls-control-picture" }, map, name, unit.file);
    unit.offer = () => {
      if (!models.includes(unit.model)) unit.model = models[0];
      model.replaceChildren(...models.map((one) => h("option", { value: one, selected: one === unit.model }, one)));
      suit();
    };
    const painter = paintMap({
      tab: props.tab,
      word,
      onPaint: (png) => ((unit.png = png), (unit.element.dataset.painted = String(!!png)), tell()),
    });
    const paint = h(
      "button",
      {
        class: "ls-button ls-control-paint",
        type: "button",
        "aria-expanded": "false",
        onclick: () => (painter.element.hidden ? open() : shut()),
      },
      word("paint"),
    );
    const preprocessorField = h(
      "label",
      { class: "ls-control-made" },
      h("span", {}, word("preprocessor")),
      preprocessor,
    );

    /** A model with colours of its own is given maps in these colours, painted or not; any other edges or strokes too. */
    function suit() {
      const hasPalette = !!palettes[unit.model];
      paint.hidden = !hasPalette;
      preprocessorField.hidden = hasPalette;
      if (!hasPalette) shut();
      else if (unit.preprocessor !== "none") preprocessor.value = unit.preprocessor = "none";
    }
    function open() {
      const field = (name) => Number(document.querySelector(`#${props.tab}-${name} input`)?.value) || 0;
      painter.open(palettes[unit.model], [field("width") || native[0], field("height") || native[1]], blob);
      forget();
      drop.hidden = true;
      paint.setAttribute("aria-expanded", "true");
      paint.textContent = word("paint.instead");
    }
    unit.paint = open;
    function shut() {
      if (painter.element.hidden) return;
      painter.close();
      unit.png = "";
      drop.hidden = false;
      paint.setAttribute("aria-expanded", "false");
      paint.textContent = word("paint");
      tell();
    }
    function forget() {
      turn++;
      unit.path = "";
      blob = null;
      map.hidden = true;
      name.hidden = false;
      note.textContent = "";
    }

    /** A slider with its number, within the one table's range. */
    function number(key) {
      const [low, high] = props.ranges[key];
      const output = h("output", {}, unit[key].toFixed(2));
      const slider = h("input", {
        type: "range",
        min: low,
        max: high,
        step: 0.05,
        value: unit[key],
        "aria-label": word(key),
      });
      slider.addEventListener("input", () => {
        unit[key] = Number(slider.value);
        output.textContent = unit[key].toFixed(2);
        tell();
      });
      return h(
        "label",
        { class: "ls-control-number", title: word(key === "scale" ? "scale.help" : "span.help") },
        h("span", {}, word(key)),
        slider,
        output,
      );
    }
    unit.element = h(
      "fieldset",
      { class: "ls-control-unit" },
      h("div", { class: "ls-control-head" }, unit.title, remove),
      model,
      drop,
      paint,
      painter.element,
      preprocessorField,
      note,
      number("scale"),
      number("start"),
      number("end"),
    );

    function gone() {
      turn++;
      URL.revokeObjectURL(map.src);
      units = units.filter((other) => other !== unit);
      unit.element.remove();
      tell();
      (add.hidden ? fold : add).focus();
    }
    async function choose(picture) {
      unit.file.value = "";
      forget();
      shut();
      const mine = turn;
      tell();
      try {
        const form = new FormData();
        form.append("files", picture, picture.name || "picture");
        const answer = await fetch("/gradio_api/upload", { method: "POST", body: form });
        if (!answer.ok) throw new Error(answer.statusText);
        const [path] = await answer.json();
        if (mine !== turn) return;
        unit.path = path;
        blob = picture;
        tell();
        look();
      } catch {
        if (mine === turn) note.textContent = word("failed");
      }
    }
    /** What the ControlNet will be given of the picture. */
    async function look() {
      if (!blob) return;
      const mine = ++turn;
      const answer = await fetch(`/ask/control-map?preprocessor=${unit.preprocessor}`, {
        method: "POST",
        body: blob,
      }).catch(() => null);
      if (mine !== turn) return;
      const good = answer?.ok;
      note.textContent = good ? "" : answer && answer.status === 400 ? word("unreadable") : word("failed");
      if (good) {
        const mapBlob = await answer.blob();
        if (mine !== turn) return;
        URL.revokeObjectURL(map.src);
        map.src = URL.createObjectURL(mapBlob);
      }
      map.hidden = !good;
      name.hidden = good;
      unit.element.dataset.map = good ? unit.preprocessor : "";
    }
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      const file = [...event.dataTransfer.files].find((one) => one.type.startsWith("image/"));
      event.preventDefault();
      event.stopPropagation(); // the desk would take it for the picture to start from
      if (file) choose(file);
    });
    unit.offer();
    return unit;
  }

  fold.addEventListener("toggle", () => fold.open && !units.length && more());
  watch("value", offered);
  offered();
}

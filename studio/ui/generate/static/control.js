/* The section Control: ControlNets with a picture each. It is absent while the chosen checkpoint has none. Pictures
   are uploaded here once; the value that Generate sends holds their paths. */

import { fill, h } from "../../static/elements.js";
import { paintMap } from "./paint_map.js";

export function control({ element, props, watch }) {
  const word = (key, values) => fill(props.words[key], values);
  const list = h("div", { class: "ls-control-list" });
  const add = h("button", { class: "ls-button", type: "button", onclick: () => addUnit() }, word("add"));
  const fold = h(
    "details",
    { class: "ls-control" },
    h("summary", {}, h("i", { class: "ls-chevron", "aria-hidden": "true" }), word("label")),
    h("p", { class: "ls-help" }, word("help")),
    list,
    add,
  );
  let models = [];
  let palettes = {}; // by model: the colours of its maps, for models whose maps can be painted
  let nativeSize = [512, 512];
  let units = []; // {element, model, path or png, preprocessor, scale, start, end}

  /** Takes the ControlNets that the server names. */
  function update() {
    const now = props.value?.models || [];
    element.dataset.size = (props.value?.size || nativeSize).join("x"); // for the live canvas, as the next
    element.dataset.paintable = String(Object.keys(props.value?.palettes || {}).length > 0);
    if (now.join("\n") === models.join("\n") && props.value && props.value.units) return;
    models = now;
    ({ palettes = {}, size: nativeSize = nativeSize } = props.value || {});
    for (const unit of units) unit.offer();
    if (models.length && !fold.isConnected) element.replaceChildren(fold);
    if (!models.length) element.replaceChildren();
    sendUnits();
  }
  function sendUnits() {
    const plainUnit = ({ model, path, png, preprocessor, scale, start, end }) => ({
      model,
      path,
      png,
      preprocessor,
      scale,
      start,
      end,
    });
    props.value = { models, palettes, size: nativeSize, units: units.map(plainUnit) };
    add.hidden = units.length >= props.most;
    units.forEach((unit, k) => (unit.title.textContent = word("one", { number: k + 1 })));
  }
  function addUnit() {
    const unit = drawUnit();
    units.push(unit);
    list.append(unit.element);
    sendUnits();
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
    let callCount = 0;
    unit.title = h("strong", {});
    const remove = h(
      "button",
      { class: "ls-pick", type: "button", title: word("remove"), "aria-label": word("remove"), onclick: removeUnit },
      "×",
    );
    const model = h("select", {
      "aria-label": word("model"),
      onchange: () => ((unit.model = model.value), adaptToModel(), sendUnits()),
    });
    const preprocessor = h(
      "select",
      {
        "aria-label": word("preprocessor"),
        onchange: () => ((unit.preprocessor = preprocessor.value), sendUnits(), look()),
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
    const note = h("p", { class: "ls-help ls-control-note", role: "status" });
    const drop = h("label", { class: "ls-control-picture" }, map, name, unit.file);
    unit.offer = () => {
      if (!models.includes(unit.model)) unit.model = models[0];
      model.replaceChildren(...models.map((one) => h("option", { value: one, selected: one === unit.model }, one)));
      adaptToModel();
    };
    const painter = paintMap({
      word,
      prompt: () => document.querySelector(`#${props.tab}-prompt textarea`)?.value ?? "",
      onPaint: (png) => {
        const isChanged = png !== unit.png;
        unit.png = png;
        unit.element.dataset.painted = String(!!png);
        sendUnits();
        if (isChanged) document.getElementById(`${props.tab}-workspace`)?.dispatchEvent(new CustomEvent("ls-painted"));
      },
    });
    const paint = h(
      "button",
      {
        class: "ls-button ls-control-paint",
        type: "button",
        "aria-expanded": "false",
        onclick: () => (painter.element.hidden ? open() : closePainter()),
      },
      word("paint"),
    );
    const preprocessorField = h(
      "label",
      { class: "ls-control-preprocessor" },
      h("span", {}, word("preprocessor")),
      preprocessor,
    );

    /** A model with its own colours takes maps in these colours, painted or uploaded. Every other model takes edges
        or strokes too. */
    function adaptToModel() {
      const hasPalette = !!palettes[unit.model];
      paint.hidden = !hasPalette;
      preprocessorField.hidden = hasPalette;
      if (!hasPalette) closePainter();
      else if (unit.preprocessor !== "none") preprocessor.value = unit.preprocessor = "none";
    }
    function open() {
      const field = (name) => Number(document.querySelector(`#${props.tab}-${name} input`)?.value) || 0;
      painter.open(palettes[unit.model], [field("width") || nativeSize[0], field("height") || nativeSize[1]], blob);
      forget();
      drop.hidden = true;
      paint.setAttribute("aria-expanded", "true");
      paint.textContent = word("paint.instead");
    }
    unit.paint = open;
    function closePainter() {
      if (painter.element.hidden) return;
      painter.close();
      unit.png = "";
      drop.hidden = false;
      paint.setAttribute("aria-expanded", "false");
      paint.textContent = word("paint");
      sendUnits();
    }
    function forget() {
      callCount++;
      unit.path = "";
      blob = null;
      map.hidden = true;
      name.hidden = false;
      note.textContent = "";
    }

    /** A slider with its number, within the range of the field table. */
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
        sendUnits();
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

    function removeUnit() {
      callCount++;
      URL.revokeObjectURL(map.src);
      units = units.filter((other) => other !== unit);
      unit.element.remove();
      sendUnits();
      (add.hidden ? fold : add).focus();
    }
    async function choose(picture) {
      unit.file.value = "";
      forget();
      closePainter();
      const ownTurn = callCount;
      sendUnits();
      try {
        const form = new FormData();
        form.append("files", picture, picture.name || "picture");
        const answer = await fetch("/gradio_api/upload", { method: "POST", body: form });
        if (!answer.ok) throw new Error(answer.statusText);
        const [path] = await answer.json();
        if (ownTurn !== callCount) return;
        unit.path = path;
        blob = picture;
        sendUnits();
        look();
      } catch {
        if (ownTurn === callCount) note.textContent = word("failed");
      }
    }
    /** Shows the map that the ControlNet will get from the picture. */
    async function look() {
      if (!blob) return;
      const ownTurn = ++callCount;
      const answer = await fetch(`/ask/control-map?preprocessor=${unit.preprocessor}`, {
        method: "POST",
        body: blob,
      }).catch(() => null);
      if (ownTurn !== callCount) return;
      const isDrawn = answer?.ok;
      note.textContent = isDrawn ? "" : answer && answer.status === 400 ? word("unreadable") : word("failed");
      if (isDrawn) {
        const mapBlob = await answer.blob();
        if (ownTurn !== callCount) return;
        URL.revokeObjectURL(map.src);
        map.src = URL.createObjectURL(mapBlob);
      }
      map.hidden = !isDrawn;
      name.hidden = isDrawn;
      unit.element.dataset.map = isDrawn ? unit.preprocessor : "";
    }
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      const file = [...event.dataTransfer.files].find((one) => one.type.startsWith("image/"));
      event.preventDefault();
      event.stopPropagation(); // else the workspace takes it as the picture to start from
      if (file) choose(file);
    });
    unit.offer();
    return unit;
  }

  fold.addEventListener("toggle", () => fold.open && !units.length && addUnit());
  watch("value", update);
  update();
}

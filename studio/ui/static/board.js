/* What the owner decides for guests, as folds of the panel for sharing: which models, which words. A decision counts
   at once. Each fold says in its line what holds now. */

import { fill, h } from "./elements.js";

const MANY = 12; // models; where there are more, a field searches them
const KINDS = ["checkpoint", "vae", "lora", "embedding", "controlnet"];

let folds = 0; // a count for ids

/** A fold with its title, a place at the end of the line for what holds now, its body and a line for a problem. */
function fold(title) {
  const now = h("span", { class: "ls-board-now" });
  const problem = h("p", { role: "alert" });
  const body = h("div", { class: "ls-board-body" });
  const element = h("details", { class: "ls-board-fold" }, h("summary", {}, h("span", {}, title), now), body, problem);
  return { element, now, problem, body };
}

/** The folds as an element, and what draws them anew. `ask(decisions)` sends decisions and answers with all of them;
    without an argument it only asks. */
export function board(words, ask, openWall) {
  const element = h("div", { class: "ls-board" });
  const parts = [
    models(words),
    refusedWords(words),
    lesson(words),
    wallSwitch(words, openWall),
    checker(words),
    wildcards(words),
    pictures(words, ask),
  ];

  async function decide(part, decisions) {
    try {
      part.problem.textContent = "";
      draw(await ask(decisions), part);
    } catch (failure) {
      part.problem.textContent = failure.message || words.unreachable;
    }
  }
  function draw(view, but) {
    for (const part of parts) {
      part.now.textContent = part.summary(view);
      if (part !== but || part.redraws) part.draw(view, (decisions) => decide(part, decisions));
    }
  }
  element.append(h("h3", {}, words["board.title"]), ...parts.map((part) => part.element));
  const refresh = () =>
    ask().then(
      (view) => draw(view),
      () => element.append(h("p", { role: "alert" }, words.unreachable)),
    );
  refresh();
  return { element, refresh };
}

/** Values that guests cannot change, and prompts that they begin with. */
function lesson(words) {
  const part = fold(words["board.lesson"]);
  part.summary = ({ locked, examples }) => {
    const count = Object.keys(locked).length;
    return count || examples.length
      ? fill(words["board.lesson.now"], { locked: count, examples: examples.length })
      : words["board.words.no"];
  };
  part.redraws = true;
  part.draw = (view, decide) => {
    const rows = h("div", { class: "ls-board-body ls-board-locks" });
    const values = new Map(Object.entries(view.locked));
    const byName = Object.fromEntries(view.lockable.map((one) => [one.field, one]));
    const status = h("small", { role: "status" }, part.saved ? words["board.saved"] : "");
    part.saved = false;

    /** A field for a value, as the page has it. */
    function input({ field, label, kind, choices, low, high, step }) {
      const value = values.get(field) ?? "";
      const names =
        kind === "checkpoint"
          ? view.choices.filter((one) => one.kind === kind).map((one) => [one.name, one.name])
          : choices;
      const element = names.length
        ? h("select", {}, ...names.map(([name, text]) => h("option", { value: name, selected: name === value }, text)))
        : h("input", kind === "number" ? { type: "number", min: low, max: high, step } : { type: "text" });
      element.setAttribute("aria-label", label);
      if (!names.length) element.value = value;
      const keep = () => {
        const whole = kind === "number" || kind === "seed";
        values.set(field, whole && element.value !== "" ? Number(element.value) : element.value);
        status.textContent = "";
      };
      element.addEventListener("input", keep);
      keep();
      return element;
    }
    function draw(focusField) {
      const free = view.lockable.filter(({ field }) => !values.has(field));
      const add = h(
        "select",
        { "aria-label": words["board.lesson.add"] },
        h("option", { value: "" }, words["board.lesson.add"]),
        ...free.map(({ field, label }) => h("option", { value: field }, label)),
      );
      add.addEventListener("change", () => {
        values.set(add.value, "");
        draw(add.value);
      });
      rows.replaceChildren(
        ...[...values.keys()].map((field) => {
          const element = input(byName[field]);
          const remove = () => {
            values.delete(field);
            draw("");
          };
          const unlock = h("button", { type: "button", onclick: remove }, words["board.lesson.unlock"]);
          unlock.setAttribute("aria-label", fill(words["board.lesson.unlock.of"], { name: byName[field].label }));
          const row = h("div", { class: "ls-board-lock" }, h("span", {}, byName[field].label), element, unlock);
          if (field === focusField) setTimeout(() => element.focus());
          return row;
        }),
        free.length ? add : null,
      );
      if (focusField === "") add.focus();
    }
    draw();
    const prompts = h("textarea", { rows: 4, "aria-label": words["board.lesson.examples"] });
    prompts.value = view.examples.join("\n");
    prompts.addEventListener("input", () => {
      status.textContent = "";
    });
    const save = h("button", { type: "button" }, words["board.save"]);
    save.addEventListener("click", () => {
      part.saved = true;
      decide({ locked: Object.fromEntries(values), examples: prompts.value.split("\n") });
    });
    part.body.replaceChildren(
      h("p", {}, words["board.lesson.what"]),
      rows,
      h("strong", {}, words["board.lesson.examples"]),
      h("p", {}, words["board.lesson.examples.what"]),
      prompts,
      h("div", { class: "ls-sharing-row" }, save, status),
    );
  };
  return part;
}

/** Whether guests' new pictures are for all guests, or for each alone. */
function wallSwitch(words, openWall) {
  const part = fold(words["board.wall"]);
  part.summary = (view) => words[view.wall ? "board.wall.on" : "board.wall.off"];
  part.redraws = true;
  part.draw = (view, decide) => {
    const box = h("input", { type: "checkbox" });
    box.checked = view.wall;
    box.addEventListener("change", () => decide({ wall: box.checked }));
    part.body.replaceChildren(
      h("p", {}, words["board.wall.what"]),
      h("label", { class: "ls-board-choice" }, box, h("span", {}, words["board.wall.share"])),
      h(
        "div",
        { class: "ls-sharing-row" },
        h("button", { type: "button", onclick: openWall }, words["board.wall.open"]),
      ),
    );
    if (part.touched) box.focus();
    part.touched = true;
  };
  return part;
}

/** Whether guests' pictures are looked at by the safety checker. */
function checker(words) {
  const part = fold(words["board.checker"]);
  part.summary = (view) => words[view.safety_checker ? "board.checker.on" : "board.checker.off"];
  part.redraws = true;
  part.draw = (view, decide) => {
    const box = h("input", { type: "checkbox", disabled: !view.has_safety_checker && !view.safety_checker });
    box.checked = view.safety_checker;
    box.addEventListener("change", () => decide({ safety_checker: box.checked }));
    part.body.replaceChildren(
      h("p", {}, words["board.checker.what"]),
      h("label", { class: "ls-board-choice" }, box, h("span", {}, words["board.checker.use"])),
    );
    if (!view.has_safety_checker)
      part.body.append(h("p", { class: "ls-board-warning" }, words["board.checker.absent"]));
    if (part.touched) box.focus();
    part.touched = true;
  };
  return part;
}

/** Whether guests' prompts may ask for lines of the owner's wildcard files. */
function wildcards(words) {
  const part = fold(words["board.wildcards"]);
  part.summary = (view) => words[view.wildcards ? "board.wildcards.on" : "board.wildcards.off"];
  part.redraws = true;
  part.draw = (view, decide) => {
    const box = h("input", { type: "checkbox" });
    box.checked = view.wildcards;
    box.addEventListener("change", () => decide({ wildcards: box.checked }));
    part.body.replaceChildren(
      h("p", {}, words["board.wildcards.what"]),
      h("label", { class: "ls-board-choice" }, box, h("span", {}, words["board.wildcards.use"])),
    );
    if (part.touched) box.focus();
    part.touched = true;
  };
  return part;
}

/** What guests have made: all in one ZIP, or deleted. */
function pictures(words, ask) {
  const part = fold(words["board.pictures"]);
  const now = (view) => {
    part.now.textContent = part.summary(view);
    part.draw(view);
  };
  part.summary = ({ pictures: count }) => String(count);
  part.element.addEventListener("toggle", () => part.element.open && ask().then(now, () => {}));
  part.draw = ({ pictures: count, cleared }) => {
    const status = h(
      "small",
      { role: "status" },
      cleared ? fill(words["board.pictures.cleared"], { count: cleared }) : "",
    );
    if (!count) {
      part.body.replaceChildren(h("p", {}, words["board.pictures.none"]), status);
      return;
    }
    const all = h("a", { class: "ls-sharing-plain", href: "/share/pictures.zip", download: "" }, words["board.zip"]);
    const clear = h("button", { type: "button" }, words["board.clear"]);
    const keep = h("button", { type: "button" }, words["board.clear.keep"]);
    const sure = h(
      "button",
      { type: "button", class: "ls-sharing-danger" },
      fill(words["board.clear.sure"], { count }),
    );
    const question = h(
      "div",
      { class: "ls-board-question", role: "group", "aria-label": words["board.clear"] },
      h("p", {}, fill(words["board.clear.what"], { count })),
      h("div", { class: "ls-sharing-row" }, keep, sure),
    );
    question.hidden = true;
    clear.addEventListener("click", () => {
      question.hidden = false;
      keep.focus();
    });
    keep.addEventListener("click", () => {
      question.hidden = true;
      clear.focus();
    });
    sure.addEventListener("click", () =>
      ask(null, "/share/clear").then(now, (failure) => {
        part.problem.textContent = failure.message || words.unreachable;
      }),
    );
    part.body.replaceChildren(h("div", { class: "ls-sharing-row" }, all, clear), question, status);
  };
  return part;
}

/** Which checkpoints, LoRAs, embeddings and ControlNets guests may use. */
function models(words) {
  const part = fold(words["board.models"]);
  part.summary = ({ models: modelIds, choices }) => {
    const count = choices.filter((one) => modelIds?.includes(one.id)).length;
    return modelIds === null
      ? words["board.models.all"]
      : fill(words["board.models.some"], { count, all: choices.length });
  };
  part.draw = (view, decide) => {
    const name = `ls-board-models-${folds++}`;
    const modelIds = new Set(view.models ?? view.choices.map((one) => one.id));
    const rows = view.choices.map((one) => {
      const box = h("input", { type: "checkbox", value: one.id });
      box.checked = modelIds.has(one.id);
      box.addEventListener("change", () => {
        if (box.checked) modelIds.add(one.id);
        else modelIds.delete(one.id);
        send();
      });
      const family = one.family ? h("small", {}, one.family) : null;
      return { ...one, element: h("label", { class: "ls-board-choice" }, box, h("span", {}, one.name), family) };
    });
    let later;
    const send = () => {
      clearTimeout(later); // several ticks in a row are one decision
      none.hidden = rows.some((row) => row.kind === "checkpoint" && modelIds.has(row.id));
      later = setTimeout(
        () => decide({ models: rows.filter((row) => modelIds.has(row.id)).map((row) => row.id) }),
        250,
      );
    };
    const groups = KINDS.map((kind) => rows.filter((row) => row.kind === kind))
      .filter((of) => of.length)
      .map((of) =>
        h("fieldset", {}, h("legend", {}, words[`board.kind.${of[0].kind}`]), ...of.map((row) => row.element)),
      );
    const search = h("input", {
      type: "search",
      placeholder: words["board.search"],
      "aria-label": words["board.search"],
      oninput: () => {
        const text = search.value.trim().toLowerCase();
        for (const row of rows) row.element.hidden = !row.name.toLowerCase().includes(text);
      },
    });
    const none = h("p", { class: "ls-board-warning" }, words["board.models.none"]);
    none.hidden = rows.some((row) => row.kind === "checkpoint" && modelIds.has(row.id));
    const list = h("div", { class: "ls-board-list" }, rows.length > MANY ? search : null, ...groups, none);
    list.hidden = view.models === null;
    const way = (value, text) => {
      const radio = h("input", { type: "radio", name, value });
      radio.checked = (view.models === null) === (value === "all");
      radio.addEventListener("change", () => {
        list.hidden = value === "all";
        if (value === "all") decide({ models: null });
        else send();
      });
      return h("label", { class: "ls-board-choice" }, radio, h("span", {}, text));
    };
    part.body.replaceChildren(
      h("p", {}, words["board.models.what"]),
      way("all", words["board.models.every"]),
      way("some", words["board.models.ticked"]),
      list,
    );
  };
  return part;
}

/** The words that guests' prompts may not have. */
function refusedWords(words) {
  const part = fold(words["board.words"]);
  part.summary = ({ refused_words: list }) =>
    list.length ? fill(words["board.words.count"], { count: list.length }) : words["board.words.no"];
  part.redraws = true;
  part.draw = (view, decide) => {
    const text = view.refused_words.join("\n");
    const field = h("textarea", {
      rows: 6,
      "aria-label": words["board.words"],
      spellcheck: "false",
      autocomplete: "off",
    });
    field.value = text;
    const save = h("button", { type: "button", disabled: true }, words["board.save"]);
    const status = h("small", { role: "status" }, part.saved ? words["board.saved"] : "");
    part.saved = false;
    field.addEventListener("input", () => {
      save.disabled = field.value === text;
      status.textContent = "";
    });
    save.addEventListener("click", () => {
      part.saved = true;
      decide({ refused_words: field.value.split("\n") });
    });
    part.body.replaceChildren(
      h("p", {}, words["board.words.what"]),
      field,
      h("div", { class: "ls-sharing-row" }, save, status),
    );
  };
  return part;
}

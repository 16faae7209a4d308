/* The boards of the library: a row of their names, of which one can be chosen, renamed or removed, and the field that
   puts pictures on one. A board begins with its first picture. */

import { h } from "../../static/elements.js";

const MOST = 60; // characters of a name
const TOGETHER = 2000; // pictures of one command

/** `attempt(act)` shows a failure; `offerUndo(sentence, back)` offers to take back. Returns the element, the chosen
    `board()`, `draw(boards)` which says whether the chosen one is gone, `put(ids, board, isOn)` and `field(onName)`. */
export function boards({ say, attempt, fetchJson, onChoice, onChange, offerUndo }) {
  let all = []; // [name, number of its pictures]
  let chosen = "";
  const names = h("datalist", { id: "ls-library-boards" });
  const row = h("div", { class: "ls-library-boards", role: "group", "aria-label": say("boards"), hidden: true });
  const element = h("div", {}, row, names);

  function drawRow() {
    row.hidden = !all.length;
    const chip = (name, text) =>
      h("button", { type: "button", "aria-pressed": String(name === chosen), onclick: () => choose(name) }, text);
    const plain = (key, act) => h("button", { type: "button", class: "ls-library-plain", onclick: act }, say(key));
    row.replaceChildren(
      chip("", say("all_pictures")),
      ...all.map(([name, count]) => chip(name, `${name} · ${count.toLocaleString()}`)),
      ...(chosen ? [plain("rename_board", askName), plain("remove_board", remove)] : []),
    );
    names.replaceChildren(...all.map(([name]) => h("option", { value: name })));
  }
  function choose(name) {
    chosen = name;
    drawRow();
    row.querySelector("[aria-pressed=true]").focus();
    onChoice();
  }

  /** A field for a board's name with its button. Enter acts too. */
  function nameField(label, action, value, onName) {
    const input = h("input", { "aria-label": label, placeholder: label, maxlength: MOST, value });
    const form = h(
      "form",
      {
        class: "ls-library-name",
        onsubmit: (event) => {
          event.preventDefault();
          if (input.value.trim()) onName(input.value.trim().replace(/\s+/g, " "));
          else input.focus();
        },
      },
      input,
      h("button", { type: "submit", class: "ls-button" }, action),
    );
    return { form, input };
  }
  function field(onName) {
    const { form, input } = nameField(say("board_name"), say("put_on_board"), "", onName);
    input.setAttribute("list", names.id);
    return form;
  }

  function askName() {
    const { form, input } = nameField(say("new_name"), say("rename_board"), chosen, async (to) => {
      const board = chosen;
      if (to !== board && !(await attempt(() => fetchJson("/library/board/change", { board, to })))) return;
      chosen = to;
      row.replaceChildren();
      await onChange();
      row.querySelector("[aria-pressed=true]")?.focus();
    });
    form.addEventListener("keydown", (event) => event.key === "Escape" && (event.stopPropagation(), drawRow()));
    row.replaceChildren(
      form,
      h("button", { type: "button", class: "ls-library-plain", onclick: drawRow }, say("close")),
    );
    input.select();
  }
  async function remove() {
    const name = chosen;
    const answer = await attempt(() => fetchJson("/library/board/change", { board: name, to: null }));
    if (!answer) return;
    chosen = "";
    offerUndo(say("board_removed", { name }), () => put(answer.pictures, name, true));
    await onChange();
  }
  /** Puts pictures on a board or takes them off; says whether it has happened. */
  async function put(ids, board, isOn, attemptThere = attempt) {
    let isDone = false;
    for (let k = 0; k < ids.length; k += TOGETHER) {
      const pictures = ids.slice(k, k + TOGETHER);
      if (!(await attemptThere(() => fetchJson("/library/board", { pictures, board, on: isOn })))) break;
      isDone = true;
    }
    if (isDone) await onChange();
    return isDone;
  }

  return {
    element,
    field,
    put,
    board: () => chosen,
    draw(boards) {
      all = boards;
      const isGone = Boolean(chosen) && !all.some(([name]) => name === chosen);
      if (isGone) chosen = "";
      if (!row.querySelector("form")?.contains(document.activeElement) || isGone) drawRow();
      return isGone;
    },
  };
}

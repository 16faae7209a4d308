/* One picture of the library in a dialog: large, with all that its file says, stars, and keys to move. */

import { actionsOf } from "../../picture_sheet/static/actions.js";
import { openDialog } from "../../static/dialog.js";
import { h, icon } from "../../static/elements.js";
import { saveAs } from "../../static/save_as.js";
import { hasLetterKeys } from "../../static/shortcuts.js";

const STARS = [1, 2, 3, 4, 5];

/** Opens the picture at `place`. `fetchAt(place)` is the picture there, `remove([id])` puts it into the trash; `undo` is
    the line that brings back; `onClose(place)` comes with the last place. */
export function largeView({
  say,
  sheetWords,
  place,
  undo,
  nameOf,
  fetchAt,
  fetchJson,
  remove,
  shelf,
  total,
  onRating,
  onNewPicture,
  onClose,
}) {
  const { box, body } = openDialog(say("large"), say("close"));
  box.classList.add("ls-library-large");
  let one = null;
  const image = h("img", { alt: "" });
  const where = h("span", { class: "ls-library-where" });
  const move = (sign, key, step) => {
    const label = say(key);
    return h(
      "button",
      { type: "button", "aria-label": label, title: label, onclick: () => go(place + step) },
      icon(sign),
    );
  };
  const stars = STARS.map((number) =>
    h("button", { type: "button", "aria-label": say("rate", { stars: number }), onclick: () => rate(number) }, "☆"),
  );
  const starGroup = h("div", { class: "ls-library-rate", role: "group", "aria-label": say("rating") }, ...stars);
  const save = h("a", { class: "ls-button" }, icon("save"), say("download"));
  const bin = h("button", { type: "button", onclick: () => toTrash() }, say("delete"));
  const facts = h("div", { class: "ls-library-facts" });
  const lyingOn = h("div", { class: "ls-library-lying-on" });
  const problem = h("p", { role: "alert" });
  const bar = h(
    "div",
    { class: "ls-library-bar" },
    move("previous", "previous", -1),
    where,
    move("next", "next", 1),
    starGroup,
    saveAs(save),
    bin,
  );
  const attempt = async (act) => {
    try {
      problem.textContent = "";
      return await act();
    } catch (failure) {
      problem.textContent = failure.message || say("lost");
      return null;
    }
  };

  const actions = actionsOf({ words: sheetWords, attempt, fetchJson, close: () => box.close(), onNewPicture });
  body.append(h("figure", {}, image), bar, problem, undo, actions.buttons, lyingOn, facts, actions.notes);

  async function go(next) {
    const target = Math.max(0, Math.min(total() - 1, next));
    const picture = await fetchAt(target);
    if (!picture) return box.close();
    [place, one] = [target, picture];
    image.src = `/library/picture/${one.id}`;
    image.alt = nameOf(one);
    where.textContent = say("where", { number: (place + 1).toLocaleString(), count: total().toLocaleString() });
    save.href = `/library/picture/${one.id}?download=1`;
    save.setAttribute("download", "");
    bin.hidden = one.foreign;
    save.dataset.plain = String(one.foreign); // another program's file comes as a plain picture
    drawStars();
    actions.show(one);
    const whole = await attempt(() => fetchJson(`/library/one/${picture.id}`));
    if (whole && one === picture) {
      drawFacts(whole);
      drawBoards(whole.boards);
    }
  }

  function drawBoards(names) {
    const picture = one;
    const put = async (board, isOn) => {
      if (await shelf.put([picture.id], board, isOn, attempt)) {
        const others = names.filter((name) => name !== board);
        if (one === picture) drawBoards(isOn ? [...others, board] : others);
      }
    };
    const chip = (name) =>
      h(
        "button",
        { type: "button", "aria-label": say("take_off_board", { name }), onclick: () => put(name, false) },
        `${name} ×`,
      );
    lyingOn.replaceChildren(
      ...names.map(chip),
      shelf.field((board) => put(board, true)),
    );
  }

  function drawStars() {
    stars.forEach((star, index) => {
      star.textContent = index < one.rating ? "★" : "☆";
      star.setAttribute("aria-pressed", String(index + 1 === one.rating));
    });
  }
  /** The same star again takes the rating away. */
  async function rate(number) {
    const picture = one;
    const rating = number === picture.rating ? 0 : number;
    if (!(await attempt(() => fetchJson("/library/rate", { pictures: [picture.id], rating })))) return;
    picture.rating = rating;
    drawStars();
    onRating();
  }

  async function toTrash() {
    if (!one.foreign && (await remove([one.id]))) go(place);
  }

  function drawFacts(whole) {
    const row = (label, value) => (value ? [h("dt", {}, label), h("dd", {}, value)] : []);
    facts.replaceChildren(
      h(
        "dl",
        {},
        ...row(say("prompt"), whole.prompt),
        ...row(say("negative_prompt"), whole.negative_prompt),
        ...whole.settings.flatMap(([label, value]) => row(label, String(value))),
        ...row(say("size"), `${whole.width} × ${whole.height}`),
        ...row(say("saved"), new Date(whole.saved * 1000).toLocaleString(document.documentElement.lang || "en")),
        ...row(say("program"), whole.program),
        ...row(say("file"), whole.file),
      ),
      ...(whole.prompt || whole.settings.length ? [] : [h("p", {}, say("no_settings"))]),
    );
  }

  box.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, select, textarea")) return;
    if (event.key === "ArrowLeft") go(place - 1);
    else if (event.key === "ArrowRight") go(place + 1);
    else if (event.key === "Delete") toTrash();
    else if (one && hasLetterKeys() && STARS.includes(Number(event.key))) rate(Number(event.key));
    else return;
    event.preventDefault();
  });
  box.addEventListener("close", () => onClose(place));
  go(place);
}

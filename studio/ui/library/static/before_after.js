/* Two pictures of the library in a dialog: a divider to wipe between them, side by side, or their difference; below it
   the settings in which they differ. */

import { compareLook } from "../../compare/static/look.js";
import { openDialog } from "../../static/dialog.js";
import { h } from "../../static/elements.js";
import { hasLetterKeys } from "../../static/shortcuts.js";

const MODES = ["divider", "side", "difference"]; // by the keys 1, 2, 3
const GAINS = [1, 4, 16];
const DIVIDER_KEYS = ["ArrowLeft", "ArrowRight", "Home", "End"];

/** Opens the dialog. `pictures`: two of them as the library knows them; the older one is A. */
export function beforeAfter({ say, pictures, fetchJson, nameOf }) {
  const { box, body } = openDialog(say("before_after"), say("close"));
  box.classList.add("ls-library-large", "ls-library-pair");
  let [a, b] = [...pictures].sort((one, other) => one.saved - other.saved).map((picture) => ({ picture }));
  let mode = MODES[0];
  const look = compareLook({ words: { divider: say("divider"), view: say("pair") } });
  const divider = look.view.querySelector(".cmp-divider");
  const problem = h("p", { role: "alert" });
  const apart = h("p", { class: "ls-library-apart", role: "status" });
  const facts = h("div", { class: "ls-library-differences" });
  const modes = MODES.map((name, number) => {
    const title = say("key", { key: number + 1 });
    return h("button", { type: "button", "data-mode": name, title, onclick: () => choose(name) }, say(`mode.${name}`));
  });
  const gains = GAINS.map((gain) =>
    h("button", { type: "button", "aria-label": say("gain", { gain }), onclick: () => choosePower(gain) }, `×${gain}`),
  );
  const gainGroup = h(
    "div",
    { class: "ls-library-modes", role: "group", "aria-label": say("mode.difference") },
    ...gains,
  );
  const swap = h("button", { type: "button", title: say("key", { key: "X" }), onclick: exchange }, say("swap"));
  const bar = h(
    "div",
    { class: "ls-library-bar" },
    h("div", { class: "ls-library-modes", role: "group", "aria-label": say("how") }, ...modes),
    gainGroup,
    swap,
  );
  body.append(h("div", { class: "ls-library-pair-view" }, look.view), bar, problem, apart, facts);

  async function fetchOne(side) {
    const { id } = side.picture;
    const image = new Image();
    image.src = `/library/picture/${id}`;
    const [whole] = await Promise.all([fetchJson(`/library/one/${id}`), image.decode()]);
    Object.assign(side, { whole, image, id, width: image.naturalWidth, height: image.naturalHeight });
  }
  const content = (side, letter) => ({ ...side, tag: `${letter} · ${nameOf(side.picture)}` });

  function draw() {
    look.set(content(a, "A"), content(b, "B"));
    look.mode(mode);
    for (const button of modes) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    gainGroup.hidden = mode !== "difference";
    apart.textContent = mode === "difference" ? apartText() : "";
    drawFacts();
  }
  function apartText() {
    const { mean, most } = look.apart();
    if (a.width !== b.width || a.height !== b.height) return say("apart.sizes");
    if (!most) return say("apart.none");
    return say("apart.some", { mean: mean.toFixed(2), most });
  }
  function choose(next) {
    mode = next;
    draw();
    if (mode === "divider") divider.focus();
  }
  function choosePower(gain) {
    for (const button of gains) button.setAttribute("aria-pressed", String(button.textContent === `×${gain}`));
    look.gain(gain);
  }
  function exchange() {
    [a, b] = [b, a];
    draw();
  }

  /* --------------------------------------------------------------------------------------- what is different */

  function drawFacts() {
    const [one, other] = [valuesOf(a.whole), valuesOf(b.whole)];
    const labels = [...new Set([...one.keys(), ...other.keys()])];
    const rows = labels.filter((label) => one.get(label) !== other.get(label));
    if (!rows.length) return facts.replaceChildren(h("p", {}, say("no_difference")));
    const cell = (text, against) => h("td", { dir: "auto" }, ...marked(text || "–", against || ""));
    facts.replaceChildren(
      h(
        "table",
        {},
        h("caption", {}, say("differences")),
        h("thead", {}, h("tr", {}, ...[say("setting"), "A", "B"].map((text) => h("th", { scope: "col" }, text)))),
        h(
          "tbody",
          {},
          ...rows.map((label) => {
            const [mine, theirs] = [one.get(label), other.get(label)];
            return h("tr", {}, h("th", { scope: "row" }, label), cell(mine, theirs), cell(theirs, mine));
          }),
        ),
      ),
    );
  }
  function valuesOf(whole) {
    const values = new Map([
      [say("prompt"), whole.prompt],
      [say("negative_prompt"), whole.negative_prompt],
      ...whole.settings.map(([label, value]) => [label, String(value)]),
      [say("size"), `${whole.width} × ${whole.height}`],
      [say("program"), whole.program],
    ]);
    return values;
  }

  box.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !a.image || !b.image) return;
    const number = Number(event.key) - 1;
    if (DIVIDER_KEYS.includes(event.key) && mode === "divider" && event.target !== divider) {
      divider.focus();
      divider.dispatchEvent(new KeyboardEvent("keydown", { key: event.key }));
    } else if (hasLetterKeys() && MODES[number]) choose(MODES[number]);
    else if (hasLetterKeys() && event.key.toLowerCase() === "x") exchange();
    else return;
    event.preventDefault();
  });
  box.addEventListener("close", () => look.mode("single"));
  choosePower(GAINS[1]);
  bar.hidden = true;
  Promise.all([fetchOne(a), fetchOne(b)]).then(
    () => {
      bar.hidden = false;
      choose(mode);
    },
    (failure) => (problem.textContent = failure.message || say("lost")),
  );
}

/** The words of a text, those marked that the other text does not have. Short values are marked as a whole by their
    row. */
function marked(text, other) {
  const words = text.split(/(\s+)/);
  if (words.length < 4 || !other) return [text];
  const theirs = new Set(other.split(/\s+/));
  return words.map((word) => (word.trim() && !theirs.has(word) ? h("mark", {}, word) : word));
}

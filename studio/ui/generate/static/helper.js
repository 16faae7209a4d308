/* The prompt helper. It shows the words that the model knows as chips, and a click puts one at its place in the
   prompt. It can write a random prompt, and it says so when the prompt has no known word. It is folded at first. */

import { fieldIn, fill, h, type } from "../../static/elements.js";

/** The prompt after a word is chosen. `world`: the groups of words that the helper was given. Pure functions. */
export const compose = (() => {
  const escapePattern = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const wordPattern = (text) => new RegExp(`(?<![\\p{L}\\p{N}])${escapePattern(text)}(?![\\p{L}\\p{N}])`, "iu");
  const tidy = (text) =>
    text
      .replace(/\s+,/g, ",")
      .replace(/\s{2,}/g, " ")
      .trim();
  const rowsOf = (world, key) => world.groups.find((group) => group.key === key)?.words || [];
  const namesOf = (row) => [row.phrase, row.label, ...row.others];

  /** Every phrase by which a prompt names a plain background, longest first. */
  const grounds = (world) => [
    ...rowsOf(world, "backgrounds").flatMap((row) =>
      [row.label, ...row.others].flatMap((name) => [
        row.phrase.replace(row.label, name),
        `on a ${name} background`,
        `, ${name} background`,
        `on ${name}`,
      ]),
    ),
    ...rowsOf(world, "scenes").flatMap((row) => [row.phrase, ...row.others]),
  ];

  function find(text, phrases) {
    for (const phrase of [...phrases].sort((a, b) => b.length - a.length)) {
      const match = wordPattern(phrase.replace(/^, /, "")).exec(text);
      if (match)
        return {
          start:
            phrase.startsWith(", ") && text.slice(match.index - 2, match.index) === ", "
              ? match.index - 2
              : match.index,
          end: match.index + match[0].length,
        };
    }
    return null;
  }

  /** The place before background and style, where a prompt names its objects. */
  function beforeGround(text, world) {
    const ground = find(text, grounds(world));
    const style = /,/.exec(text);
    return Math.min(ground ? ground.start : text.length, style ? style.index : text.length);
  }

  const put = (text, at, word) => tidy(`${text.slice(0, at)} ${word} ${text.slice(at)}`);
  const swap = (text, place, word) => tidy(`${text.slice(0, place.start)} ${word} ${text.slice(place.end)}`);

  const ways = {
    objects(text, row, world) {
      const at = beforeGround(text, world);
      const head = text.slice(0, at).trimEnd();
      const relations = rowsOf(world, "relations").flatMap(namesOf);
      const open = !head || relations.some((name) => new RegExp(`${escapePattern(name)}$`, "i").test(head));
      const size = rowsOf(world, "sizes")
        .flatMap(namesOf)
        .find((name) => new RegExp(`(^|\\s)${escapePattern(name)}$`, "i").test(head));
      if (size) return put(text, at, row.label);
      if (open) return put(text, at, row.phrase);
      const and = rowsOf(world, "relations").find((one) => one.label === "and");
      return put(text, at, and ? `and ${row.phrase}` : row.phrase);
    },
    ground(text, row, world) {
      const place = find(text, grounds(world));
      if (place) return swap(text, place, row.phrase);
      const comma = text.indexOf(",");
      return put(text, comma < 0 ? text.length : comma, row.phrase);
    },
    sizes(text, row, world) {
      const place = find(text, rowsOf(world, "sizes").flatMap(namesOf));
      if (place) return swap(text, place, row.label);
      const objects = rowsOf(world, "objects").flatMap((one) => [one.label, ...one.others]);
      const first = find(text, objects);
      if (!first) return put(text, 0, row.label);
      const head = text.slice(0, first.start).replace(/\ban\s*$/i, "a ");
      return tidy(`${head} ${row.label} ${text.slice(first.start)}`);
    },
    places(text, row, world) {
      const place = find(
        text,
        rowsOf(world, "places").flatMap((one) => [one.phrase, ...one.others]),
      );
      return place ? swap(text, place, row.phrase) : put(text, beforeGround(text, world), row.phrase);
    },
    relations(text, row, world) {
      const place = find(text, rowsOf(world, "relations").flatMap(namesOf));
      return place ? swap(text, place, row.phrase) : put(text, beforeGround(text, world), row.phrase);
    },
    styles(text, row, world) {
      const place = find(text, rowsOf(world, "styles").flatMap(namesOf));
      if (place) return swap(text, place, row.phrase);
      return text.trim() ? `${text.trim().replace(/[,.]$/, "")}, ${row.phrase}` : row.phrase;
    },
  };

  return {
    /** The prompt with a word of a group added. */
    insert: (text, group, row, world) =>
      (
        ways[group === "backgrounds" || group === "scenes" ? "ground" : group] || ((t, r) => put(t, t.length, r.phrase))
      )(text, row, world),
    /** Whether a prompt has any word the model knows. */
    knows: (text, world) =>
      world.groups.some(
        ({ key, words }) =>
          key !== "relations" &&
          words.some((row) => [...new Set(namesOf(row))].some((name) => wordPattern(name).test(text))),
      ),
    /** A random prompt. random() is in [0, 1). */
    surprise(world, random) {
      const pick = (key) => {
        const rows = rowsOf(world, key);
        return rows.length ? rows[Math.floor(random() * rows.length)] : null;
      };
      const first = pick("objects");
      let text = first ? first.phrase : "";
      const pair = random() < 0.2 && pick("relations");
      const second = pair && pick("objects");
      if (second && second.label !== first.label) text = `${text} ${pair.phrase} ${second.phrase}`;
      else if (random() < 0.3 && pick("sizes")) text = ways.sizes(text, pick("sizes"), world);
      const ground = pick(random() < 0.55 ? "scenes" : "backgrounds") || pick("backgrounds");
      if (ground) text = `${text} ${ground.phrase}`;
      const style = random() < 0.15 && pick("styles");
      return tidy(style ? `${text}, ${style.phrase}` : text);
    },
  };
})();

/** The helper of one prompt field. */
export function helper({ element, props, watch }) {
  let open = false;
  let query = "";
  const say = (key, values) => fill(props.words[key], values);
  const world = () => (props.value && Array.isArray(props.value.groups) ? props.value : { label: "", groups: [] });

  const set = (text) => {
    const field = fieldIn(props.field);
    if (!field) return;
    type(field, text);
    field.focus();
    field.setSelectionRange(text.length, text.length);
  };
  const insert = (group, row) => set(compose.insert(fieldIn(props.field)?.value || "", group, row, world()));

  const chip = (group, row) => {
    const swatch =
      group === "backgrounds"
        ? h("i", {
            class: "ls-swatch",
            style: `background: ${CSS.supports("color", row.label) ? row.label : "transparent"}`,
          })
        : null;
    return h(
      "button",
      { class: "ls-chip", type: "button", title: row.phrase, onclick: () => insert(group, row) },
      swatch,
      row.label,
    );
  };
  const note = h("p", { class: "ls-help ls-helper-note", role: "status", hidden: true });
  const list = h("div", { class: "ls-helper-groups" });

  function fillList() {
    const rows = world().groups.map(({ key, words }) => {
      const matches = words.filter((row) =>
        [row.label, ...row.others].some((name) => name.toLowerCase().includes(query)),
      );
      if (!matches.length) return null;
      const title = `${props.field}-${key}`;
      return h(
        "div",
        { class: "ls-helper-group", role: "group", "aria-labelledby": title },
        h("h3", { id: title }, say(`group.${key}`)),
        h("div", { class: "ls-chips" }, ...matches.map((row) => chip(key, row))),
      );
    });
    const lines = rows.filter(Boolean);
    list.replaceChildren(...(lines.length ? lines : [h("p", { class: "ls-helper-none" }, say("nothing"))]));
  }

  function draw() {
    const { groups, label } = world();
    if (!groups.length) {
      element.replaceChildren();
      return;
    }
    const toggle = () => {
      open = !open;
      draw();
      element.querySelector(".ls-helper-open").focus();
    };
    const fold = h(
      "button",
      { class: "ls-helper-open", type: "button", "aria-expanded": String(open), onclick: toggle },
      h("i", { class: "ls-chevron", "aria-hidden": "true" }),
      say("open", { label }),
    );
    const surprise = h(
      "button",
      {
        class: "ls-helper-surprise",
        type: "button",
        title: say("surprise.title"),
        onclick: () => set(compose.surprise(world(), Math.random)),
      },
      say("surprise"),
    );
    const find = h("input", {
      class: "ls-helper-find",
      type: "search",
      value: query,
      placeholder: say("find"),
      "aria-label": say("find"),
    });
    find.addEventListener("input", () => {
      query = find.value.trim().toLowerCase();
      fillList();
    });
    const box = h("div", { class: "ls-helper-box", hidden: !open }, find, list);
    element.replaceChildren(note, h("div", { class: "ls-helper-bar" }, fold, surprise), box);
    fillList();
    look();
  }

  /** Says so when the prompt has words, but none that the model knows. */
  function look() {
    const text = fieldIn(props.field)?.value.trim() || "";
    const { groups, label } = world();
    const isUnknown = groups.length > 0 && /\p{L}/u.test(text) && !compose.knows(text, world());
    note.hidden = !isUnknown;
    if (!isUnknown) return note.replaceChildren();
    const [first, second] = [groups[0].words[0], groups[0].words[groups[0].words.length - 1]];
    const examples = [first, second].filter(Boolean).map((row) => `“${row.phrase}”`);
    note.textContent = say("unknown", { label, examples: [...new Set(examples)].join(", ") });
  }
  document.addEventListener("input", (event) => event.target === fieldIn(props.field) && look());
  document.addEventListener("change", (event) => event.target === fieldIn(props.field) && look());
  watch("value", draw);
  draw();
}

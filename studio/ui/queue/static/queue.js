/* The queue of one tab: what waits, in an order that can be changed; many prompts or pictures at once; generating
   forever. One run at a time is sent to the studio, with the fields as they were when it was added. */

import { fieldIn, fill, h } from "../../static/elements.js";
import { forever } from "./forever.js";
import { otherJobs } from "./others.js";
import { runner } from "./runner.js";

const SHOWN_DONE = 12; // of the newest pictures

export function queue({ element, props }) {
  const { words, tab } = props;
  const say = (key, values) => fill(words[key], values);
  const fromPictures = tab === "image_to_image";
  const run = runner({ tab, storage: `${props.storage}-queue`, onChange: draw });

  /* ------------------------------------------------------------------------------------------------- frame */

  const button = (key, act, more = {}) =>
    h("button", { type: "button", class: "ls-button", onclick: act, ...more }, say(key));
  const summary = h(
    "summary",
    {},
    h("i", { class: "ls-chevron", "aria-hidden": "true" }),
    h("span", {}, say(tab === "inpaint" ? "label_forever" : "label")),
  );
  const badge = h("span", { class: "ls-queue-badge", hidden: true });
  summary.append(badge);
  const prompts = h("textarea", { rows: 3, "aria-label": say("prompts"), placeholder: say("prompts") });
  const files = h("input", {
    type: "file",
    accept: "image/png,image/jpeg,image/webp,image/gif",
    multiple: true,
    hidden: true,
  });
  const message = h("p", { class: "ls-queue-message", role: "alert" });
  const status = h("p", { class: "ls-queue-status", role: "status" });
  const list = h("ol", { class: "ls-queue-list", "aria-label": say("waiting") });
  const done = h("div", { class: "ls-queue-done", role: "group", "aria-label": say("done") });
  const pause = button("pause", () => run.pause(!run.isPaused()));
  const empty = button("empty", () => run.empty());
  const endless = forever({ tab, say, onNews: (text) => (message.textContent = text) });
  const choose = fromPictures ? [button("pictures", () => files.click()), files] : [];
  const fold = h(
    "details",
    { class: "ls-queue" },
    summary,
    ...(tab === "inpaint"
      ? []
      : [h("p", { class: "ls-queue-help" }, say(fromPictures ? "help_pictures" : "help")), prompts]),
    h(
      "div",
      { class: "ls-queue-buttons" },
      ...(tab === "inpaint" ? [] : [button("add_prompts", addPrompts)]),
      ...choose,
      ...(tab === "text_to_image" ? [button("add", addOne)] : []),
    ),
    message,
    h("div", { class: "ls-queue-buttons" }, status, pause, empty),
    list,
    done,
    endless.element,
  );
  const others = otherJobs({ say, fold, own: () => run.items().map((item) => item.job) });
  endless.element.before(others);
  element.replaceChildren(fold);

  /* ---------------------------------------------------------------------------------------------------- add */

  /** The fields of the tab as they are now, as a request has them. */
  function fieldsNow() {
    const stored = window.latentStudio.storedFields(props.storage, props.version) || {};
    const values = {};
    for (const name of props.fields) {
      const value = props.suits.includes(name) ? stored[name] || null : stored[name];
      if (value !== undefined && value !== null && value !== "") values[name] = value;
    }
    values.prompt = fieldIn(`${tab}-prompt`)?.value || "";
    return values;
  }
  function put(items) {
    const room = props.most - run.items().length;
    message.textContent = items.length > room ? say("full", { most: props.most, left: items.length - room }) : "";
    run.add(items.slice(0, Math.max(0, room)));
  }
  function addOne() {
    put([{ fields: fieldsNow() }]);
  }
  async function addPrompts() {
    const lines = prompts.value
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
    if (!lines.length) {
      message.textContent = say("no_prompts");
      return prompts.focus();
    }
    const picture = fromPictures ? await ownPicture() : null;
    if (fromPictures && !picture) return void (message.textContent = say("no_picture"));
    const fields = fieldsNow();
    put(lines.map((prompt) => ({ fields: { ...fields, prompt }, ...(picture ? { file: picture } : {}) })));
    prompts.value = "";
  }
  /** The picture that the tab begins with, or null. */
  async function ownPicture() {
    const source = document.querySelector(`#${tab}-image img`)?.src;
    const answer = source ? await fetch(source) : null;
    return answer?.ok ? new File([await answer.blob()], "picture") : null;
  }
  files.addEventListener("change", () => {
    const fields = fieldsNow();
    for (const name of ["width", "height"]) delete fields[name]; // each picture has its own
    put([...files.files].map((file) => ({ fields, file })));
    files.value = "";
  });

  /* -------------------------------------------------------------------------------------------------- drawing */

  function draw() {
    const items = run.items();
    const waiting = items.filter((item) => item.state === "waiting").length;
    badge.hidden = !items.length;
    badge.textContent = String(items.length);
    status.textContent =
      run.isPaused() && waiting ? say("paused", { count: waiting }) : waiting ? say("count", { count: waiting }) : "";
    pause.hidden = empty.hidden = !items.length;
    pause.textContent = say(run.isPaused() ? "go_on" : "pause");
    const focus = document.activeElement?.dataset?.key;
    list.replaceChildren(...items.map((item, place) => row(item, place, items.length)));
    list.querySelector(`[data-key="${focus}"]`)?.focus();
    const pictures = run.pictures().slice(-SHOWN_DONE);
    done.hidden = !pictures.length;
    done.replaceChildren(
      ...pictures.map(({ id, prompt }) => {
        const image = h("img", { src: `/picture/${id}`, alt: prompt || say("no_prompt"), loading: "lazy" });
        return h("a", { href: `/picture/${id}`, target: "_blank", rel: "noopener" }, image);
      }),
    );
  }

  function row(item, place, count) {
    const name = item.file ? `${item.file.name} · ${item.fields.prompt}` : item.fields.prompt || say("no_prompt");
    const tool = (key, sign, act, isOff) =>
      h(
        "button",
        {
          type: "button",
          "data-key": `${item.id} ${key}`,
          "aria-label": say(key, { name: name.slice(0, 80) }),
          title: say(key, { name: name.slice(0, 80) }),
          disabled: isOff,
          onclick: act,
        },
        sign,
      );
    const tools =
      item.state === "waiting"
        ? [
            tool("up", "↑", () => run.move(item.id, -1), place === 0 || run.items()[place - 1].state === "running"),
            tool("down", "↓", () => run.move(item.id, 1), place === count - 1),
          ]
        : item.state === "failed"
          ? [tool("again", "↻", () => run.again(item.id))]
          : [];
    const state = { running: item.progress ? say("step", item.progress) : say("running"), failed: item.message }[
      item.state
    ];
    return h(
      "li",
      { "data-state": item.state },
      h("span", { class: "ls-queue-name", dir: "auto" }, name, state ? h("small", {}, state) : null),
      h(
        "span",
        { class: "ls-queue-tools" },
        ...tools,
        tool("remove", "×", () => run.remove(item.id)),
      ),
    );
  }

  draw();
}

/* The picture a run starts from: dropped or pasted anywhere on its desk, and what it says of how it was made. */

import { h, isVisible } from "../../static/elements.js";
import { during } from "../../static/waiting.js";
import { keepPicture, storedPicture } from "./kept_picture.js";

/** Put a file into one of Gradio's upload fields, as if it had been chosen there. */
export function give(field, file) {
  const block = document.getElementById(field);
  const remove = block.querySelector('button[aria-label="Clear"], button[aria-label="Remove Image"]');
  if (remove && !block.querySelector("input[type=file]")) remove.click(); // a field that is full takes no other
  // Gradio puts its input there anew in the next frames.
  during(put());
  async function put() {
    let input = null;
    for (let tries = 0; tries < 120 && !(input = block.querySelector("input[type=file]")); tries++)
      await new Promise(requestAnimationFrame);
    if (!input) return;
    const transfer = new DataTransfer();
    transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }
}

/** A picture file dropped or pasted on the desk goes into its upload field. */
export function drop({ props }) {
  remember(props.field);
  const desk = () => document.getElementById(props.desk);
  const pictureOf = (transfer) => [...(transfer?.files || [])].find((file) => file.type.startsWith("image/"));

  document.addEventListener("paste", (event) => {
    const file = pictureOf(event.clipboardData);
    if (!file || !desk() || !isVisible(desk())) return;
    event.preventDefault();
    give(props.field, file);
  });
  // A control on the desk takes what is dropped on it itself.
  const meant = (target) => desk()?.contains(target) && !target.closest(".ls-control-unit");
  const over = (event) => meant(event.target) && event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  document.addEventListener(
    "dragover",
    (event) => {
      if (over(event)) event.preventDefault();
    },
    true,
  );
  document.addEventListener(
    "drop",
    (event) => {
      const file = over(event) && pictureOf(event.dataTransfer);
      if (!file) return;
      event.preventDefault();
      event.stopPropagation();
      give(props.field, file);
    },
    true,
  );
}

/** The field's picture is there again after a reload. What is in the field when it is looked at first is kept by nobody
    else: it is the visitor's, given while the page was drawn. */
async function remember(field) {
  const block = document.getElementById(field);
  if (!block) return;
  const source = () => block.querySelector("img")?.src || "";
  const back = source() ? null : await during(storedPicture(field));
  if (back && !source()) give(field, new File([back], back.name || "picture", { type: back.type }));
  let last = "";
  const look = async () => {
    const now = source();
    if (now === last) return;
    last = now;
    const blob = now ? await fetch(now).then((answer) => (answer.ok ? answer.blob() : null)) : null;
    if (now === last) keepPicture(field, blob);
  };
  if (source()) look();
  new MutationObserver(look).observe(block, {
    subtree: true,
    childList: true,
    attributes: true,
    attributeFilter: ["src"],
  });
}

/** "This picture says how it was made", and a button that takes its settings over, in the browser's language. */
export function offer({ element, props, watch, trigger }) {
  const language = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
  const words = props.words[language];
  function draw() {
    const found = props.value?.settings ? props.value : null;
    if (!found) return element.replaceChildren();
    const take = () => {
      trigger("take", { settings: found.settings });
      element.replaceChildren();
    };
    const usable = Object.keys(found.settings).length > 0;
    const text = usable
      ? h("p", {}, words.found, " ", h("q", { dir: "auto" }, found.prompt || "…"))
      : h("p", {}, words.unread);
    const notes = found.notes?.[language] || [];
    element.replaceChildren(
      h(
        "div",
        { class: "ls-offer", role: "status", lang: language === "zh" ? "zh-Hans" : language },
        text,
        ...notes.map((note) => h("p", { class: "ls-offer-note", dir: "auto" }, note)),
        usable ? h("button", { class: "ls-button", type: "button", onclick: take }, words.take) : "",
      ),
    );
  }
  watch("value", draw);
  draw();
}

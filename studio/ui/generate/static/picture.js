/* The picture that a run starts from: drop and paste anywhere on its workspace, and the settings that the file
   carries. */

import { openSheet } from "../../picture_sheet/static/opener.js";
import { h, isVisible } from "../../static/elements.js";
import { holdRuns } from "../../static/waiting.js";
import { keepPicture, storedPicture } from "./stored_picture.js";

/** Puts a file into one of Gradio's upload fields, as if a person had chosen it there. */
export function give(field, file) {
  const block = document.getElementById(field);
  const remove = block.querySelector('button[aria-label="Clear"], button[aria-label="Remove Image"]');
  if (remove && !block.querySelector("input[type=file]")) remove.click(); // a field that is full takes no other
  // Gradio puts its input there anew in the next frames.
  holdRuns(put());
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

/** A picture file that is dropped or pasted on the workspace goes into its upload field. */
export function drop({ props }) {
  remember(props.field);
  const workspace = () => document.getElementById(props.workspace);
  const pictureOf = (transfer) => [...(transfer?.files || [])].find((file) => file.type.startsWith("image/"));

  document.addEventListener("paste", (event) => {
    const file = pictureOf(event.clipboardData);
    if (!file || !workspace() || !isVisible(workspace())) return;
    event.preventDefault();
    give(props.field, file);
  });
  // A Control unit takes what is dropped on it.
  const takesDrop = (target) => workspace()?.contains(target) && !target.closest(".ls-control-unit");
  const over = (event) =>
    takesDrop(event.target) && event.dataTransfer && [...event.dataTransfer.types].includes("Files");
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

/** Brings the field's picture back after a reload. A picture that is in the field at the first look is the
    visitor's: they chose it while the page was drawn, and nothing else has stored it. */
async function remember(field) {
  const block = document.getElementById(field);
  if (!block) return;
  const source = () => block.querySelector("img")?.src || "";
  const back = source() ? null : await holdRuns(storedPicture(field));
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

/** The line "This picture says how it was made" and a button that takes its settings, in the page's language. */
export function offer({ element, props, watch, trigger }) {
  const { language } = window.studioLanguage;
  const words = props.words[language];
  function draw() {
    const origin = props.value?.settings ? props.value : null;
    if (!origin) return element.replaceChildren();
    const take = () => {
      trigger("take", { settings: origin.settings });
      element.replaceChildren();
    };
    const usable = Object.keys(origin.settings).length > 0;
    const text = usable
      ? h("p", {}, words.found, " ", h("q", { dir: "auto" }, origin.prompt || "…"))
      : h("p", {}, words.unread);
    const remarks = origin.notes?.[language] || [];
    element.replaceChildren(
      h(
        "div",
        { class: "ls-offer", role: "status" },
        text,
        ...remarks.map((remark) => h("p", { class: "ls-offer-note", dir: "auto" }, remark)),
        usable ? h("button", { class: "ls-button", type: "button", onclick: take }, words.take) : "",
        h("button", { class: "ls-button", type: "button", onclick: openSheetOfField }, words.more),
      ),
    );
  }
  /** The field holds the file as it was uploaded. */
  async function openSheetOfField() {
    const source = document.querySelector(`#${props.field} img`)?.src;
    const response = source ? await fetch(source).catch(() => null) : null;
    if (!response?.ok) return;
    const content = await response.blob();
    const name = decodeURIComponent(new URL(source).pathname.split("/").at(-1));
    openSheet({ file: new File([content], name, { type: content.type }) });
  }
  watch("value", draw);
  draw();
}

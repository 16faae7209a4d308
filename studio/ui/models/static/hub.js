/* "Add from Hugging Face" on the tab Models: the files of a repository to choose from, and downloads with their progress. */

import { h } from "../../static/elements.js";

export function hub({ say, trigger, bytes, watch, props, onView }) {
  const MODEL_KINDS = ["checkpoint", "vae", "lora", "embedding", "preview_decoder", "controlnet", "safety_checker"];
  const text = (key, type, extra = {}) =>
    h("input", {
      type,
      placeholder: say(`hub.${key}`),
      "aria-label": say(`hub.${key}`),
      autocomplete: "off",
      spellcheck: "false",
      ...extra,
    });

  const repository = text("repository", "text", { class: "ls-hub-repository" });
  const token = text("token", "password", { class: "ls-hub-token" });
  const kind = h(
    "select",
    { "aria-label": say("hub.kind") },
    ...MODEL_KINDS.map((name) => h("option", { value: name }, say(`one.${name}`))),
  );
  const look = h("button", { type: "submit", class: "ls-button" }, say("hub.look"));
  const form = h("form", { class: "ls-hub-form" }, repository, kind, token, look);
  const files = h("ul", { class: "ls-hub-files", "aria-label": say("hub.files") });
  const fetchButton = h("button", { type: "button", class: "ls-button ls-hub-fetch", onclick: () => fetchChosen() });
  const choice = h("div", { class: "ls-hub-choice", hidden: true }, files, fetchButton);
  const downloadList = h("ul", { class: "ls-hub-downloads", "aria-label": say("hub.downloads") });
  const fold = h(
    "details",
    { class: "ls-hub" },
    h("summary", {}, say("hub.add")),
    h("p", { class: "ls-hub-what" }, say("hub.what")),
    form,
    choice,
  );
  const box = h("section", { class: "ls-hub-box", hidden: true }, fold, downloadList);
  let repositoryHere = null; // the repository of the listed files

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!repository.value.trim()) return;
    look.setAttribute("aria-busy", "true");
    trigger("look", { repository: repository.value, token: token.value });
  });

  const checkedFiles = () =>
    [...files.querySelectorAll("input:checked")].map((box) => repositoryHere.files[Number(box.value)]);

  function count() {
    const list = checkedFiles();
    const size = list.reduce((sum, file) => sum + (file.size || 0), 0);
    fetchButton.textContent = say(list.length === 1 ? "hub.fetch.one" : "hub.fetch", {
      count: list.length,
      size: bytes(size),
    });
    fetchButton.disabled = !list.length;
  }

  function drawFiles() {
    files.replaceChildren(
      ...repositoryHere.files.map((file, index) => {
        const box = h("input", { type: "checkbox", value: String(index), checked: Boolean(file.suggested) });
        box.addEventListener("change", count);
        const size = typeof file.size === "number" ? bytes(file.size) : "";
        return h("li", {}, h("label", {}, box, h("span", {}, file.path), h("small", {}, size)));
      }),
    );
    choice.hidden = false;
    count();
  }

  function fetchChosen() {
    trigger("download", {
      repository: repositoryHere.repository,
      files: checkedFiles().map((file) => file.path),
      kind: kind.value,
      token: token.value,
    });
    choice.hidden = true;
  }

  watch("value", () => {
    look.removeAttribute("aria-busy");
    const answer = props.value?.repository;
    if (!answer) return;
    repositoryHere = answer;
    drawFiles();
  });

  function line(download) {
    const share = download.total_bytes ? (download.done_bytes || 0) / download.total_bytes : 0;
    const isActive = ["waiting", "running", "verifying"].includes(download.state);
    const facts = [say(`hub.state.${download.state}`)];
    if (download.total_bytes)
      facts.push(say("hub.done", { done: bytes(download.done_bytes || 0), total: bytes(download.total_bytes) }));
    if (download.state === "running" && download.bytes_per_second)
      facts.push(say("hub.speed", { speed: bytes(download.bytes_per_second) }));
    if (download.state === "running" && download.seconds_left)
      facts.push(say("hub.left", { minutes: Math.max(1, Math.ceil(download.seconds_left / 60)) }));
    const bar = h("div", {
      class: "ls-memory-track",
      role: "progressbar",
      "aria-valuenow": String(Math.round(100 * share)),
      "aria-label": download.repository,
    });
    const done = h("i", { class: "ls-memory-models" });
    done.style.width = `${(100 * share).toFixed(1)}%`;
    bar.append(done);
    const cancel = isActive
      ? h(
          "button",
          {
            type: "button",
            class: "ls-button",
            "aria-label": say("hub.cancel.of", { name: download.repository }),
            onclick: () => trigger("cancel", { id: download.id }),
          },
          say("hub.cancel"),
        )
      : null;
    const name = download.files.length === 1 ? `${download.repository} · ${download.files[0]}` : download.repository;
    return h(
      "li",
      { class: "ls-hub-download", "data-state": download.state },
      h(
        "div",
        {},
        h("strong", {}, name),
        h("span", {}, facts.join(" · ")),
        isActive ? bar : null,
        download.message ? h("span", { class: "ls-hub-message" }, download.message) : null,
      ),
      cancel,
    );
  }

  onView((view) => {
    box.hidden = !view.manages;
    const downloads = view.downloads || [];
    downloadList.hidden = !downloads.length;
    downloadList.replaceChildren(...downloads.slice(0, 6).map(line));
  });
  return box;
}

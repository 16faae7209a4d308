/* The tokens of programs, a part of the owner's panel: make one, name it, see when it was used, revoke it. */

import { fill, h } from "./elements.js";

/** The part as an element. `fetchJson` and `linkField` are the panel's own. */
export function programs(words, fetchJson, linkField) {
  const word = (key, values) => fill(words[key], values);
  const problem = h("p", { role: "alert" });
  const fresh = h("div", { role: "status" });
  const list = h("div", {});
  const name = h("input", { id: "ls-programs-name", maxlength: 60, required: true, autocomplete: "off" });
  const rights = h(
    "select",
    { id: "ls-programs-rights" },
    ...["guest", "owner"].map((kind) => h("option", { value: kind }, words[`program.rights.${kind}`])),
  );
  const form = h(
    "form",
    { class: "ls-sharing-row", onsubmit: (event) => make(event) },
    h("label", { for: "ls-programs-name" }, words["program.name"]),
    name,
    h("label", { for: "ls-programs-rights" }, words["program.rights"]),
    rights,
    h("button", {}, words["program.make"]),
  );

  async function send(order) {
    const options = order && {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(order),
    };
    try {
      const view = await fetchJson("/programs", options);
      problem.textContent = "";
      draw(view.programs);
      return view;
    } catch (failure) {
      problem.textContent = (order && failure.message) || words.unreachable;
      return null;
    }
  }

  async function make(event) {
    event.preventDefault();
    const view = await send({ action: "make", name: name.value, rights: rights.value });
    if (!view) return;
    const label = word("program.new", { name: name.value });
    fresh.replaceChildren(linkField(words, view.token, label), h("small", {}, words["program.once"]));
    fresh.querySelector("input").focus();
    name.value = "";
  }

  async function revoke(one) {
    fresh.replaceChildren();
    if (await send({ action: "revoke", id: one.id })) name.focus();
  }

  const time = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString() : words["program.never"]);

  const use = (one) =>
    ` ${word("queue", { count: one.jobs })}. ${words.device}: ${word("seconds", { seconds: one.seconds })}`;

  function draw(all) {
    const rows = all.map((one) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, one.name),
        h("td", {}, words[`program.rights.${one.rights}`]),
        h("td", {}, time(one.used), one.jobs || one.seconds ? h("small", {}, use(one)) : null),
        h(
          "td",
          { class: "ls-sharing-row" },
          one.jobs
            ? h(
                "button",
                {
                  type: "button",
                  "aria-label": word("program.stop.of", { name: one.name }),
                  onclick: () => send({ action: "stop", id: one.id }),
                },
                words.stop,
              )
            : null,
          h(
            "button",
            {
              type: "button",
              "aria-label": word("program.revoke.of", { name: one.name }),
              onclick: () => revoke(one),
            },
            words["program.revoke"],
          ),
        ),
      ),
    );
    const heads = ["program.name", "program.rights", "program.used"].map((key) =>
      h("th", { scope: "col" }, words[key]),
    );
    const table = h("table", {}, h("thead", {}, h("tr", {}, ...heads, h("td", {}))), h("tbody", {}, ...rows));
    list.replaceChildren(rows.length ? table : h("p", {}, words["program.none"]));
  }

  const part = h(
    "details",
    { class: "ls-programs", ontoggle: () => part.open && send() },
    h("summary", {}, words.program),
    h("div", {}, h("p", {}, words["program.what"]), problem, form, fresh, list),
  );
  return part;
}

/* Panel: the predicted picture of every evaluation in a row; mouse, touch and keys move through it. */
"use strict";

window.LatentStudio.panels.push({
  name: "timeline",
  build(context) {
    const { h, say } = context;
    const cells = h("div", { class: "ls-cells" });
    const cursor = h("b", { class: "ls-cursor" });
    const element = h("div", { class: "ls-film ls-timeline", role: "slider", tabindex: 0, "aria-label": say("timeline"), "aria-valuemin": 1 }, cells, cursor);
    let drawn = null;

    const point = (event) => {
      const box = element.getBoundingClientRect();
      context.go(Math.floor(((event.clientX - box.left) / box.width) * cells.children.length));
    };
    element.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse" || event.buttons) point(event);
    });
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      point(event);
    });
    return {
      element,
      draw(at, total) {
        if (drawn !== context.record) {
          drawn = context.record;
          cells.replaceChildren();
        }
        while (cells.children.length > total) cells.lastChild.remove();
        while (cells.children.length < total) cells.append(h("span", {}));
        [...cells.children].forEach((cell, k) => {
          if (cell.firstChild || !context.record.evaluations[k]) return;
          const image = context.record.thumbnail(k);
          const canvas = h("canvas", { width: image.width, height: image.height, "aria-hidden": "true" });
          canvas.getContext("2d").putImageData(image, 0, 0);
          cell.append(canvas);
        });
        cursor.style.left = `${((context.index + 0.5) / total) * 100}%`;
        element.setAttribute("aria-valuemax", total);
        element.setAttribute("aria-valuenow", context.index + 1);
        element.setAttribute("aria-valuetext", say("evaluation", { index: context.index + 1, total }));
      },
    };
  },
});

/* Panel: what the network was given, the picture it saw in it, and what it took for noise, side by side. */
"use strict";

window.LatentStudio.panels.push({
  name: "panes",
  build(context) {
    const { h, say } = context;
    const quantities = ["x_t", "denoised", "noise_pred"];
    const panes = quantities.map((name) => {
      const canvas = h("canvas", { role: "img", "data-quantity": name });
      const how = h("small", {});
      const label = h("figcaption", {}, h("strong", {}, say(`pane.${name}`)), how);
      return { name, canvas, how, figure: h("figure", { class: "ls-pane" }, h("div", {}, canvas), label) };
    });
    return {
      element: h("div", { class: "ls-panes" }, ...panes.map((pane) => pane.figure)),
      draw(at, total) {
        for (const { name, canvas, how } of panes) {
          const image = context.record.picture(context.index, name, context.how);
          if (canvas.width !== image.width || canvas.height !== image.height) [canvas.width, canvas.height] = [image.width, image.height];
          canvas.getContext("2d").putImageData(image, 0, 0);
          canvas.classList.toggle("ls-pixels", context.how === "channels");
          how.textContent = say(`how.${context.how}`);
          canvas.setAttribute("aria-label", `${say(`pane.${name}`)}, ${say("evaluation", { index: context.index + 1, total })}`);
        }
      },
    };
  },
});

/* The chapters of the tab Learn: what each lights in the drawing and shows below it. */

// `lights`: parts of the machine; the first of them opens this chapter. `panels`: figures that are panels of the viewer, in
// its `mode`. `figures`: those of the tab itself, below the panels; `before`: those above. `start`: the share of the run at
// which it opens. `more`: what the noise viewer opens.
export const CHAPTERS = [
  { name: "why", lights: ["steps", "output"], panels: ["timeline"], figures: ["kinds"] },
  { name: "forward", lights: ["noising", "latents", "picture"], panels: ["forward"], more: "forward" },
  {
    name: "reverse",
    lights: ["noise", "steps", "unet", "clean"],
    panels: ["timeline", "panes"],
    mode: "beginner",
    figures: ["steps"],
    start: 0,
    more: "panes",
  },
  { name: "unet", lights: ["unet", "time"], panels: ["architecture"], more: "architecture" },
  {
    name: "latent",
    lights: ["latents", "noise", "clean"],
    panels: ["timeline", "latent"],
    figures: ["cost"],
    more: "latent",
  },
  { name: "vae", lights: ["encoder", "decoder", "picture", "output"], panels: ["vae"], more: "vae" },
  {
    name: "training",
    lights: ["time", "unet", "noising"],
    before: ["objectives", "guess"],
    panels: ["forward"],
    more: "forward",
  },
  {
    name: "words",
    lights: ["attention", "prompt", "text_encoder"],
    panels: ["timeline", "attention"],
    figures: ["without"],
    more: "words",
  },
  { name: "guidance", lights: ["guidance", "unet"], panels: ["timeline", "guidance"], more: "guidance" },
  {
    name: "others",
    lights: ["picture", "encoder", "noise"],
    panels: [],
    figures: ["begin", "mask", "map"],
    more: "forward",
  },
  // Beside the ten chapters, which have numbers
  { name: "plane", lights: ["noise", "steps", "clean"], panels: [], figures: ["plane"], more: "schedules" },
  { name: "whole", lights: [], panels: [], figures: ["whole"] },
];
export const NUMBERED = CHAPTERS.length - 2; // the first ones
export const START = 0.4; // the share of the run at which a chapter opens: shapes are there, and noise is left
export const ALONE = ["architecture", "forward", "vae"]; // panels that need no run
// Where each part of the machine leads
export const CHAPTER_OF = {
  picture: "others",
  encoder: "vae",
  latents: "latent",
  noising: "forward",
  noise: "reverse",
  unet: "unet",
  time: "training",
  attention: "words",
  steps: "reverse",
  prompt: "words",
  text_encoder: "words",
  guidance: "guidance",
  clean: "latent",
  decoder: "vae",
  output: "why",
};

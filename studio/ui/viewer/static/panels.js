/* Every panel of the noise viewer. A page's props name the panels that it shows, in their order. */

import { panel as architecture } from "./architecture.js";
import { panel as attention } from "./attention.js";
import { panel as branches } from "./branches.js";
import { panel as equation } from "./equation.js";
import { panel as exporting } from "./export.js";
import { panel as forward } from "./forward.js";
import { panel as guidance } from "./guidance.js";
import { panel as latent } from "./latent.js";
import { panel as machine } from "./machine_panel.js";
import { panel as numbers } from "./numbers.js";
import { panel as panes } from "./panes.js";
import { panel as runs } from "./runs.js";
import { panel as schedule } from "./schedule.js";
import { panel as schedules } from "./schedules.js";
import { panel as timeline } from "./timeline.js";
import { panel as trajectories } from "./trajectories.js";
import { panel as vae } from "./vae.js";
import { panel as weights } from "./weights.js";
import { panel as words } from "./words.js";

export const PANELS = [
  architecture,
  attention,
  branches,
  equation,
  exporting,
  forward,
  guidance,
  latent,
  machine,
  numbers,
  panes,
  runs,
  schedule,
  schedules,
  timeline,
  trajectories,
  vae,
  weights,
  words,
];

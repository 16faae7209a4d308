/* What the blocks of the page know of each other. */

/** `toViewerAt`: when a stage last opened the noise viewer (ms, performance.now()). `showPanel(name)`: opens a panel of the
    noise viewer; null until the viewer is there. */
export const journey = { toViewerAt: Number.NEGATIVE_INFINITY, showPanel: null };

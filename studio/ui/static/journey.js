/* What the blocks of the page know of each other. */

/** `toViewerAt`: when a stage last opened the noise viewer (ms, performance.now()). `request`: what another tab wants to see
    in it, {panel, record, index}, until the viewer is in sight; `record` is a Record, or null for the run that is there. */
export const journey = { toViewerAt: Number.NEGATIVE_INFINITY, request: null };

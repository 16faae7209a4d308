/* What the blocks of the page know of each other. */

/** `toViewerAt`: when a stage last opened the noise viewer (ms, performance.now()). */
export const journey = { toViewerAt: Number.NEGATIVE_INFINITY };

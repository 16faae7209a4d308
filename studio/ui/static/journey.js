/* What one block of the page has to know of another. */

/** `sentToViewer`: when a stage last sent somebody to the noise viewer (ms, `performance.now`). */
export const journey = { sentToViewer: Number.NEGATIVE_INFINITY };

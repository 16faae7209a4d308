/* What a run has to wait for: an upload, a mask that is being encoded, fields that are being restored. */

const { latentStudio } = window;

/** A run that is asked for meanwhile waits until this promise is settled. Returns the promise. */
export const holdRuns = (promise) => latentStudio.holdRuns(promise);

/** Whether a run has to wait. */
export const busy = () => latentStudio.busy();

/** Resolves when there is nothing to wait for. */
export const free = () => latentStudio.free();

/* What a run has to wait for: a picture that is still being sent, a mask that is being made, fields that come back. */

const { latentStudio } = window;

/** A run that is asked for meanwhile waits until this promise has ended. Answers the promise. */
export const during = (promise) => latentStudio.during(promise);

/** Whether a run has to wait. */
export const busy = () => latentStudio.busy();

/** Resolved once nothing is waited for. */
export const free = () => latentStudio.free();

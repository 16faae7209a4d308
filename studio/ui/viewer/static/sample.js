/* The recorded run that a first visit sees: the page's own files, so that the studio is not asked for it. */

import { Record } from "./record.js";

/** The sample's Record, with its finished picture as a file. `sample`: the addresses of its `record` and its `picture`. Throws
    an error where one is not there. */
export async function sampleRecord(sample) {
  const [recording, picture] = await Promise.all([sample.record, sample.picture].map(fetchFile));
  const record = new Record("sample", 0);
  record.take(await recording.arrayBuffer());
  record.isSample = true;
  record.file = new File([await picture.blob()], "sample.png", { type: "image/png" });
  return record;
}

async function fetchFile(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(String(answer.status));
  return answer;
}

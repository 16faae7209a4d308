/* A picture from the camera, as a file that goes the way of an upload. Where the browser has no camera to offer (no
   device, or a page that is not served from this machine or by https) there is no button. */

import { h } from "../../static/elements.js";
import { give } from "./picture.js";

export function camera({ element, props }) {
  const LONGEST = 2048; // pixels of the picture's longer side: a larger one is made smaller before it is sent
  const devices = navigator.mediaDevices;
  if (!devices?.getUserMedia || !devices.enumerateDevices) return;
  const word = (key) => props.words[key];

  const open = h("button", { class: "ls-button ls-camera-open", type: "button", onclick: begin }, word("open"));
  const video = h("video", { class: "ls-camera-video", muted: true, playsinline: true, "aria-label": word("label") });
  const note = h("p", { class: "ls-camera-note", role: "status" });
  const take = h("button", { class: "ls-button", type: "button", onclick: shoot, disabled: true }, word("take"));
  const away = h("button", { class: "ls-button", type: "button", onclick: () => dialog.close() }, word("cancel"));
  const dialog = h(
    "dialog",
    { class: "ls-camera", "aria-label": word("label") },
    video,
    note,
    h("div", { class: "ls-camera-tools" }, take, away),
  );
  video.muted = true; // the attribute alone does not count for an element that a script has made
  let stream = null;

  const look = async () => {
    const devicesHere = await devices.enumerateDevices().catch(() => []);
    if (devicesHere.some((device) => device.kind === "videoinput")) element.replaceChildren(open, dialog);
    else if (!dialog.open) element.replaceChildren();
  };
  devices.addEventListener("devicechange", look);
  look();

  async function begin() {
    note.textContent = word("waiting");
    take.disabled = true;
    dialog.showModal();
    try {
      const got = await devices.getUserMedia({
        video: { width: { ideal: LONGEST }, facingMode: "environment" },
        audio: false,
      });
      if (!dialog.open) return stop(got); // closed while the visitor was asked
      stream = got;
      video.srcObject = stream;
      await video.play();
      note.textContent = "";
      take.disabled = false;
      take.focus();
    } catch (error) {
      note.textContent = word(error.name === "NotAllowedError" ? "refused" : "failed");
    }
  }

  const stop = (one) => one?.getTracks().forEach((track) => track.stop());
  dialog.addEventListener("close", () => {
    stop(stream);
    stream = video.srcObject = null;
  });

  function shoot() {
    const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
    const canvas = h("canvas", {});
    canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
    canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => {
      if (blob) give(props.field, new File([blob], "camera.png", { type: "image/png" }));
      dialog.close();
    }, "image/png");
  }
}

/* Takes a picture with the camera; it becomes a file and follows the path of an upload. There is no button without a
   device. A page that comes neither from this machine nor by https gets no camera from the browser: there the button
   opens a phone's own camera app, or a choice of files, and says why. */

import { h } from "../../static/elements.js";
import { give } from "./picture.js";

export function camera({ element, props }) {
  const LONGEST = 2048; // pixels of the picture's longer side; a larger picture is reduced before it is sent
  const devices = navigator.mediaDevices;
  if (!window.isSecureContext) return element.replaceChildren(...withoutCamera(props));
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
  video.muted = true; // for an element made by a script the attribute alone has no effect
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
      const newStream = await devices.getUserMedia({
        video: { width: { ideal: LONGEST }, facingMode: "environment" },
        audio: false,
      });
      if (!dialog.open) return stop(newStream); // the dialog was closed while the browser asked for permission
      stream = newStream;
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

function withoutCamera({ words, field }) {
  const file = h("input", { type: "file", accept: "image/*", capture: "environment", hidden: true });
  const note = h("p", { class: "ls-camera-note", role: "status" });
  file.addEventListener("change", () => {
    if (file.files[0]) give(field, file.files[0]);
    file.value = "";
  });
  const choose = () => {
    note.textContent = words.insecure;
    file.click();
  };
  return [h("button", { class: "ls-button ls-camera-open", type: "button", onclick: choose }, words.open), note, file];
}

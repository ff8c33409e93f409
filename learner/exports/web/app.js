"use strict";
/* Opens the model, checks it on its own photos, and then looks at pictures and through the camera. */

const MOST_DIFFERENCE = 0.001;
const MOST_BARS = 5;
const MOST_SIDE = 4096; // larger pictures are made smaller first: phones refuse larger canvases
const about = window.thawAbout;
const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const nextFrame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
let session = null;
let stream = null;
let newest = 0; // of the pictures that were handed in; an answer to an older one is not shown

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/* The value that a script sets, which is forgotten here so that its memory can be freed. */
function load(file, name) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = file;
    script.onload = () => {
      const value = window[name];
      if (name !== "ort") delete window[name];
      script.remove();
      done(value);
    };
    script.onerror = () => failed(new Error(`${file} is missing. Keep the folder as it was, or unpack the zip first.`));
    document.head.append(script);
  });
}

async function open() {
  const ort = await load("runtime/ort.wasm.min.js", "ort");
  const loader = bytesOf(await load("runtime/loader.js", "thawLoader"));
  ort.env.wasm.numThreads = 1; // more need headers that only a server can send
  ort.env.wasm.wasmBinary = bytesOf(await load("runtime/wasm.js", "thawWasm"));
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([loader], { type: "text/javascript" })) };
  const model = bytesOf(await load("model.js", "thawModel"));
  await nextFrame();
  session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
}

/* Draw it upright on white and read its pixels back; transparency is laid on white. */
function pixelsOf(source, width, height, canvas) {
  const scale = Math.min(1, MOST_SIDE / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return squish(data, canvas.width, canvas.height, about.image_size);
}

async function pixelsOfFile(blob, canvas) {
  const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  try {
    return pixelsOf(bitmap, bitmap.width, bitmap.height, canvas);
  } finally {
    bitmap.close();
  }
}

async function predict(pixels) {
  const size = about.image_size;
  const began = performance.now();
  const answer = await session.run({ pixels: new ort.Tensor("uint8", pixels, [1, size, size, 3]) });
  return {
    probs: Array.from(answer.probabilities.data),
    distance: answer.distance.data[0],
    none: Boolean(answer.none_of_these.data[0]),
    milliseconds: performance.now() - began,
  };
}

/* Predict the photos that travel with the model; throws when an answer is not what it must be. */
async function check() {
  const photos = [];
  let largest = 0;
  for (const photo of about.golden) {
    const blob = new Blob([bytesOf(photo.png)], { type: "image/png" });
    const answer = await predict(await pixelsOfFile(blob, document.createElement("canvas")));
    const difference = Math.max(...answer.probs.map((prob, i) => Math.abs(prob - photo.probs[i])));
    photos.push({ file: photo.file, probs: answer.probs, distance: answer.distance, none: answer.none });
    if (!(difference <= MOST_DIFFERENCE))
      throw new Error(
        `This page does not predict here: on ${photo.file} (${photo.label}) a probability differs by ` +
          `${difference.toFixed(4)} from what it must be. Some privacy settings change what a page reads from ` +
          "pictures; allow it to read canvases, or open it in another browser."
      );
    largest = Math.max(largest, difference);
    await nextFrame();
  }
  return { photos, largest };
}

function tell(text, kind) {
  element("check").textContent = text;
  element("check").className = kind;
}

function show(answer) {
  const order = answer.probs.map((_, i) => i).sort((a, b) => answer.probs[b] - answer.probs[a]);
  const best = order[0];
  element("answer").classList.toggle("stranger", answer.none);
  element("verdict").textContent = answer.none
    ? "None of these"
    : `${about.classes[best]}, ${percent(answer.probs[best])}`;
  element("reason").textContent = answer.none
    ? `It is unlike the photos that the model learnt from. If it had to be one of them: ${about.classes[best]}.`
    : "";
  element("bars").replaceChildren(
    ...order.slice(0, MOST_BARS).map((i) => {
      const row = document.createElement("li");
      const name = document.createElement("span");
      const figure = document.createElement("span");
      const bar = document.createElement("meter");
      name.textContent = about.classes[i];
      figure.textContent = percent(answer.probs[i]);
      figure.className = "figure";
      bar.value = answer.probs[i];
      bar.ariaLabel = `Probability of ${about.classes[i]}`;
      row.append(name, figure, bar);
      return row;
    })
  );
  const hidden = order.length - MOST_BARS;
  const rest = hidden > 0 ? ` ${hidden} less probable ${hidden === 1 ? "class is" : "classes are"} not shown.` : "";
  element("time").textContent = `Looked at in ${Math.round(answer.milliseconds)} ms.${rest}`;
}

function showNothing(text) {
  element("answer").classList.remove("stranger");
  element("verdict").textContent = text;
  element("reason").textContent = element("time").textContent = "";
  element("bars").replaceChildren();
}

function showInFrame(id) {
  for (const name of ["empty", "shown", "camera"]) element(name).hidden = name !== id;
  element("frame").classList.toggle("full", id !== "empty");
}

async function look(file) {
  if (!session) return;
  stopCamera();
  const number = ++newest;
  showNothing("Looking…");
  await nextFrame();
  let pixels;
  try {
    pixels = await pixelsOfFile(file, element("shown"));
  } catch {
    showInFrame("empty");
    showNothing(`${file.name || "That"} is no picture that this browser can read. Save it as JPEG or PNG.`);
    return;
  }
  showInFrame("shown");
  await nextFrame();
  const answer = await predict(pixels);
  if (number === newest) show(answer);
}

const CAMERA_TROUBLE = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser's settings, then start it again.",
  NotFoundError: "No camera was found. Connect one, or choose a picture.",
  NotReadableError: "The camera cannot be opened; another program may be using it. Close that, then start it again.",
};

async function startCamera() {
  showNothing("Waiting for the camera. The browser may ask whether this page may use it.");
  element("toggle").disabled = true;
  const number = ++newest;
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "NotFoundError");
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    element("camera").srcObject = stream;
    await element("camera").play();
  } catch (error) {
    stopCamera();
    showNothing(CAMERA_TROUBLE[error.name] || `The camera cannot be used (${error.name}). Choose a picture.`);
    return;
  } finally {
    element("toggle").disabled = false;
  }
  element("toggle").textContent = "Stop the camera";
  showInFrame("camera");
  const canvas = document.createElement("canvas");
  const video = element("camera");
  while (stream && number === newest) {
    const answer = await predict(pixelsOf(video, video.videoWidth, video.videoHeight, canvas));
    if (stream && number === newest) show(answer);
    await nextFrame();
    // A large model keeps the page from hearing anything else while it looks.
    await new Promise((done) => setTimeout(done, Math.min(answer.milliseconds / 3, 300)));
  }
}

function stopCamera() {
  if (stream) for (const track of stream.getTracks()) track.stop();
  stream = null;
  newest++;
  element("camera").srcObject = null;
  element("toggle").textContent = "Start the camera";
  if (!element("camera").hidden) {
    showInFrame("empty");
    showNothing("No picture yet.");
  }
}

function listen() {
  element("file").addEventListener("change", (event) => {
    if (event.target.files[0]) look(event.target.files[0]);
    event.target.value = "";
  });
  element("toggle").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) look(file);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    element("frame").classList.add("over");
  });
  document.addEventListener("dragleave", () => element("frame").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    element("frame").classList.remove("over");
    if (event.dataTransfer.files[0]) look(event.dataTransfer.files[0]);
  });
}

function describe() {
  const { classes } = about;
  const few = classes.length <= 4;
  const title = few
    ? `${classes.slice(0, -1).join(", ")}${classes.length > 1 ? " or " : ""}${classes.at(-1)}?`
    : `Which of ${classes.length} classes?`;
  element("title").textContent = document.title = title;
  element("classes").textContent = few
    ? "Show it a picture, and it says what is on it."
    : `It knows ${classes.slice(0, 12).join(", ")}${classes.length > 12 ? ` and ${classes.length - 12} more` : ""}.`;
  element("coverage").textContent =
    about.threshold === null
      ? "This model always names one of its classes, whatever the picture shows."
      : `“None of these” is said of pictures that are unlike those the model learnt from. Of pictures like those it ` +
        `was tested with, ${Number((100 * about.coverage).toFixed(1))} % are still answered.`;
}

async function begin() {
  const report = document.documentElement.dataset;
  try {
    describe();
    await open();
    const { photos, largest } = await check();
    const figure = largest < 0.00001 ? "less than 0.00001" : largest.toFixed(5).replace(/0+$/, "");
    const many = photos.length === 1 ? "1 photo gives the same answer" : `${photos.length} photos give the same answers`;
    tell(`Checked: ${many} as where it was trained, largest difference ${figure}.`, "good");
    element("file").disabled = element("toggle").disabled = false;
    listen();
    report.check = JSON.stringify({ photos });
  } catch (error) {
    session = null;
    tell(error.message, "failed");
    showNothing("It cannot look at pictures here.");
    report.check = JSON.stringify({ error: error.message });
  }
}

begin();

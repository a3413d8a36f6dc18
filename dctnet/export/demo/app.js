import * as ort from "./runtime/ort.wasm.min.mjs";

const find = id => document.getElementById(id);
const say = text => { find("status").textContent = text; };
ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that a plain web server does not send

let card, session;

function crop(bitmap) {
  const size = card.image_size, side = Math.min(bitmap.width, bitmap.height) * card.crop_fraction;
  const canvas = find("seen");
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // behind transparent pixels
  context.fillRect(0, 0, size, size);
  context.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, size, size);
  const {data} = context.getImageData(0, 0, size, size);
  const planes = new Uint8Array(3 * size * size);
  for (let pixel = 0; pixel < size * size; pixel++) {
    for (let colour = 0; colour < 3; colour++) planes[colour * size * size + pixel] = data[4 * pixel + colour];
  }
  return new ort.Tensor("uint8", planes, [1, 3, size, size]);
}

function softmax(logits) {
  const largest = Math.max(...logits), powers = logits.map(each => Math.exp(each - largest));
  const total = powers.reduce((sum, each) => sum + each, 0);
  return powers.map(each => each / total);
}

function show(probabilities) {
  const best = probabilities.map((p, i) => [p, card.classes[i]]).sort((a, b) => b[0] - a[0]).slice(0, 5);
  find("classes").replaceChildren(...best.map(([p, name]) => {
    const item = document.createElement("li"), line = document.createElement("span"), bar = document.createElement("div");
    for (const text of [name, `${(100 * p).toFixed(1)} %`]) {
      line.append(Object.assign(document.createElement("span"), {textContent: text}));
    }
    bar.className = "bar";
    bar.append(Object.assign(document.createElement("i"), {style: `width: ${100 * p}%`}));
    item.append(line, bar);
    item.dataset.probability = p;
    item.dataset.name = name;
    return item;
  }));
}

async function classify(file) {
  if (!session) return say("The network is still being loaded.");
  say("Reading …");
  find("found").hidden = true;
  try {
    const input = crop(await createImageBitmap(file)); // upright, by EXIF
    const started = performance.now();
    const {logits} = await session.run({pixels: input});
    const spent = performance.now() - started;
    show(softmax(Array.from(logits.data)));
    find("found").hidden = false;
    say(`Classified in ${spent.toFixed(0)} ms in this browser.`);
  } catch (error) {
    say(`${file.name}: not an image that this browser reads (${error.message})`);
  }
}

find("file").addEventListener("change", event => event.target.files[0] && classify(event.target.files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, event => { // anywhere: elsewhere on the page, a browser would open the file instead
    event.preventDefault();
    find("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) classify(event.dataTransfer.files[0]);
  });
}

try {
  card = await (await fetch("model.json")).json();
  session = await ort.InferenceSession.create("model.onnx", {executionProviders: ["wasm"]});
  const reads = card.channels === null ? "RGB" : `${card.channels.length} of 192 frequency channels`;
  find("network").textContent = `${card.backbone} on ${reads}, ${card.classes.length} classes, ${card.image_size} px`
    + (card.accuracy === null ? "" : `, ${(100 * card.accuracy.top1).toFixed(1)} % on ${card.accuracy.images} photographs`)
    + (card.int8 ? ", 8-bit weights" : "");
  say("Ready.");
} catch (error) {
  say(`The network cannot be loaded: ${error.message}. Serve this folder: python -m http.server`);
}

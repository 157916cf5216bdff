// The field for a picture: draw on it, or choose, drop or click a photograph and drag a frame.
// What is asked about becomes the component's value, a data URL of at most LARGEST pixels a side.
const LARGEST = 1024, LARGEST_FILE = 20e6, PEN = 16, MARGIN = 24, PAUSE = 500;
const canvas = element.querySelector("canvas"), ink = canvas.getContext("2d");
const BLANK = [canvas.width, canvas.height];
let photo, area, start, timer; // the photograph; what is asked about; where the pointer went down

function ask(value) {
  clearTimeout(timer);
  props.value = value;
}

function clear() {
  photo = area = undefined;
  [canvas.width, canvas.height] = BLANK;
  ink.fillStyle = "#f4f3ee";
  ink.fillRect(0, 0, canvas.width, canvas.height);
  ink.strokeStyle = "#23282d";
  ink.lineWidth = PEN;
  ink.lineCap = ink.lineJoin = "round";
  ask("");
}

// A part of the canvas as a picture of its own; photographs are cut with all their pixels.
function cut({ left, top, right, bottom }) {
  const scale = photo ? photo.width / canvas.width : 1;
  const [width, height] = [(right - left) * scale, (bottom - top) * scale];
  const shrink = Math.min(1, LARGEST / Math.max(width, height));
  const part = document.createElement("canvas");
  part.width = Math.max(1, Math.round(width * shrink));
  part.height = Math.max(1, Math.round(height * shrink));
  const place = [left * scale, top * scale, width, height];
  part.getContext("2d").drawImage(photo || canvas, ...place, 0, 0, part.width, part.height);
  return photo ? part.toDataURL("image/jpeg", 0.92) : part.toDataURL("image/png");
}

function show(picture) {
  clear();
  photo = picture;
  const scale = Math.min(960 / photo.width, 960 / photo.height);
  canvas.width = Math.max(1, Math.round(photo.width * scale));
  canvas.height = Math.max(1, Math.round(photo.height * scale));
  ink.drawImage(photo, 0, 0, canvas.width, canvas.height);
  ask(cut({ left: 0, top: 0, right: canvas.width, bottom: canvas.height }));
}

async function open(file) {
  if (!file) return;
  if (file.size > LARGEST_FILE) return ask("large");
  try {
    show(await createImageBitmap(file)); // turned upright, as the camera noted
  } catch {
    clear();
    ask("broken");
  }
}

function at(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * canvas.width) / box.width,
    y: ((event.clientY - box.top) * canvas.height) / box.height,
  };
}

function around(a, b, margin) {
  return {
    left: Math.max(0, Math.min(a.x, b.x) - margin),
    top: Math.max(0, Math.min(a.y, b.y) - margin),
    right: Math.min(canvas.width, Math.max(a.x, b.x) + margin),
    bottom: Math.min(canvas.height, Math.max(a.y, b.y) + margin),
  };
}

function draw(from, to) {
  ink.beginPath();
  ink.moveTo(from.x, from.y);
  ink.lineTo(to.x, to.y);
  ink.stroke();
  const dab = around(from, to, MARGIN), old = area || dab;
  area = {
    left: Math.min(old.left, dab.left),
    top: Math.min(old.top, dab.top),
    right: Math.max(old.right, dab.right),
    bottom: Math.max(old.bottom, dab.bottom),
  };
}

function frame({ left, top, right, bottom }) {
  ink.drawImage(photo, 0, 0, canvas.width, canvas.height);
  ink.fillStyle = "rgb(0 0 0 / 45%)";
  ink.fillRect(0, 0, canvas.width, top);
  ink.fillRect(0, bottom, canvas.width, canvas.height - bottom);
  ink.fillRect(0, top, left, bottom - top);
  ink.fillRect(right, top, canvas.width - right, bottom - top);
}

canvas.addEventListener("pointerdown", (event) => {
  clearTimeout(timer);
  canvas.setPointerCapture(event.pointerId);
  start = at(event);
  if (photo) {
    area = undefined; // until another frame is dragged
  } else {
    draw(start, start);
  }
});
canvas.addEventListener("pointermove", (event) => {
  if (!start) return;
  const place = at(event);
  if (photo) {
    frame((area = around(start, place, 0)));
  } else {
    draw(start, place);
    start = place;
  }
});
canvas.addEventListener("pointerup", () => {
  if (!start) return;
  start = undefined;
  if (!photo) {
    timer = setTimeout(() => ask(cut(area)), PAUSE); // another stroke may follow
  } else if (area && area.right - area.left > 8 && area.bottom - area.top > 8) {
    ask(cut(area));
  } else {
    show(photo);
  }
});
canvas.addEventListener("pointercancel", () => (start = undefined));

element.querySelector("input").addEventListener("change", (event) => {
  open(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
element.addEventListener("dragstart", (event) => event.preventDefault()); // of selected text
element.addEventListener("dragover", (event) => event.preventDefault());
element.addEventListener("drop", (event) => {
  event.preventDefault();
  open(event.dataTransfer.files[0]);
});
element.querySelector(".clear").addEventListener("click", clear);
for (const sample of element.querySelectorAll(".sample")) {
  sample.addEventListener("click", async () => show(await createImageBitmap(sample.firstChild)));
}
clear();

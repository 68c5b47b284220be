
const content = JSON.parse(document.getElementById("content").textContent);
const STEPS = 9; // images of an interpolation
const NO_LABEL = 65535;
const dark = matchMedia("(prefers-color-scheme: dark)");
const element = (id) => document.getElementById(id);

function make(tag, parent, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  parent.append(made);
  return made;
}

// --- what the page was given ---------------------------------------------------------------------------------------

const sets = content.images.map((described) => ({
  ...described,
  labels: numbersOf(described.labels, "uint16"),
  levels: null, // [count][height * width * shown channels], once the picture is read
}));

const models = content.models.map((described, number) => {
  const dims = described.latent_dim;
  const codes = numbersOf(described.codes, "float16");
  return {
    ...described,
    number,
    dims,
    codes,
    count: codes.length / dims,
    labels: numbersOf(described.labels, "uint16"),
    set: sets[described.images],
    decode: described.decoder && decoderOf(described.decoder),
    tiles: null, // of a decoder that is not here: levels on a grid
  };
});

const widest = Math.max(...models.map((model) => model.dims));
const [first] = models;
const several = models.length > 1;
// Whether every model has these dimensions: one that all can move along is the better plane to begin with.
const everyone = (plane) => models.every((model) => model.dims === 1 || Math.max(...plane) < model.dims);
const state = {
  set: Float64Array.from({ length: widest }, (_, k) => first.centre[k] ?? 0), // the point, as it was set
  peek: null, // where the pointer looks
  mark: null, // where an interpolation begins
  plane: everyone(first.plane) ? [...first.plane] : [0, 1],
  hidden: new Set(),
};

// Levels [count][values] of images side by side in one picture.
async function levelsOf(sheet, [height, width]) {
  const image = new Image();
  image.src = sheet.png;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return Array.from({ length: sheet.count }, (_, i) => {
    const x = (i % sheet.columns) * width, y = Math.floor(i / sheet.columns) * height;
    const { data } = context.getImageData(x, y, width, height);
    const levels = new Uint8Array(height * width * sheet.channels);
    for (let p = 0; p < height * width; p++) {
      for (let c = 0; c < sheet.channels; c++) levels[p * sheet.channels + c] = data[4 * p + c];
    }
    return levels;
  });
}

// --- latents -------------------------------------------------------------------------------------------------------

// The plane's two dimensions in this model; null stands for none.
function planeOf(model) {
  if (model.dims === 1) return [0, null];
  const fixed = !model.decode || Math.max(...state.plane) >= model.dims;
  return fixed ? model.plane : state.plane;
}

// The model's own part of a point, on its sphere where it has one.
function latent(model, point) {
  const z = point.slice(0, model.dims);
  return model.space === "sphere" ? onSphere(model, z) : z;
}

function onSphere(model, z) {
  const length = Math.hypot(...z);
  return length < 1e-6 ? Float64Array.from(model.centre) : z.map((value) => value / length);
}

// The point with some of its dimensions at new values. On a sphere the others make room for them.
function moved(model, point, values) {
  const next = point.slice();
  for (const [dim, value] of values) next[dim] = value;
  if (model.space !== "sphere") return next;
  const given = new Map(values);
  let taken = Math.hypot(...given.values());
  if (taken > 1) for (const [dim, value] of given) next[dim] = value / taken;
  taken = Math.min(1, taken);
  const others = Array.from({ length: model.dims }, (_, k) => k).filter((k) => !given.has(k));
  const left = Math.hypot(...others.map((k) => next[k]));
  const room = Math.sqrt(1 - taken * taken);
  for (const k of others) next[k] = left > 1e-9 ? (next[k] * room) / left : room / Math.sqrt(others.length);
  if (others.length === 0 && taken < 1) next.set(onSphere(model, next.slice(0, model.dims)));
  return next;
}

// Latents on the way from a to b, along a great circle on a sphere.
function between(model, a, b, share) {
  if (model.space !== "sphere") return a.map((value, k) => value * (1 - share) + b[k] * share);
  const apart = 2 * Math.atan2(Math.hypot(...a.map((v, k) => v - b[k])), Math.hypot(...a.map((v, k) => v + b[k])));
  const across = (axis) => {
    const along = axis.reduce((sum, value, k) => sum + value * a[k], 0);
    return axis.map((value, k) => value - a[k] * along);
  };
  let side = across(b);
  if (Math.hypot(...side) < 1e-12) {
    const least = a.reduce((best, value, k) => (Math.abs(value) < Math.abs(a[best]) ? k : best), 0);
    side = across(a.map((_, k) => (k === least ? 1 : 0)));
  }
  const length = Math.hypot(...side);
  return a.map((value, k) => Math.cos(share * apart) * value + (Math.sin(share * apart) * side[k]) / length);
}

// The middle of a class's codes; of everything, the prior's own.
function middle(model, label) {
  if (label === null) return Float64Array.from(model.centre);
  const sum = new Float64Array(model.dims);
  let count = 0;
  for (let i = 0; i < model.count; i++) {
    if (model.labels[i] !== label) continue;
    count++;
    for (let k = 0; k < model.dims; k++) sum[k] += model.codes[i * model.dims + k];
  }
  return count ? latent(model, sum.map((value) => value / count)) : null;
}

// How far the plane reaches: all but a few of the codes, and at least what a prior's draws do.
function reachOf(model) {
  if (model.space === "sphere") return 1.1;
  if (model.grid) return model.grid.reach;
  const sizes = [];
  for (const dim of planeOf(model)) {
    if (dim === null) continue;
    for (let i = 0; i < model.count; i++) sizes.push(Math.abs(model.codes[i * model.dims + dim]));
  }
  sizes.sort((a, b) => a - b);
  return Math.max(3, 1.06 * (sizes[Math.floor(0.998 * (sizes.length - 1))] || 0));
}

// --- images --------------------------------------------------------------------------------------------------------

// A picture's levels as they are shown: one channel, or three.
function levelsAt(model, z) {
  if (!model.decode) return tileAt(model, z);
  const image = model.decode(z);
  const channels = model.set.shape[2];
  const levels = new Uint8Array(channels === 3 ? image.length : image.length / channels);
  if (channels === 1 || channels === 3) {
    for (let i = 0; i < image.length; i++) levels[i] = Math.round(255 * image[i]);
    return levels;
  }
  for (let p = 0; p < levels.length; p++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += Math.round(255 * image[p * channels + c]);
    levels[p] = Math.floor(sum / channels);
  }
  return levels;
}

function tileAt(model, z) {
  if (!model.tiles) return null;
  const { reach, columns, rows } = model.grid;
  const [across, up] = planeOf(model);
  const cell = (value, count) => Math.min(count - 1, Math.max(0, Math.round(((value / reach + 1) / 2) * (count - 1))));
  return model.tiles[(up === null ? 0 : cell(z[up], rows)) * columns + cell(z[across], columns)];
}

function nearest(set, levels) {
  if (!set.levels) return null;
  let best = Infinity, found = 0;
  for (let i = 0; i < set.levels.length; i++) {
    const other = set.levels[i];
    let sum = 0;
    for (let k = 0; k < levels.length && sum < best; k++) {
      const off = levels[k] - other[k];
      sum += off * off;
    }
    if (sum < best) [best, found] = [sum, i];
  }
  return { row: found, off: Math.sqrt(best / levels.length) / 255 };
}

function paint(context, levels, [height, width], x = 0) {
  const image = context.createImageData(width, height);
  const channels = levels.length / (height * width);
  for (let p = 0; p < height * width; p++) {
    for (let c = 0; c < 3; c++) image.data[4 * p + c] = levels[p * channels + (channels === 3 ? c : 0)];
    image.data[4 * p + 3] = 255;
  }
  context.putImageData(image, x, 0);
}

// --- the parts of the page -----------------------------------------------------------------------------------------

const colourOf = (() => {
  const known = new Map();
  return (set, label) => {
    if (label === NO_LABEL) return getComputedStyle(document.body).getPropertyValue("--nobody");
    const { colour } = set.classes[label];
    if (!dark.matches) return colour;
    if (!known.has(colour)) {
      const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
      const light = (0.3 * parts[0] + 0.59 * parts[1] + 0.11 * parts[2]) / 255;
      const share = Math.max(0, 0.58 - light) * 0.9; // of white: dark colours on dark paper would not be seen
      known.set(colour, `rgb(${parts.map((part) => Math.round(part + (255 - part) * share)).join(" ")})`);
    }
    return known.get(colour);
  };
})();

const nameOf = (set, label) => (label === NO_LABEL ? "no class" : set.classes[label].name);
const number = (value, decimals = 2) => value.toFixed(decimals).replace("-", "\u2212");

// Of several models the pictures stand together, apart from the planes: they are what is compared.
function build(model) {
  const [height, width, channels] = model.set.shape;
  const card = make("article", element("models"), { className: "model" });
  const shown = several ? make("article", element("pictures"), { className: "shown" }) : card;
  const head = make("header", shown);
  make("h2", head, { textContent: several ? model.name : "", title: model.name });
  make("p", head, { className: "about", textContent: model.note });
  if (several) make("p", card, { className: "about", textContent: model.name });
  if (!model.decode) {
    make("p", card, { className: "warning", textContent:
      `This model's decoder does not run in this page: ${model.why}. Its picture is the nearest of ` +
      `${model.grid.rows * model.grid.columns} that were decoded when the page was made.` });
  }
  const left = make("div", card);
  const plane = make("canvas", left, { className: "plane", tabIndex: 0 });
  plane.classList.toggle("line", model.dims === 1);
  plane.setAttribute("role", "application");
  plane.setAttribute("aria-roledescription", "latent plane");
  const where = make("p", left, { className: "where" });
  const right = make("div", card);
  const pair = make("div", several ? make("div", shown, { className: "holder" }) : right, { className: "pair" });
  const picture = (caption) => {
    const figure = make("figure", pair);
    const canvas = make("canvas", figure, { width, height, className: "framed" });
    canvas.setAttribute("role", "img");
    look(canvas);
    return { canvas, context: canvas.getContext("2d"), caption: make("figcaption", figure, { textContent: caption }) };
  };
  const look = (canvas) => {
    canvas.classList.toggle("inverted", model.set.inverted && channels !== 3);
    canvas.classList.toggle("small", Math.max(height, width) < 128);
  };
  const decoded = picture("Decoded");
  const neighbour = picture("Nearest training image");
  const way = make("figure", right, { className: "way empty" });
  const strip = make("canvas", way, { className: "strip framed", width: width * STEPS, height });
  strip.setAttribute("role", "img");
  look(strip);
  const said = make("figcaption", way);
  Object.assign(model, { surface: plane, context: plane.getContext("2d"), where, decoded, neighbour, points: null });
  Object.assign(model, { way: { figure: way, context: strip.getContext("2d"), canvas: strip, said, due: STEPS } });
  listen(model, plane);
}

// --- pointer and keys ----------------------------------------------------------------------------------------------

function listen(model, plane) {
  const at = (event) => {
    const box = plane.getBoundingClientRect();
    const reach = reachOf(model);
    const [across, up] = planeOf(model);
    const x = (((event.clientX - box.left) / box.width) * 2 - 1) * reach;
    const y = (1 - ((event.clientY - box.top) / box.height) * 2) * reach;
    return moved(model, state.set, up === null ? [[across, x]] : [[across, x], [up, y]]);
  };
  let pressed = null;
  plane.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    plane.setPointerCapture(event.pointerId);
    plane.focus({ preventScroll: true });
    pressed = { x: event.clientX, y: event.clientY, point: at(event), far: false };
    put(pressed.point);
    event.preventDefault();
  });
  plane.addEventListener("pointermove", (event) => {
    if (!pressed) {
      if (event.pointerType !== "touch") change({ peek: at(event) });
      return;
    }
    pressed.far ||= Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 6;
    if (pressed.far && state.mark !== pressed.point) state.mark = pressed.point;
    put(at(event));
  });
  const release = () => { pressed = null; };
  plane.addEventListener("pointerup", release);
  plane.addEventListener("pointercancel", release);
  plane.addEventListener("pointerleave", () => { if (!pressed) change({ peek: null }); });
  plane.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [across, up] = planeOf(model);
    const step = reachOf(model) * (event.shiftKey ? 0.1 : 0.02);
    const steps = { ArrowLeft: [across, -step], ArrowRight: [across, step], ArrowDown: [up, -step], ArrowUp: [up, step] };
    if (event.key in steps) {
      const [dim, by] = steps[event.key];
      const z = latent(model, state.set);
      const bound = (value) => Math.max(-reachOf(model), Math.min(reachOf(model), value));
      const values = [across, up].filter((k) => k !== null).map((k) => [k, k === dim ? bound(z[k] + by) : z[k]]);
      put(moved(model, state.set, values));
    } else if (event.key === "Home") {
      put(padded(middle(model, null)));
    } else if (event.key.toLowerCase() === "m") {
      toggleMark();
    } else if (event.key === "Escape") {
      change({ mark: null });
    } else if (/^\d$/.test(event.key)) {
      const { classes } = model.set;
      const named = classes.findIndex((each) => each.name === event.key);
      const to = middle(model, named >= 0 ? named : Number(event.key));
      if (to) put(padded(to));
    } else return;
    event.preventDefault();
  });
}

// A model's latent as a point of all: the dimensions that it has not stay as they are.
function padded(z) {
  const point = state.set.slice();
  point.set(z);
  return point;
}

const put = (point) => change({ set: point, peek: null });
const toggleMark = () => change({ mark: state.mark ? null : state.set.slice() });

function change(what) {
  Object.assign(state, what);
  if ("set" in what || "mark" in what) for (const model of models) model.way.due = 0;
  schedule();
}

// --- controls ------------------------------------------------------------------------------------------------------

const sliders = [];

function buildControls() {
  element("centre").addEventListener("click", () => put(padded(middle(first, null))));
  element("mark").addEventListener("click", toggleMark);
  element("mark").classList.add("act");
  const chips = document.querySelector("#classes .chips");
  const shown = [...new Map(sets.flatMap((set) => set.classes.map((each) => [each.name, set]))).keys()];
  element("classes").hidden = shown.length < 2;
  for (const name of shown) {
    const chip = make("button", chips, { type: "button", className: "chip" });
    const dot = make("i", chip);
    make("span", chip, { textContent: name, title: name });
    const set = sets.find((each) => each.classes.some((one) => one.name === name));
    chip.colour = () => { dot.style.background = colourOf(set, set.classes.findIndex((one) => one.name === name)); };
    chip.colour();
    chip.setAttribute("aria-pressed", "true");
    chip.addEventListener("click", () => {
      state.hidden[state.hidden.has(name) ? "delete" : "add"](name);
      chip.setAttribute("aria-pressed", String(!state.hidden.has(name)));
      redraw();
    });
  }
  const many = widest > 2;
  const choosable = many && models.some((model) => model.decode);
  element("axes").hidden = element("dims").hidden = !choosable;
  if (!choosable) return;
  ["across", "up"].forEach((id, axis) => {
    const select = element(id);
    for (let k = 0; k < widest; k++) make("option", select, { value: k, textContent: k + 1 });
    select.value = state.plane[axis];
    select.addEventListener("change", () => {
      const next = [...state.plane];
      next[axis] = Number(select.value);
      if (next[0] === next[1]) next[1 - axis] = state.plane[axis]; // the two change places
      state.plane = next;
      element("across").value = next[0];
      element("up").value = next[1];
      redraw();
    });
  });
  const order = [...first.order, ...Array.from({ length: widest }, (_, k) => k).slice(first.dims)];
  const reach = Math.max(...models.map((model) => (model.space === "sphere" ? 1 : Math.ceil(reachOf(model)))));
  const owner = models.find((model) => model.dims === widest);
  for (const k of order) {
    const label = make("label", document.querySelector(".sliders"));
    make("span", label, { textContent: k + 1, title: `latent dimension ${k + 1}` });
    const input = make("input", label, { type: "range", min: -reach, max: reach, step: reach / 100 });
    input.setAttribute("aria-label", `latent dimension ${k + 1}`);
    const output = make("output", label);
    input.addEventListener("input", () => put(moved(owner, state.set, [[k, Number(input.value)]])));
    sliders.push({ k, input, output });
  }
}

// --- drawing -------------------------------------------------------------------------------------------------------

let scheduled = false;

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}

function redraw() {
  for (const model of models) model.points = null;
  for (const model of models) model.way.due = 0;
  for (const chip of document.querySelectorAll(".chip")) chip.colour();
  schedule();
}

function draw() {
  const point = state.peek ?? state.set;
  for (const model of models) {
    const z = latent(model, point);
    drawPlane(model, z);
    drawImages(model, z);
    drawWay(model);
  }
  for (const { k, input, output } of sliders) {
    if (document.activeElement !== input || Math.abs(input.value - point[k]) > input.step) input.value = point[k];
    output.textContent = number(point[k]);
  }
  element("mark").textContent = state.mark ? "End interpolation" : "Start interpolation here";
  element("mark").setAttribute("aria-pressed", String(Boolean(state.mark)));
  saySoon();
}

function drawImages(model, z) {
  const { decoded, neighbour, set } = model;
  model.where.textContent = `z = (${Array.from(z.slice(0, 12), (v) => number(v)).join(", ")}${z.length > 12 ? ", ..." : ""})`;
  model.found = null;
  const levels = levelsAt(model, z);
  if (!levels) return;
  paint(decoded.context, levels, set.shape);
  model.found = nearest(set, levels);
  if (!model.found) return;
  const { row, off } = model.found;
  paint(neighbour.context, set.levels[row], set.shape);
  const kind = set.classes.length ? `, ${nameOf(set, set.labels[row])}` : "";
  const told = `Nearest of ${set.sheet.count} training images${kind}; ${number(off)} off (RMS)`;
  neighbour.caption.textContent = several ? told.replace(/ of .* training images,?/, ":").replace(" (RMS)", "") : told;
  neighbour.told = neighbour.caption.title = told;
  decoded.canvas.setAttribute("aria-label", several ? `image decoded by ${model.name}` : "decoded image");
  neighbour.canvas.setAttribute("aria-label", told);
}

// The images of an interpolation, as many at a time as a frame has room for.
function drawWay(model) {
  const { way, set } = model;
  way.figure.classList.toggle("empty", !state.mark);
  way.said.textContent = state.mark ? "From the start to the point" : "Drag over the plane for an interpolation";
  if (!state.mark || way.due >= STEPS) return;
  const began = performance.now();
  const [a, b] = [latent(model, state.mark), latent(model, state.set)];
  while (way.due < STEPS && performance.now() - began < 10 / models.length) {
    const levels = levelsAt(model, between(model, a, b, way.due / (STEPS - 1)));
    if (levels) paint(way.context, levels, set.shape, way.due * set.shape[1]);
    way.due++;
  }
  way.canvas.setAttribute("aria-label", `interpolation, ${STEPS} images`);
  if (way.due < STEPS) schedule();
}

function drawPlane(model, z) {
  const { surface: plane, context } = model;
  const scale = devicePixelRatio || 1;
  const width = Math.round(plane.clientWidth * scale), height = Math.round(plane.clientHeight * scale);
  if (plane.width !== width || plane.height !== height) {
    Object.assign(plane, { width, height });
    model.points = null;
  }
  if (!width || !height) return;
  const reach = reachOf(model);
  const place = (latent_) => {
    const [across, up] = planeOf(model);
    const y = up === null ? 0 : latent_[up];
    return [((latent_[across] / reach + 1) / 2) * width, ((1 - y / reach) / 2) * height];
  };
  model.points ??= drawPoints(model, width, height, scale, reach);
  context.clearRect(0, 0, width, height);
  context.drawImage(model.points, 0, 0);
  const style = getComputedStyle(document.body);
  const ink = style.getPropertyValue("--ink"), paper = style.getPropertyValue("--card");
  context.lineWidth = 1.5 * scale;
  if (state.mark) {
    const [a, b] = [latent(model, state.mark), latent(model, state.set)];
    context.strokeStyle = style.getPropertyValue("--accent");
    context.beginPath();
    for (let i = 0; i <= 40; i++) context.lineTo(...place(between(model, a, b, i / 40)));
    context.stroke();
    ring(context, ...place(a), 4 * scale, paper, context.strokeStyle);
  }
  if (state.peek) ring(context, ...place(latent(model, state.set)), 3.5 * scale, paper, style.getPropertyValue("--quiet"));
  const [x, y] = place(z);
  if (model.dims === 1) {
    context.strokeStyle = ink;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.stroke();
  }
  ring(context, x, y, 7 * scale, null, paper, 4.5 * scale);
  ring(context, x, y, 7 * scale, null, ink, 2 * scale);
}

function ring(context, x, y, radius, fill, stroke, width = context.lineWidth) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = width;
  if (fill) {
    context.fillStyle = fill;
    context.fill();
  }
  context.strokeStyle = stroke;
  context.stroke();
}

// The codes and the grid behind them, kept until something about them changes.
function drawPoints(model, width, height, scale, reach) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  const [across, up] = planeOf(model);
  const x = (value) => ((value / reach + 1) / 2) * width, y = (value) => ((1 - value / reach) / 2) * height;
  context.lineWidth = scale;
  context.font = `${11 * scale}px system-ui, sans-serif`;
  context.fillStyle = style.getPropertyValue("--quiet");
  const every = [0.5, 1, 2, 5, 10, 20, 50, 100, 1000].find((step) => reach / step < 5) ?? 10 ** Math.ceil(Math.log10(reach / 4));
  for (let k = -Math.floor(reach / every); k <= reach / every; k++) {
    context.strokeStyle = style.getPropertyValue(k === 0 ? "--line" : "--faint");
    context.beginPath();
    context.moveTo(Math.round(x(k * every)) + 0.5, 0);
    context.lineTo(Math.round(x(k * every)) + 0.5, height);
    if (up !== null) {
      context.moveTo(0, Math.round(y(k * every)) + 0.5);
      context.lineTo(width, Math.round(y(k * every)) + 0.5);
    }
    context.stroke();
    const text = String(k * every).replace("-", "\u2212");
    if (x(k * every) < width - 20 * scale) context.fillText(text, x(k * every) + 3 * scale, height - 5 * scale);
    const high = y(k * every);
    if (k && up !== null && high > 34 * scale && high < height - 20 * scale) context.fillText(text, 5 * scale, high - 3 * scale);
  }
  if (model.space === "sphere") ring(context, width / 2, height / 2, x(1) - width / 2, null, style.getPropertyValue("--line"));
  const names = model.set.classes;
  const radius = (model.count > 1500 ? 1.9 : 2.5) * scale * Math.min(1, Math.max(0.7, width / scale / 450));
  context.globalAlpha = 0.72;
  for (let i = 0; i < model.count; i++) {
    const label = model.labels[i];
    if (label !== NO_LABEL && state.hidden.has(names[label].name)) continue;
    const at = model.codes[i * model.dims + across];
    const high = up === null ? (((i * 0.618034) % 1) * 2 - 1) * 0.8 * reach : model.codes[i * model.dims + up];
    context.fillStyle = colourOf(model.set, label);
    context.beginPath();
    context.arc(x(at), y(high), radius, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
  context.fillStyle = style.getPropertyValue("--quiet");
  const titled = (dim) => `latent dimension ${dim + 1}`;
  context.textAlign = "right";
  context.fillText(titled(across), width - 6 * scale, height - 5 * scale - 14 * scale);
  context.textAlign = "left";
  if (up !== null) context.fillText(titled(up), 6 * scale, 15 * scale);
  model.surface.setAttribute("aria-label",
    `${model.name}: codes of ${model.count} validation images, ${titled(across)} across` +
    (up === null ? "" : `, ${titled(up)} up`) + ". Arrow keys move the point.");
  return canvas;
}

// --- what a screen reader hears ------------------------------------------------------------------------------------

let saying = 0;

function saySoon() {
  clearTimeout(saying);
  saying = setTimeout(() => {
    element("said").textContent = models.map((model) => {
      const z = latent(model, state.peek ?? state.set);
      const at = planeOf(model).filter((k) => k !== null).map((k) => z[k].toFixed(2)).join(", ");
      const near = model.found ? `; ${model.neighbour.told}` : "";
      return `${several ? `${model.name}: ` : ""}point ${at}${near}`;
    }).join(". ");
  }, 500);
}

// --- beginning -----------------------------------------------------------------------------------------------------

// Of several models: the controls and all pictures above the planes.
function arrange() {
  const desk = document.createElement("div");
  desk.id = "desk";
  document.querySelector("main").prepend(desk);
  desk.append(element("controls"));
  document.querySelector("body > header").append(document.querySelector("details"));
  make("section", desk, { id: "pictures" }).setAttribute("aria-label", "Decoded images");
  const { style } = document.body;
  style.setProperty("--shown", models.length);
  style.setProperty("--planes", models.length > 5 ? Math.ceil(models.length / 2) : models.length);
}

// The pictures stay in sight where there is room for planes below them.
function hold() {
  const { offsetHeight: height, classList } = element("desk");
  const held = classList.toggle("held", height < 0.66 * innerHeight);
  document.documentElement.style.scrollPaddingTop = held ? `${height}px` : "";
}

function begin() {
  document.body.className = several ? "several" : "single";
  if (several) arrange();
  document.querySelector("h1").textContent = content.title;
  const codes = several
    ? `${models.length} models, the same latent point in each`
    : `${first.latent_dim} latent dimension${first.latent_dim > 1 ? "s" : ""}${first.space === "sphere" ? " on a sphere (the others make room for the one that moves)" : ""}, ` +
      `${first.count.toLocaleString("en")} validation images`;
  element("summary").textContent = codes;
  element("note").textContent = content.note;
  for (const model of models) build(model);
  buildControls();
  const resized = new ResizeObserver(() => {
    if (several) hold();
    schedule();
  });
  resized.observe(document.body);
  addEventListener("resize", () => several && hold());
  dark.addEventListener("change", redraw);
  schedule();
  const pictures = sets.map(async (set) => { set.levels = await levelsOf(set.sheet, set.shape); });
  const grids = models.filter((model) => model.grid).map(async (model) => {
    model.tiles = await levelsOf(model.grid.sheet, model.set.shape);
  });
  return Promise.all([...pictures, ...grids]).then(redraw);
}

// For whoever wants to look closer, from the browser's console: what is drawn, and how long that takes.
window.explorer = { models, state, levelsAt, latent, draw, change, ready: begin() };

"use strict";

// The decoder: a list of operations over arrays of doubles, an image being [height, width, channels]. In doubles,
// since an engine then converts nothing: twice as fast as with floats, and more exact besides.

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function numbersOf(base64, format) {
  const bytes = bytesOf(base64);
  if (format === "float32") return Float64Array.from(new Float32Array(bytes.buffer));
  if (format === "uint16") return new Uint16Array(bytes.buffer);
  return Float64Array.from(new Uint16Array(bytes.buffer), (half) => {
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    return half & 0x8000 ? -size : size;
  });
}

// erf by its series near zero and a continued fraction beyond: both to a few parts in 1e10.
function erf(x) {
  const size = Math.abs(x);
  if (size > 5.5) return Math.sign(x);
  if (size < 2) {
    let term = size, sum = size;
    for (let n = 1; term > 1e-13; n++) {
      term *= (2 * size * size) / (2 * n + 1);
      sum += term;
    }
    return (Math.sign(x) * sum * 2 * Math.exp(-size * size)) / Math.sqrt(Math.PI);
  }
  let fraction = size;
  for (let n = 40; n > 0; n--) fraction = size + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-size * size) / (Math.sqrt(Math.PI) * fraction));
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  leaky_relu: (x) => (x > 0 ? x : 0.01 * x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  silu: (x) => x * sigmoid(x),
  tanh: Math.tanh,
};

// sums[o] += the sum over i of x[at + i] * w[from + i * outputs + o], four inputs at a time; inputs that are zero,
// as half of them are behind a ReLU, cost nothing.
function accumulate(sums, x, at, inputs, w, from, outputs) {
  let i = 0;
  for (; i + 3 < inputs; i += 4, from += 4 * outputs) {
    const a = x[at + i], b = x[at + i + 1], c = x[at + i + 2], d = x[at + i + 3];
    if (a === 0 && b === 0 && c === 0 && d === 0) continue;
    const second = from + outputs, third = second + outputs, fourth = third + outputs;
    for (let o = 0; o < outputs; o++) {
      sums[o] += a * w[from + o] + b * w[second + o] + c * w[third + o] + d * w[fourth + o];
    }
  }
  for (; i < inputs; i++, from += outputs) {
    const a = x[at + i];
    for (let o = 0; o < outputs; o++) sums[o] += a * w[from + o];
  }
}

function dense(op, w) {
  const { inputs, outputs, at } = op;
  const y = new Float64Array(outputs);
  return (x) => {
    y.set(w.subarray(at, at + outputs));
    accumulate(y, x, 0, inputs, w, at + outputs, outputs);
    return y;
  };
}

// A convolution, or a transposed one: for each output pixel the taps that have an input pixel under them.
function convolution(op, w) {
  const [height, width, inputs] = op.in;
  const [rows, columns, outputs] = op.out;
  const biases = w.subarray(op.at, op.at + outputs);
  const vertical = reached(op, 0, height, rows);
  const horizontal = reached(op, 1, width, columns);
  const y = new Float64Array(rows * columns * outputs);
  const sums = new Float64Array(outputs);
  return (x) => {
    for (let row = 0, to = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, to += outputs) {
        sums.set(biases);
        for (const [i, ky] of vertical[row]) {
          for (const [j, kx] of horizontal[column]) {
            const from = op.at + outputs + (ky * op.kernel[1] + kx) * inputs * outputs;
            accumulate(sums, x, (i * width + j) * inputs, inputs, w, from, outputs);
          }
        }
        y.set(sums, to);
      }
    }
    return y;
  };
}

// Along one axis, for each place of the output: [place of the input, tap] of every tap that meets the input.
function reached(op, axis, size, count) {
  const kernel = op.kernel[axis], stride = op.stride[axis], padding = op.padding[axis];
  return Array.from({ length: count }, (_, place) => {
    const taps = [];
    for (let k = 0; k < kernel; k++) {
      const from = op.op === "transposed" ? (place + padding - k) / stride : place * stride - padding + k;
      if (Number.isInteger(from) && from >= 0 && from < size) taps.push([from, k]);
    }
    return taps;
  });
}

function shape(op) {
  if (op.order === "hwc") return (x) => x;
  const [height, width, channels] = op.out;
  const y = new Float64Array(height * width * channels);
  return (x) => {
    for (let c = 0, from = 0; c < channels; c++) {
      for (let pixel = 0; pixel < height * width; pixel++) y[pixel * channels + c] = x[from++];
    }
    return y;
  };
}

function enlarge(op) {
  const [, width, channels] = op.in;
  const [rows, columns] = op.out;
  const y = new Float64Array(rows * columns * channels);
  return (x) => {
    for (let row = 0, to = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, to += channels) {
        const from = ((row >> 1) * width + (column >> 1)) * channels;
        for (let c = 0; c < channels; c++) y[to + c] = x[from + c];
      }
    }
    return y;
  };
}

function residual(op, w) {
  const branch = chain(op.branch, w);
  let kept = new Float64Array(0);
  return (x) => {
    if (kept.length !== x.length) kept = new Float64Array(x.length);
    kept.set(x);
    const y = branch(x);
    for (let i = 0; i < y.length; i++) y[i] += kept[i];
    return y;
  };
}

function elementwise(f) {
  let y = new Float64Array(0);
  return (x) => {
    if (y.length !== x.length) y = new Float64Array(x.length);
    for (let i = 0; i < x.length; i++) y[i] = f(x[i]);
    return y;
  };
}

const LAYERS = { dense, convolution, transposed: convolution, shape, enlarge, residual };

function chain(ops, w) {
  const steps = ops.map((op) => (LAYERS[op.op] ? LAYERS[op.op](op, w) : elementwise(ACTIVATIONS[op.op])));
  return (x) => steps.reduce((y, step) => step(y), x);
}

// Weights exp(x[from]), exp(x[from + 1]), ... of `count` values, summed with value(k): the mean under a softmax.
function softmaxMean(x, from, count, value) {
  let top = -Infinity, total = 0, sum = 0;
  for (let k = 0; k < count; k++) top = Math.max(top, x[from + k]);
  for (let k = 0; k < count; k++) {
    const weight = Math.exp(x[from + k] - top);
    total += weight;
    sum += weight * value(k);
  }
  return sum / total;
}

// The expected level of a rounded logistic, in [0, 1]; location and log scale as the decoder gives them, the unit
// being half the range of the levels.
function logisticMean(location, logScale) {
  const free = Math.log(0.3) + logScale;
  const inverse = Math.exp(-free / Math.sqrt(1 + (free / 7) ** 2));
  const level = (softplus((1 + location) * inverse) - softplus((location - 1) * inverse)) / inverse / 2;
  return Math.min(1, Math.max(0, level));
}

// The mean of a pixel's channel, from its `per` parameters at x[from].
const MEANS = {
  sigmoid: (x, from) => sigmoid(x[from]),
  continuousBernoulli: (x, from) => {
    const l = x[from], s = l * l;
    if (Math.abs(l) < 0.5) return 0.5 + l * (1 / 12 - s * (1 / 720 - s * (1 / 30240 - s / 1209600)));
    return 0.5 + 0.5 / Math.tanh(l / 2) - 1 / l;
  },
  categorical: (x, from, per) => Math.min(1, softmaxMean(x, from, per, (k) => k / 255)),
  logistic: (x, from) => logisticMean(x[from], x[from + 1]),
  mixture: (x, from, per) => {
    const count = per / 3;
    const centre = (k) => (2 * k + 1) / count - 1;
    return softmaxMean(x, from, count, (k) => logisticMean(centre(k) + x[from + count + k], x[from + 2 * count + k]));
  },
};

// A function from a latent to the expected image, [height * width * channels] in [0, 1].
function decoderOf(described) {
  const run = chain(described.ops, numbersOf(described.weights, described.format));
  const { kind, per } = described.mean;
  const mean = MEANS[kind];
  let image = new Float64Array(0);
  return (z) => {
    const params = run(z);
    if (image.length !== params.length / per) image = new Float64Array(params.length / per);
    for (let i = 0; i < image.length; i++) image[i] = mean(params, i * per, per);
    return image;
  };
}

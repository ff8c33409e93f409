"use strict";
/* Pillow's bilinear filter with 8 bits between the passes, as the model was trained with. Browsers' own resizing, and
   that of one browser and the next, differs too much. */

const BITS = 22; // of the weights, as whole numbers

/* For every place of the output: the first input place that counts, and the weights of this one and the next. */
function weightsOf(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const shares = [];
    for (let x = first; x < last; x++) shares.push(Math.max(0, 1 - Math.abs((x - centre + 0.5) / support)));
    const sum = shares.reduce((a, b) => a + b, 0);
    return { first, weights: Int32Array.from(shares, (share) => Math.trunc(0.5 + (share / sum) * 2 ** BITS)) };
  });
}

/* `rgba` are width × height × 4 bytes, as a canvas gives them; returns size × size × 3 bytes, RGB. */
function squish(rgba, width, height, size) {
  const half = 2 ** (BITS - 1);
  const narrow = new Uint8ClampedArray(size * height * 3);
  const columns = weightsOf(width, size);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      const { first, weights } = columns[x];
      let r = half, g = half, b = half;
      for (let k = 0, at = (y * width + first) * 4; k < weights.length; k++, at += 4) {
        r += rgba[at] * weights[k];
        g += rgba[at + 1] * weights[k];
        b += rgba[at + 2] * weights[k];
      }
      const to = (y * size + x) * 3;
      narrow[to] = r >> BITS;
      narrow[to + 1] = g >> BITS;
      narrow[to + 2] = b >> BITS;
    }
  }
  const small = new Uint8ClampedArray(size * size * 3);
  const rows = weightsOf(height, size);
  const stride = size * 3;
  for (let y = 0; y < size; y++) {
    const { first, weights } = rows[y];
    for (let x = 0; x < stride; x++) {
      let sum = half;
      for (let k = 0, at = first * stride + x; k < weights.length; k++, at += stride) sum += narrow[at] * weights[k];
      small[y * stride + x] = sum >> BITS;
    }
  }
  return new Uint8Array(small.buffer);
}

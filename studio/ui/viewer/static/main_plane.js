/* The plane that shows the most of many points with many numbers each: their two main directions. NumPy's PCA of the same
   rows gives the same numbers (tests/ui/test_main_plane.py). */

const BLOCK = 6; // directions that are sought together: the second is found the sooner, the more follow it
const TURNS = 400;
const EXACT = 1e-12; // how little the two greatest eigenvalues change at the end, as a share

/** Dot product of two arrays of numbers. */
export function dot(one, other) {
  let sum = 0;
  for (let k = 0; k < one.length; k++) sum += one[k] * other[k];
  return sum;
}

/** `count` points, `dots(i, j)` the dot product of two. Returns {places: [[u1, u2]], weights: [w1, w2], shares}: the
    places on the plane; for each direction e the weights with e = sum over i of weights[i] * (x_i - mean); and the share
    of the variance in each direction. Both directions have length 1. Their signs are arbitrary. */
export function mainPlane(count, dots) {
  const gram = Array.from({ length: count }, () => new Float64Array(count));
  for (let i = 0; i < count; i++) for (let j = 0; j <= i; j++) gram[i][j] = gram[j][i] = dots(i, j);
  // The dot products of what is left when the mean is taken away
  const means = gram.map((row) => row.reduce((sum, value) => sum + value, 0) / count);
  const mean = means.reduce((sum, value) => sum + value, 0) / count;
  for (let i = 0; i < count; i++) for (let j = 0; j < count; j++) gram[i][j] += mean - means[i] - means[j];
  const trace = gram.reduce((sum, row, k) => sum + row[k], 0);
  const found = greatest(gram, Math.min(BLOCK, count)).slice(0, 2);
  while (found.length < 2) found.push({ value: 0, vector: new Float64Array(count) });
  const sizes = found.map(({ value }) => Math.sqrt(Math.max(0, value)));
  const small = 1e-9 * Math.sqrt(Math.max(trace, 1e-300));
  return {
    places: Array.from({ length: count }, (_, i) => found.map(({ vector }, k) => sizes[k] * vector[i])),
    weights: found.map(({ vector }, k) => vector.map((value) => (sizes[k] > small ? value / sizes[k] : 0))),
    shares: found.map(({ value }) => (trace > 0 ? Math.max(0, value) / trace : 0)),
  };
}

/** The `many` greatest eigenvalues of a symmetric matrix without negative ones and their vectors, the greatest first:
    orthogonal iteration from a fixed start. */
function greatest(matrix, many) {
  const size = matrix.length;
  let vectors = Array.from({ length: many }, (_, k) =>
    Float64Array.from({ length: size }, (__, i) => Math.cos((k + 1) * (i + 1) * 1.7) + 0.1),
  );
  let values = new Array(many).fill(0);
  orthonormal(vectors);
  for (let turn = 0; turn < TURNS; turn++) {
    const next = vectors.map((vector) => Float64Array.from(matrix, (row) => dot(row, vector)));
    // Within the block the eigenvectors are those of a small matrix.
    const small = vectors.map((one) => next.map((other) => dot(one, other)));
    const { values: now, vectors: turns } = eigen(small);
    vectors = turns.map((of) =>
      Float64Array.from({ length: size }, (_, i) => next.reduce((sum, one, k) => sum + of[k] * one[i], 0)),
    );
    orthonormal(vectors);
    const change = [0, 1].reduce((most, k) => Math.max(most, Math.abs((now[k] ?? 0) - (values[k] ?? 0))), 0);
    values = now;
    if (turn > 8 && change <= EXACT * Math.max(values[0], 1e-300)) break;
  }
  return values.map((value, k) => ({ value, vector: vectors[k] }));
}

/** Makes vectors orthogonal and of length 1, each to those before it; what is left of none becomes 0. */
function orthonormal(vectors) {
  vectors.forEach((vector, k) => {
    const before = Math.sqrt(dot(vector, vector));
    for (let round = 0; round < 2; round++)
      for (const other of vectors.slice(0, k)) {
        const along = dot(vector, other);
        for (let i = 0; i < vector.length; i++) vector[i] -= along * other[i];
      }
    const length = Math.sqrt(dot(vector, vector));
    const factor = length > 1e-12 * before && length > 0 ? 1 / length : 0;
    for (let i = 0; i < vector.length; i++) vector[i] *= factor;
  });
}

/** Eigenvalues of a small symmetric matrix, the greatest first, and their vectors: Jacobi's rotations. */
function eigen(matrix) {
  const size = matrix.length;
  const a = matrix.map((row) => [...row]);
  const v = a.map((_, i) => a.map((__, j) => Number(i === j)));
  for (let sweep = 0; sweep < 30; sweep++) {
    let rest = 0;
    for (let p = 0; p < size; p++)
      for (let q = p + 1; q < size; q++) {
        rest += Math.abs(a[p][q]);
        if (a[p][q] === 0) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (let k = 0; k < size; k++) [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
        for (let k = 0; k < size; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
        for (let k = 0; k < size; k++) [v[k][p], v[k][q]] = [c * v[k][p] - s * v[k][q], s * v[k][p] + c * v[k][q]];
      }
    if (rest < 1e-300) break;
  }
  const order = a.map((_, k) => k).sort((p, q) => a[q][q] - a[p][p]);
  return { values: order.map((k) => a[k][k]), vectors: order.map((k) => v.map((row) => row[k])) };
}

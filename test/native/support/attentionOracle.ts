/**
 * Attention in float64 JavaScript, written from the definitions alone (inputs, number formats and formula), as an
 * independent witness against the C++ reference. Small cases only.
 */
import { expandLengths, type AttentionCase } from '../../../extension/core/attentionCase';

const MASK = (1n << 64n) - 1n;
/** Tensor numbers of the input definition. */
const TENSOR = { q: 1n, k: 2n, v: 3n, sink: 4n } as const;

/** Approximately normal number of one element: four 16-bit fields of a SplitMix64-finalised counter, summed. */
function normal(seed: number, tensor: bigint, index: number): number {
  let x = (BigInt(index) + 0x9e3779b97f4a7c15n * (((tensor << 32n) | BigInt(seed)) + 1n)) & MASK;
  x ^= x >> 30n;
  x = (x * 0xbf58476d1ce4e5b9n) & MASK;
  x ^= x >> 27n;
  x = (x * 0x94d049bb133111ebn) & MASK;
  x ^= x >> 31n;
  let sum = 0;
  for (let shift = 0n; shift < 64n; shift += 16n) sum += Number((x >> shift) & 0xffffn);
  return Math.fround((sum - 131070) * Math.fround(2.6428614e-5));
}

/** Nearest number with `mantissaBits` bits after the leading one, ties to even; below `minExponent` in its fixed steps. */
function roundToBits(x: number, mantissaBits: number, minExponent: number): number {
  if (x === 0) return 0;
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), minExponent);
  const step = 2 ** (exponent - mantissaBits);
  const quotient = x / step;
  const floor = Math.floor(quotient);
  const rest = quotient - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  return (up ? floor + 1 : floor) * step;
}

const round16 = (spec: AttentionCase, x: number): number =>
  spec.dtype === 'bf16' ? roundToBits(x, 7, -126) : roundToBits(x, 10, -14);

function element(
  spec: AttentionCase,
  tensor: bigint,
  token: number,
  heads: number,
  head: number,
  dim: number,
  d: number,
): number {
  return normal(spec.seed, tensor, (token * heads + head) * dim + d);
}

function kvElement(spec: AttentionCase, tensor: bigint, token: number, head: number, dim: number, d: number): number {
  const x = element(spec, tensor, token, spec.kvHeads, head, dim, d);
  if (spec.kvDtype === 'auto') return round16(spec, x);
  const scale = Math.fround(spec.kvScale);
  const stored = Math.fround(x * Math.fround(1 / scale));
  const clamped = Math.max(-448, Math.min(448, roundToBits(stored, 3, -6)));
  return clamped * scale;
}

/** One output row; rows are ordered by packed query token, then head. */
export interface OracleRow {
  readonly out: readonly number[];
  readonly lse: number;
}

/** Every output row of a valid case. */
export function attentionOracle(spec: AttentionCase): { readonly rows: OracleRow[]; readonly visiblePairs: number } {
  const qLens = expandLengths(spec.qLens, spec.batch) ?? [];
  const kvLens = expandLengths(spec.kvLens, spec.batch) ?? [];
  const rows: OracleRow[] = [];
  let visiblePairs = 0;
  let qStart = 0;
  let kvStart = 0;
  for (let b = 0; b < spec.batch; b++) {
    const qLen = qLens[b] ?? 0;
    const kvLen = kvLens[b] ?? 0;
    for (let i = 0; i < qLen; i++) {
      const position = kvLen - qLen + i;
      const keys: number[] = [];
      for (let k = 0; k < kvLen; k++) {
        const inWindow = spec.window === null || k > position - spec.window;
        if (!spec.causal || (k <= position && inWindow)) keys.push(k);
      }
      visiblePairs += keys.length;
      for (let head = 0; head < spec.qHeads; head++) rows.push(row(spec, qStart + i, kvStart, head, keys));
    }
    qStart += qLen;
    kvStart += kvLen;
  }
  return { rows, visiblePairs };
}

function row(spec: AttentionCase, qToken: number, kvStart: number, head: number, keys: readonly number[]): OracleRow {
  const kvHead = Math.floor(head / (spec.qHeads / spec.kvHeads));
  const scores = keys.map((key) => {
    let dot = 0;
    for (let d = 0; d < spec.headDim; d++) {
      const q = round16(spec, element(spec, TENSOR.q, qToken, spec.qHeads, head, spec.headDim, d));
      dot += q * kvElement(spec, TENSOR.k, kvStart + key, kvHead, spec.headDim, d);
    }
    const score = dot / Math.sqrt(spec.headDim);
    return spec.softcap > 0 ? spec.softcap * Math.tanh(score / spec.softcap) : score;
  });
  const weights = scores.map((score) => Math.exp(score));
  let sum = weights.reduce((a, b) => a + b, 0);
  if (spec.sinks) sum += Math.exp(normal(spec.seed, TENSOR.sink, head));
  const tensor = spec.op === 'mlaDecode' ? TENSOR.k : TENSOR.v;
  const dim = spec.op === 'mlaDecode' ? spec.headDim : spec.headDimV;
  const out = Array.from({ length: spec.headDimV }, (_, d) => {
    let total = 0;
    keys.forEach((key, i) => (total += (weights[i] ?? 0) * kvElement(spec, tensor, kvStart + key, kvHead, dim, d)));
    return sum > 0 ? total / sum : 0;
  });
  return { out, lse: Math.log(sum) };
}

/**
 * Prints the cases of a run with installed libraries as JSON: what `attn-diag run --cases` reads.
 *
 * usage: node test/gpu/backend_cases.mjs LIST > FILE
 * `contenders` are the shapes whose figures are compared in rounds, bundled kernels and libraries taking turns; `others` a
 * smaller list for libraries that do not compete, with shapes that they are declared not to take; `wide` those of head size
 * 512; `flashinfer` those that its compiled modules serve; `smoke` a few small ones of every kind.
 */
import process from 'node:process';

const PAGES = [16, 32, 64, 128, 256];
/**
 * Query and KV heads at 16k tokens, by head size.
 * @type {[number, number, number][]}
 */
const PREFILL = [
  [64, 64, 8],
  [96, 32, 8],
  [128, 64, 8],
  [192, 16, 16],
  [256, 32, 8],
  [512, 8, 8],
];
const DECODE = [64, 128, 256, 512];

/**
 * Both masks and contiguous keys, unless other ones are named.
 * @param {number} headDim
 * @param {number} qHeads
 * @param {number} kvHeads
 * @param {number} length
 * @param {{batch?: number, masks?: boolean[], pages?: (number | null)[], headDimV?: number}} [more]
 */
function prefill(headDim, qHeads, kvHeads, length, more = {}) {
  const { batch = 1, masks = [false, true], pages = [null], headDimV = headDim } = more;
  return pages.flatMap((pageSize) =>
    masks.map((causal) => ({
      op: 'prefill',
      headDim,
      headDimV,
      qHeads,
      kvHeads,
      batch,
      qLens: length,
      kvLens: length,
      causal,
      pageSize,
    })),
  );
}

/**
 * @param {number} headDim
 * @param {number} batch
 * @param {number} kvLens
 * @param {(number | null)[]} pages
 */
function decode(headDim, batch, kvLens, pages) {
  const [qHeads, kvHeads] = headDim <= 128 ? [32, 8] : [16, 4];
  const shape = { op: 'decode', headDim, qHeads, kvHeads, batch, qLens: 1, kvLens, causal: true };
  return pages.map((pageSize) => ({ ...shape, pageSize }));
}

/**
 * DeepSeek's: keys of 576, of which the first 512 are the values, one KV head.
 * @param {number} qHeads
 * @param {number} batch
 * @param {number} kvLens
 * @param {number[]} pages
 */
function mla(qHeads, batch, kvLens, pages) {
  return pages.map((pageSize) => ({
    op: 'mlaDecode',
    headDim: 576,
    headDimV: 512,
    qHeads,
    kvHeads: 1,
    batch,
    qLens: 1,
    kvLens,
    causal: true,
    pageSize,
  }));
}

const causal = { masks: [true] };
const longPrefill = [
  ...PREFILL.flatMap(([dim, q, kv]) => prefill(dim, q, kv, 16_384)),
  ...prefill(192, 32, 32, 16_384, { headDimV: 128 }),
  ...prefill(512, 32, 4, 8192),
];
/** As many tokens in shorter sequences; 2048 elements of query heads up to head size 128, 16 heads above. */
const shortPrefill = [
  [1024, 16],
  [4096, 4],
].flatMap(([length, batch]) =>
  [64, 96, 128, 192, 256, 512].flatMap((dim) => {
    const heads = dim === 512 ? 8 : dim <= 128 ? Math.floor(2048 / dim) : 16;
    return prefill(dim, heads, heads, length, { batch });
  }),
);
const pagedPrefill = [
  ...prefill(64, 64, 8, 16_384, { ...causal, pages: PAGES }),
  ...prefill(128, 64, 8, 16_384, { ...causal, pages: PAGES }),
  ...prefill(256, 32, 8, 16_384, { ...causal, pages: PAGES }),
  ...prefill(512, 32, 4, 8192, { ...causal, pages: PAGES }),
];
const decodes = DECODE.flatMap((dim) => [
  ...decode(dim, 32, 8192, [null, ...PAGES]),
  ...decode(dim, 128, 4096, [16]),
  ...decode(dim, 1, 131_072, [16]),
]);
const mlas = [...mla(128, 128, 4096, [64, 16]), ...mla(16, 128, 4096, [64, 16]), ...mla(16, 128, 16_384, [64])];

const LISTS = {
  // a run that is cut short has the shapes that most is asked about
  contenders: [...longPrefill, ...decodes, ...mlas, ...pagedPrefill, ...shortPrefill],
  wide: [
    ...prefill(512, 8, 8, 16_384),
    ...prefill(512, 32, 4, 8192),
    ...prefill(512, 8, 8, 4096, { batch: 4 }),
    ...prefill(512, 8, 8, 1024, { batch: 16 }),
  ],
  others: [
    ...[64, 96, 128, 192, 256].flatMap((dim) =>
      prefill(dim, dim <= 128 ? Math.floor(2048 / dim) : 16, dim <= 128 ? Math.floor(2048 / dim) : 16, 4096, {
        batch: 4,
      }),
    ),
    ...prefill(512, 8, 8, 4096, { batch: 4 }),
    ...prefill(192, 32, 32, 4096, { headDimV: 128, ...causal }),
    ...prefill(128, 64, 8, 4096, { ...causal, pages: [16, 256] }),
    ...prefill(512, 32, 4, 4096, { ...causal, pages: [16] }),
    ...DECODE.flatMap((dim) => decode(dim, 32, 8192, [null, 16])),
    ...mla(128, 128, 4096, [64]),
  ],
  flashinfer: [
    ...longPrefill.filter(
      (each) => each.headDim !== 96 && each.headDim !== 512 && each.headDim === each.headDimV && each.headDim !== 192,
    ),
    ...prefill(192, 32, 32, 16_384, { headDimV: 128 }),
    ...[128, 256].flatMap((dim) => prefill(dim, dim === 128 ? 64 : 32, 8, 16_384, { ...causal, pages: [16, 64, 128] })),
    ...[64, 128, 256].flatMap((dim) => [
      ...decode(dim, 32, 8192, [16, 64]),
      ...decode(dim, 128, 4096, [16]),
      ...decode(dim, 1, 131_072, [16]),
    ]),
    ...mla(128, 128, 4096, [64, 16]),
    ...mla(16, 128, 4096, [64]),
  ],
  smoke: [
    ...[64, 128, 256].flatMap((dim) => prefill(dim, 16, 4, 2048, causal)),
    ...prefill(128, 16, 4, 2048, { masks: [false] }),
    ...prefill(192, 16, 16, 1024, { ...causal, headDimV: 128 }),
    ...prefill(512, 8, 8, 1024, causal),
    ...prefill(128, 16, 4, 2048, { ...causal, pages: [16, 64, 256] }),
    ...prefill(512, 8, 4, 1024, { ...causal, pages: [16] }),
    ...decode(128, 32, 8192, [null, 16]),
    ...decode(256, 32, 8192, [null, 64]),
    ...mla(128, 32, 4096, [64]),
    ...mla(16, 32, 4096, [16]),
  ],
};

const list = LISTS[process.argv[2]];
if (list === undefined) {
  console.error(`usage: node test/gpu/backend_cases.mjs ${Object.keys(LISTS).join('|')}`);
  process.exitCode = 2;
} else {
  console.log(`[\n${list.map((each) => `  ${JSON.stringify(each)}`).join(',\n')}\n]`);
}

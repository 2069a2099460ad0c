/** Layer questions for an installed release: a grid of plain ones, then random mixtures from a fixed seed. */
import { backendNames, memberKind } from '../../extension/core/catalog/registry';
import { within, type Release } from '../../extension/core/catalog/releases';
import type { ValidationCase } from '../../extension/core/rules/validation';
import { QUERY } from '../unit/core/catalog/selectorFixtures';

type Request = ValidationCase['request'];

/** A small generator with a fixed sequence per seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const PLAIN: Request = { ...QUERY, numHeads: null };

const HEAD_SIZES = [32, 40, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256, 288, 320, 512, 576];
const MODEL_SHAPES = [
  { hfTextConfig: { model_type: 'llama' }, numAttentionHeads: 32, numKvHeads: 8 },
  { hfTextConfig: { model_type: 'gemma2', attn_logit_softcapping: 50 }, numAttentionHeads: 16, numKvHeads: 8 },
  {
    hfTextConfig: { kv_lora_rank: 512, qk_nope_head_dim: 128, qk_rope_head_dim: 64, v_head_dim: 128, index_topk: 2048 },
    numAttentionHeads: 16,
    numKvHeads: 1,
  },
];

/** The kinds of KV cache that a release's selector accepts. */
function kvDtypes(release: Release): readonly string[] {
  return [
    'auto',
    'fp8',
    'fp8_e4m3',
    'fp8_e5m2',
    ...(within(release, '0.15.0') ? ['bfloat16'] : []),
    ...(within(release, '0.20.0') ? ['turboquant_k8v4', 'nvfp4'] : []),
  ];
}

/** `count` questions, the same ones for the same release, seed and count. */
export function validatedCases(
  release: Release,
  count: number,
  seed: number,
  batchInvariant: boolean,
): ValidationCase[] {
  const random = randomOf(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const chance = (share: number): boolean => random() < share;
  const named = backendNames(release).filter((name) => memberKind(release, name) === 'catalogued');
  const versions = within(release, '0.17.0') ? [2, 3, 4] : [2, 3];

  const make = (id: number, request: Request, config: Partial<ValidationCase['config']> = {}): ValidationCase => ({
    id,
    config: {
      backend: null,
      flashAttnVersion: null,
      backendPerKind: null,
      useTrtllmAttention: null,
      useNonCausal: null,
      ...config,
    },
    model: null,
    request: { ...request, useBatchInvariant: batchInvariant },
    faArgs: {
      requiresAlibi: false,
      headSize: request.headSize,
      headSizeV: null,
      hasSinks: request.hasSink,
      requiresSoftcap: false,
      kvCacheBlockSize: request.blockSize,
      supportsFa4Hd256: true,
      requiresLocalAttention: request.hasSlidingWindow,
    },
  });

  const mla = (sparse: boolean): Request => ({ ...PLAIN, headSize: 576, useMla: true, useSparse: sparse });
  const cases: ValidationCase[] = [];
  const add = (request: Request, config?: Partial<ValidationCase['config']>): void => {
    cases.push(make(cases.length, request, config));
  };
  for (const headSize of HEAD_SIZES) add({ ...PLAIN, headSize });
  for (const name of named) for (const request of [PLAIN, mla(false), mla(true)]) add(request, { backend: name });
  for (const flashAttnVersion of versions)
    for (const headSize of [64, 128, 256, 512]) add({ ...PLAIN, headSize }, { flashAttnVersion });
  for (const kvCacheDtype of kvDtypes(release))
    for (const request of [PLAIN, mla(false), mla(true)]) add({ ...request, kvCacheDtype });

  while (cases.length < count) {
    const latent = chance(0.3);
    const request: Request = {
      ...PLAIN,
      headSize: latent ? pick([320, 512, 576]) : pick(HEAD_SIZES),
      dtype: chance(0.1) ? pick(['float16', 'float32']) : 'bfloat16',
      kvCacheDtype: chance(0.35) ? pick(kvDtypes(release)) : 'auto',
      blockSize: chance(0.4) ? pick([16, 32, 64, 128, 256]) : null,
      useMla: latent,
      useSparse: latent && chance(0.5),
      hasSink: chance(0.15),
      useMmPrefix: !latent && within(release, '0.13.0') && chance(0.15),
      attnType: chance(0.1) ? pick(['encoder', 'encoder_only', 'encoder_decoder']) : 'decoder',
      hasSlidingWindow: chance(0.2),
      useNonCausal: within(release, '0.21.0') && chance(0.08),
      useKvConnector: within(release, '0.23.0') && chance(0.05),
      usePcp: within(release, '0.26.0') && chance(0.05),
      useDcp: within(release, '0.29.0') && chance(0.08),
      numHeads: chance(0.6) ? pick([8, 16, 32, 64, 128]) : null,
    };
    const shape = chance(0.3) ? pick(MODEL_SHAPES) : null;
    const base = make(cases.length, request, {
      backend: chance(0.3) ? pick(named) : null,
      flashAttnVersion: chance(0.25) ? pick(versions) : null,
      ...(request.useNonCausal ? { useNonCausal: true } : {}),
    });
    cases.push({
      ...base,
      model:
        shape === null
          ? null
          : {
              ...shape,
              headSize: request.headSize,
              isDiffusion: within(release, '0.24.0') && chance(0.2),
              isMmPrefixLm: request.useMmPrefix,
              isHybrid: false,
              mambaSsmCacheDtype: 'auto',
              rswaWindow: null,
            },
      faArgs: {
        ...base.faArgs,
        requiresAlibi: chance(0.1),
        headSizeV: chance(0.15) ? pick([64, 128, 256]) : null,
        requiresSoftcap: chance(0.1),
        supportsFa4Hd256: chance(0.7),
      },
    });
  }
  return cases;
}

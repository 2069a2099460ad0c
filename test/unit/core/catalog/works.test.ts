/** What passes the validator and fails in the kernel, per release, as the releases' constructors and kernels read. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { flashAttnWorks, systemFa4Works } from '../../../../extension/core/catalog/works';
import type { LayerFacts } from '../../../../extension/core/catalog/worksAnswer';
import type { SelectorQuery } from '../../../../extension/core/catalog/query';
import type { Release } from '../../../../extension/core/catalog/releases';
import { candidateWorks } from '../../../../extension/core/rules/evaluate';
import { C100, C110, C120, C75, C80, C90, context, QUERY, type Capability, type Change } from './selectorFixtures';

const LAYER: LayerFacts = {
  alibi: false,
  softcap: false,
  headDimV: 128,
  mixedWindows: false,
  kvSharing: false,
  kvHeads: 8,
};

const C86: Capability = [8, 6];
const C89: Capability = [8, 9];

interface Row {
  readonly id: string;
  readonly backend: string;
  readonly release: Release;
  readonly on: Capability;
  readonly query?: Partial<SelectorQuery>;
  readonly layer?: Partial<LayerFacts>;
  readonly page?: number;
  readonly change?: Change;
  /** `yes`, or part of the reason after `no: ` / `unknown: `. */
  readonly expected: string;
}

const FI_SM90 =
  'no: FlashInfer backend on SM90 currently crashes with sliding-window attention layers. Use the default attention backend.';
const PAGED_SM90 = 'no: FA4 with paged KV is not supported on SM90 (Hopper). Use FA3 or upgrade to Blackwell (SM100+).';

const ROWS: readonly Row[] = [
  // FLASHINFER
  {
    id: 'FI-16 TRAP-4 before',
    backend: 'FLASHINFER',
    release: '0.24.0',
    on: C90,
    query: { hasSlidingWindow: true },
    expected: 'yes',
  },
  {
    id: 'FI-16 TRAP-4',
    backend: 'FLASHINFER',
    release: '0.25.0',
    on: C90,
    query: { hasSlidingWindow: true },
    expected: FI_SM90,
  },
  {
    id: 'FI-16 TRAP-4',
    backend: 'FLASHINFER',
    release: '0.29.0',
    on: C90,
    query: { hasSlidingWindow: true },
    expected: FI_SM90,
  },
  {
    id: 'FI-16 TRAP-4 after',
    backend: 'FLASHINFER',
    release: '0.30.0',
    on: C90,
    query: { hasSlidingWindow: true },
    expected: 'yes',
  },
  {
    id: 'FI-16 TRAP-4 elsewhere',
    backend: 'FLASHINFER',
    release: '0.27.0',
    on: C80,
    query: { hasSlidingWindow: true },
    expected: 'yes',
  },
  {
    id: 'FI-17 sinks',
    backend: 'FLASHINFER',
    release: '0.33.0',
    on: C80,
    query: { hasSink: true },
    expected: 'no: attention sinks not supported',
  },
  {
    id: 'FI-18 TRAP-12: a KV cache group holds one window',
    backend: 'FLASHINFER',
    release: '0.33.0',
    on: C80,
    layer: { mixedWindows: true },
    expected: 'yes',
  },
  {
    id: 'FI-18 TRAP-12: a connector can merge the groups',
    backend: 'FLASHINFER',
    release: '0.33.0',
    on: C80,
    layer: { mixedWindows: true },
    query: { useKvConnector: true },
    expected: 'unknown: Window left is not the same for all layers',
  },
  {
    id: 'FI-18 TRAP-12: not where trtllm takes both phases',
    backend: 'FLASHINFER',
    release: '0.33.0',
    on: C100,
    layer: { mixedWindows: true },
    query: { useKvConnector: true },
    expected: 'yes',
  },
  {
    id: 'FI-18 TRAP-12: a bfloat16 cache keeps prefill off trtllm',
    backend: 'FLASHINFER',
    release: '0.33.0',
    on: C100,
    layer: { mixedWindows: true },
    query: { useKvConnector: true, kvCacheDtype: 'bfloat16' },
    expected: 'unknown: Window left',
  },
  {
    id: 'FI-512',
    backend: 'FLASHINFER',
    release: '0.24.0',
    on: C90,
    query: { headSize: 512 },
    expected: 'no: refuses head size 512',
  },
  {
    id: 'FI-512 not measured',
    backend: 'FLASHINFER',
    release: '0.33.0',
    on: C90,
    query: { headSize: 512 },
    expected: 'unknown: was not checked',
  },
  // FLEX_ATTENTION
  {
    id: 'FX-4 TRAP-10',
    backend: 'FLEX_ATTENTION',
    release: '0.33.0',
    on: C80,
    layer: { alibi: true },
    expected: 'no: FlexAttention does not support alibi slopes yet.',
  },
  {
    id: 'FX-4 TRAP-10',
    backend: 'FLEX_ATTENTION',
    release: '0.24.0',
    on: C80,
    layer: { softcap: true },
    expected: 'no: FlexAttention does not support logits soft cap yet.',
  },
  {
    id: 'FX-4 TRAP-10',
    backend: 'FLEX_ATTENTION',
    release: '0.33.0',
    on: C80,
    layer: { kvSharing: true },
    expected: 'no: FlexAttention does not support kv sharing yet.',
  },
  { id: 'FX-4 none of them', backend: 'FLEX_ATTENTION', release: '0.33.0', on: C80, expected: 'yes' },
  // TRITON
  {
    id: 'TR-FP8 not checked before 0.24.0',
    backend: 'TRITON_ATTN',
    release: '0.23.0',
    on: C80,
    query: { kvCacheDtype: 'fp8' },
    expected: 'unknown: vLLM refuses it from 0.24.0 on',
  },
  {
    id: 'TR-FP8',
    backend: 'TRITON_ATTN',
    release: '0.24.0',
    on: C80,
    query: { kvCacheDtype: 'fp8' },
    expected: 'no: requires SM89+',
  },
  {
    id: 'TR-FP8 e5m2 too',
    backend: 'TRITON_ATTN',
    release: '0.33.0',
    on: C86,
    query: { kvCacheDtype: 'fp8_e5m2' },
    expected: 'no: requires SM89+',
  },
  {
    id: 'TR-FP8 not int8',
    backend: 'TRITON_ATTN',
    release: '0.33.0',
    on: C80,
    query: { kvCacheDtype: 'int8_per_token_head' },
    expected: 'yes',
  },
  {
    id: 'TR-FP8 from 8.9',
    backend: 'TRITON_ATTN',
    release: '0.33.0',
    on: C89,
    query: { kvCacheDtype: 'fp8' },
    expected: 'yes',
  },
  {
    id: 'TR-FP8 different K and V',
    backend: 'TRITON_ATTN_DIFFKV',
    release: '0.32.0',
    on: C80,
    query: { kvCacheDtype: 'fp8' },
    expected: 'no: requires SM89+',
  },
  {
    id: 'TR-FP8 MLA before 0.26.0',
    backend: 'TRITON_MLA',
    release: '0.25.0',
    on: C80,
    query: { useMla: true, headSize: 576, kvCacheDtype: 'fp8' },
    expected: 'unknown: from 0.26.0 on',
  },
  {
    id: 'TR-FP8 MLA',
    backend: 'TRITON_MLA',
    release: '0.26.0',
    on: C80,
    query: { useMla: true, headSize: 576, kvCacheDtype: 'fp8' },
    expected: 'no: requires SM89+',
  },
  {
    id: 'TR-BF16',
    backend: 'TRITON_ATTN',
    release: '0.24.0',
    on: C75,
    query: { dtype: 'float16', kvCacheDtype: 'bfloat16' },
    expected: 'no: requires SM80+',
  },
  {
    id: 'TRAP-11',
    backend: 'TRITON_ATTN',
    release: '0.33.0',
    on: C75,
    query: { headSize: 512, dtype: 'float16' },
    expected: 'no: 98304 bytes of shared memory',
  },
  // HPC_ATTN, B12X
  {
    id: 'HPC-1 alibi',
    backend: 'HPC_ATTN',
    release: '0.33.0',
    on: C90,
    layer: { alibi: true },
    expected: 'no: HPC attention does not support ALiBi',
  },
  {
    id: 'HPC-1 soft cap',
    backend: 'HPC_ATTN',
    release: '0.33.0',
    on: C90,
    layer: { softcap: true },
    expected: 'no: HPC attention does not support logits_soft_cap',
  },
  {
    id: 'HPC-1 group',
    backend: 'HPC_ATTN',
    release: '0.33.0',
    on: C90,
    layer: { kvHeads: 16 },
    expected: 'no: head_per_group in {4, 8}, got 2',
  },
  {
    id: 'HPC-1 group not known',
    backend: 'HPC_ATTN',
    release: '0.33.0',
    on: C90,
    layer: { kvHeads: null },
    expected: 'unknown: heads are not known',
  },
  { id: 'HPC-1', backend: 'HPC_ATTN', release: '0.33.0', on: C90, expected: 'yes' },
  {
    id: 'B12-1 alibi',
    backend: 'B12X',
    release: '0.33.0',
    on: C120,
    layer: { alibi: true },
    expected: 'no: b12x does not support ALiBi.',
  },
  {
    id: 'B12-1 soft cap',
    backend: 'B12X',
    release: '0.33.0',
    on: C120,
    layer: { softcap: true },
    expected: 'no: b12x does not support logits soft cap.',
  },
  {
    id: 'B12-1 context parallel',
    backend: 'B12X',
    release: '0.33.0',
    on: C120,
    change: { decodeContextParallelSize: 2 },
    expected: 'no: context parallelism',
  },
  // FLASH_ATTN as its constructor resolves it
  {
    id: 'TRAP-1',
    backend: 'FLASH_ATTN',
    release: '0.20.0',
    on: C100,
    query: { headSize: 512 },
    layer: { headDimV: 512 },
    expected: 'no: FlashAttention 2 takes head sizes up to 256, not 512',
  },
  {
    id: 'TRAP-1 on 11.x',
    backend: 'FLASH_ATTN',
    release: '0.33.0',
    on: C110,
    query: { headSize: 320 },
    layer: { headDimV: 320 },
    expected: 'no: FlashAttention 2 takes head sizes up to 256, not 320',
  },
  {
    id: 'TRAP-2',
    backend: 'FLASH_ATTN',
    release: '0.33.0',
    on: C90,
    query: { headSize: 512 },
    change: { flashAttnVersion: 2 },
    expected: 'no: FlashAttention 2 takes head sizes up to 256',
  },
  {
    id: 'TRAP-3',
    backend: 'FLASH_ATTN',
    release: '0.17.0',
    on: C90,
    change: { flashAttnVersion: 4 },
    expected: PAGED_SM90,
  },
  {
    id: 'TRAP-3',
    backend: 'FLASH_ATTN',
    release: '0.19.1',
    on: C90,
    change: { flashAttnVersion: 4 },
    expected: PAGED_SM90,
  },
  {
    id: 'TRAP-3 after',
    backend: 'FLASH_ATTN',
    release: '0.20.0',
    on: C90,
    change: { flashAttnVersion: 4 },
    expected: 'yes',
  },
  {
    id: 'TRAP-5',
    backend: 'FLASH_ATTN',
    release: '0.27.1',
    on: C100,
    query: { headSize: 256 },
    layer: { headDimV: 256 },
    expected: 'no: does not support seqused_q/seqused_k',
  },
  {
    id: 'TRAP-5 after: FA2',
    backend: 'FLASH_ATTN',
    release: '0.28.0',
    on: C100,
    query: { headSize: 256 },
    layer: { headDimV: 256 },
    expected: 'yes',
  },
  {
    id: 'TRAP-6',
    backend: 'FLASH_ATTN',
    release: '0.24.0',
    on: C100,
    query: { headSize: 192 },
    layer: { headDimV: 192 },
    expected: 'no: not (192, 192)',
  },
  {
    id: 'TRAP-6 after: FA2',
    backend: 'FLASH_ATTN',
    release: '0.27.0',
    on: C100,
    query: { headSize: 192 },
    layer: { headDimV: 192 },
    expected: 'yes',
  },
  {
    id: 'TRAP-7',
    backend: 'FLASH_ATTN',
    release: '0.21.0',
    on: C90,
    query: { kvCacheDtype: 'int8_per_token_head' },
    expected: 'no: Unrecognized FP8 dtype: int8_per_token_head',
  },
  {
    id: 'TRAP-8',
    backend: 'FLASH_ATTN',
    release: '0.19.1',
    on: C90,
    query: { kvCacheDtype: 'fp8_e5m2' },
    expected: 'no: Unrecognized FP8 dtype: fp8_e5m2',
  },
  {
    id: 'TRAP-9',
    backend: 'FLASH_ATTN',
    release: '0.26.0',
    on: C90,
    query: { headSize: 512, kvCacheDtype: 'fp8' },
    layer: { headDimV: 512 },
    page: 64,
    expected: 'no: FA4 on 9.x has no FP8 KV cache',
  },
  {
    id: 'TRAP-9 after',
    backend: 'FLASH_ATTN',
    release: '0.31.0',
    on: C90,
    query: { headSize: 512, kvCacheDtype: 'fp8' },
    layer: { headDimV: 512 },
    page: 64,
    expected: 'yes',
  },
  {
    id: 'FA-16: a page is one KV tile',
    backend: 'FLASH_ATTN',
    release: '0.33.0',
    on: C90,
    query: { headSize: 512, kvCacheDtype: 'fp8' },
    layer: { headDimV: 512 },
    page: 128,
    expected: 'no: in pages of 64 tokens, not 128',
  },
  {
    id: 'TRAP-13',
    backend: 'FLASH_ATTN',
    release: '0.33.0',
    on: C80,
    change: { flashAttnVersion: 3 },
    expected: 'no: no FlashAttention version resolves',
  },
  {
    id: 'TRAP-13',
    backend: 'FLASH_ATTN',
    release: '0.33.0',
    on: C120,
    change: { flashAttnVersion: 4 },
    expected: 'no: no FlashAttention version resolves',
  },
  {
    id: 'V4 ALiBi reaches the resolver since 0.17.0',
    backend: 'FLASH_ATTN',
    release: '0.16.0',
    on: C90,
    layer: { alibi: true },
    expected: 'no: Alibi is not supported in FA3',
  },
  {
    id: 'V4 ALiBi reaches the resolver since 0.17.0',
    backend: 'FLASH_ATTN',
    release: '0.17.0',
    on: C90,
    layer: { alibi: true },
    expected: 'yes',
  },
];

interface Fa4Row {
  readonly id: string;
  readonly release: Release;
  readonly on: Capability;
  readonly query?: Partial<SelectorQuery>;
  readonly layer?: Partial<LayerFacts>;
  readonly page: number | null;
  readonly expected: string;
}

/** FA4 itself, whatever the resolver would give. */
const FA4_ROWS: readonly Fa4Row[] = [
  {
    id: 'FP8 KV on 11.x',
    release: '0.33.0',
    on: C110,
    query: { kvCacheDtype: 'fp8' },
    page: 16,
    expected: 'no: only supported on SM100',
  },
  {
    id: 'FP8 KV on 10.x before 0.27.0',
    release: '0.26.0',
    on: C100,
    query: { kvCacheDtype: 'fp8' },
    page: 16,
    expected: 'no: gives FA4 no FP8 KV cache',
  },
  { id: 'FP8 KV on 10.x', release: '0.27.0', on: C100, query: { kvCacheDtype: 'fp8' }, page: 16, expected: 'yes' },
  {
    id: 'V7 FP8 KV at 256',
    release: '0.29.0',
    on: C100,
    query: { headSize: 256, kvCacheDtype: 'fp8' },
    layer: { headDimV: 256 },
    page: 128,
    expected: 'no: takes no quantized KV cache',
  },
  {
    id: 'V7 sinks at 256',
    release: '0.29.0',
    on: C100,
    query: { headSize: 256, hasSink: true },
    layer: { headDimV: 256 },
    page: 128,
    expected: 'no: does not support learnable_sink',
  },
  {
    id: 'V7 soft cap at 256',
    release: '0.33.0',
    on: C110,
    query: { headSize: 256 },
    layer: { headDimV: 256, softcap: true },
    page: 128,
    expected: 'no: does not support softcap',
  },
  {
    id: 'FA-15 256 in pages of 128',
    release: '0.33.0',
    on: C100,
    query: { headSize: 256 },
    layer: { headDimV: 256 },
    page: 128,
    expected: 'yes',
  },
  {
    id: 'FA-15 256 in pages of 16',
    release: '0.33.0',
    on: C100,
    query: { headSize: 256 },
    layer: { headDimV: 256 },
    page: 16,
    expected: 'no: pages of 128 tokens, not 16',
  },
  {
    id: 'float16 sinks',
    release: '0.29.0',
    on: C100,
    query: { hasSink: true, dtype: 'float16' },
    page: 16,
    expected: 'no: learnable_sink must be bfloat16',
  },
  {
    id: 'float16 sinks',
    release: '0.30.0',
    on: C100,
    query: { hasSink: true, dtype: 'float16' },
    page: 16,
    expected: 'yes',
  },
  {
    id: 'ALiBi',
    release: '0.33.0',
    on: C90,
    layer: { alibi: true },
    page: 16,
    expected: 'no: Alibi is not supported in FA4',
  },
  { id: '12.x', release: '0.33.0', on: C120, page: 16, expected: 'no: paged KV not supported on SM 12.0' },
];

function check(expected: string, answer: string, reasons: readonly { readonly text: string }[]): void {
  const [word, ...rest] = expected.split(': ');
  const text = reasons.map((reason) => reason.text).join(' · ');
  assert.equal(answer, word, text);
  const part = rest.join(': ');
  assert.ok(text.includes(part), `"${text}" does not say "${part}"`);
}

describe('rows of the reference: what passes the validator and fails later', () => {
  ROWS.forEach(({ id, backend, release, on, query, layer, page, change, expected }, index) => {
    test(`${id}: ${backend} ${release} on ${on.join('.')} (${index})`, () => {
      const answer = candidateWorks(
        backend,
        { ...QUERY, ...query },
        context(release, on, change),
        { ...LAYER, ...layer },
        page ?? 16,
      );
      check(expected, answer.answer, answer.reasons);
    });
  });
});

describe('what the FA4 inside vLLM takes, whatever the resolver gives', () => {
  FA4_ROWS.forEach(({ id, release, on, query, layer, page, expected }, index) => {
    test(`${id}: ${release} on ${on.join('.')} (${index})`, () => {
      const answer = flashAttnWorks(4, { ...QUERY, ...query }, context(release, on), { ...LAYER, ...layer }, page);
      check(expected, answer.answer, answer.reasons);
    });
  });
});

describe('what a flash-attn-4 of pip takes of a layer', () => {
  const rows: readonly (readonly [
    version: string,
    on: Capability,
    query: Partial<SelectorQuery>,
    layer: Partial<LayerFacts>,
    expected: string,
  ])[] = [
    ['4.0.0b36', C90, {}, { alibi: true }, 'no: Alibi is not supported in FA4'],
    ['4.0.0b25', C90, { hasSink: true, dtype: 'float16' }, {}, 'no: learnable_sink must be bfloat16'],
    ['4.0.0b26', C90, { hasSink: true, dtype: 'float16' }, {}, 'yes'],
    ['4.0.0b33', C100, { headSize: 256, hasSink: true }, { headDimV: 256 }, 'no: does not support learnable_sink'],
    ['4.0.0b33', C100, { headSize: 256 }, { headDimV: 256, softcap: true }, 'no: does not support softcap'],
    ['4.0.0b34', C100, { headSize: 256, hasSink: true }, { headDimV: 256, softcap: true }, 'yes'],
  ];
  rows.forEach(([systemFa4, on, query, layer, expected], index) => {
    test(`${systemFa4} on ${on.join('.')} (${index})`, () => {
      const asked = context('0.33.0', on, { libraries: { systemFa4 } });
      const answer = systemFa4Works({ ...QUERY, ...query }, asked, { ...LAYER, ...layer }, 128);
      check(expected, answer.answer, answer.reasons);
    });
  });
});

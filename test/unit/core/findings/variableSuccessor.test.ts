/** What is offered for a dead variable starts under the release, beside what the file sets; else the next step is said. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { serveFindings } from '../../../../extension/core/findings/findingsServe';
import { parseServeFile } from '../../../../extension/core/serve/serveConfig';

/** The texts to copy, and the end of the finding's sentences, for an assignment and the arguments behind it. */
function offered(release: string, assignment: string, args = ''): readonly [copies: readonly string[], detail: string] {
  const parsed = parseServeFile('/w/serve.sh', `export ${assignment}\nvllm serve m ${args}\n`, 'shell');
  const [finding] = serveFindings(release, parsed).filter((each) => each.code.endsWith('-env-variable'));
  assert.ok(finding, 'there is a finding');
  return [finding.fixes.map((fix) => fix.text ?? ''), finding.detail];
}

type Row = readonly [release: string, assignment: string, args: string, copies: readonly string[], says: RegExp];

function rows(table: readonly Row[]): void {
  for (const [release, assignment, args, copies, says] of table) {
    test(`${release}: ${assignment} ${args}`, () => {
      const [texts, detail] = offered(release, assignment, args);
      assert.deepEqual(texts, copies);
      assert.match(detail, says);
    });
  }
}

describe('what the release takes can be copied', () => {
  rows([
    [
      '0.33.0',
      'VLLM_ATTENTION_BACKEND=TRITON_ATTN',
      '',
      ['--attention-config.backend=TRITON_ATTN'],
      /Use --attention-config\.backend instead\.$/,
    ],
    [
      '0.14.1',
      'VLLM_FLASH_ATTN_VERSION=3',
      '',
      ['--attention-config.flash_attn_version=3'],
      /Use .*flash_attn_version instead\.$/,
    ],
    ['0.17.0', 'VLLM_FLASH_ATTN_VERSION=4', '', ['--attention-config.flash_attn_version=4'], /instead\.$/],
    ['0.33.0', 'VLLM_USE_TRTLLM_ATTENTION=0', '', ['--attention-config.use_trtllm_attention=false'], /instead\.$/],
    ['0.20.2', 'VLLM_USE_CUDNN_PREFILL=1', '', ['--attention-config.use_cudnn_prefill=true'], /instead\.$/],
    [
      '0.33.0',
      'VLLM_FLASH_ATTN_MAX_NUM_SPLITS_FOR_CUDA_GRAPH=16',
      '',
      ['--attention-config.flash_attn_max_num_splits_for_cuda_graph=16'],
      /instead\.$/,
    ],
    // Another option does not stand against it.
    [
      '0.33.0',
      'VLLM_FLASH_ATTN_VERSION=3',
      '--attention-backend FLASH_ATTN',
      ['--attention-config.flash_attn_version=3'],
      /instead\.$/,
    ],
  ]);
});

describe('what the release does not take is not offered', () => {
  rows([
    [
      '0.33.0',
      'VLLM_ATTENTION_BACKEND=FLASH_ATTN_VLLM_V1',
      '',
      [],
      /Remove it; vLLM 0\.33\.0 does not take FLASH_ATTN_VLLM_V1 as backend\.$/,
    ],
    ['0.14.1', 'VLLM_ATTENTION_BACKEND=TRITON_ATTN_VLLM_V1', '', [], /does not take TRITON_ATTN_VLLM_V1 as backend\.$/],
    ['0.33.0', 'VLLM_ATTENTION_BACKEND=XFORMERS', '', [], /does not take XFORMERS as backend\.$/],
    [
      '0.33.0',
      'VLLM_ATTENTION_BACKEND=ROCM_ATTN',
      '',
      [],
      /does not take ROCM_ATTN as backend on CUDA without a plug-in\.$/,
    ],
    ['0.33.0', 'VLLM_ATTENTION_BACKEND=auto', '', [], /Remove it\.$/],
    ['0.33.0', 'VLLM_ATTENTION_BACKEND=', '', [], /Remove it\.$/],
    [
      '0.14.1',
      'VLLM_FLASH_ATTN_VERSION=4',
      '',
      [],
      /Remove it; vLLM 0\.14\.1 does not take 4 as flash_attn_version\.$/,
    ],
    ['0.33.0', 'VLLM_FLASH_ATTN_VERSION=5', '', [], /does not take 5 as flash_attn_version\.$/],
    ['0.33.0', 'VLLM_USE_TRTLLM_ATTENTION=maybe', '', [], /does not take maybe as use_trtllm_attention\.$/],
    ['0.21.0', 'VLLM_USE_CUDNN_PREFILL=1', '', [], /does not take 1 as use_cudnn_prefill\.$/],
    ['0.33.0', 'VLLM_USE_CUDNN_PREFILL=1', '', [], /Remove it\.$/],
    ['0.33.0', 'VLLM_ATTENTION_BACKEND=$ASKED', '', [], /Use --attention-config\.backend instead\.$/],
  ]);
});

describe('what the file sets stays', () => {
  const json = `-ac '{"flash_attn_version": 3}'`;
  const taken = /Remove it; attention_backend is set in this file\.$/;
  rows([
    ['0.33.0', 'VLLM_ATTENTION_BACKEND=TRITON_ATTN', '--attention-backend FLASH_ATTN', [], taken],
    ['0.14.1', 'VLLM_ATTENTION_BACKEND=TRITON_ATTN', '--attention-backend FLASH_ATTN', [], taken],
    [
      '0.33.0',
      'VLLM_ATTENTION_BACKEND=TRITON_ATTN',
      '-ac.backend FLASH_ATTN',
      [],
      /attention_config\.backend is set in this file\.$/,
    ],
    ['0.33.0', 'VLLM_FLASH_ATTN_VERSION=2', json, [], /attention_config\.flash_attn_version is set in this file\.$/],
    // Of its own, a dotted option would replace the whole JSON value; attention_backend is put into it.
    [
      '0.33.0',
      'VLLM_ATTENTION_BACKEND=TRITON_ATTN',
      json,
      ['--attention-backend=TRITON_ATTN'],
      /Use --attention-backend instead\.$/,
    ],
    [
      '0.33.0',
      'VLLM_USE_TRTLLM_ATTENTION=1',
      json,
      [],
      /Set use_trtllm_attention where the attention config of this file is set/,
    ],
    ['0.33.0', 'VLLM_USE_TRTLLM_ATTENTION=1', '-ac.flash_attn_version 3', [], /Set use_trtllm_attention where/],
  ]);
});

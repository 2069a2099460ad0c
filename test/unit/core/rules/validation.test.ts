/** What the installed vLLM says, against the catalog: agreement, contradictions, what overrules what, the bug report. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as v from 'valibot';
import { parseRecording, replayRecording } from '../../../../extension/core/catalog/replay';
import { evaluate } from '../../../../extension/core/rules/evaluate';
import {
  contradictions,
  failedValidation,
  newReleaseFindings,
  progressText,
  validationKey,
  validationNotes,
  validationOutputSchema,
  validationQuestion,
  withValidation,
  type Validation,
  type ValidationAnswer,
} from '../../../../extension/core/rules/validation';
import { bugReportJson, bugReportMarkdown } from '../../../../extension/core/rules/validationReport';
import { DEFAULT_SERVE_SETTINGS, UNKNOWN_AVAILABILITY, type EvaluateRequest } from '../../../../extension/core/request';
import { explainForm } from '../../../../extension/core/rules/explanation';
import { deriveAnswer, requestFor } from '../../../../extension/core/state/derive';
import { IDLE, ready } from '../../../../extension/core/state/store';
import { GEMMA4_TEXT, GPT_OSS, LLAMA } from './evaluateFixtures';
import { VALIDATION_HEAD } from './validationFixtures';

function request(change: Partial<EvaluateRequest> = {}): EvaluateRequest {
  return {
    vllmVersion: '0.33.0',
    capability: [9, 0],
    model: LLAMA,
    serve: DEFAULT_SERVE_SETTINGS,
    useSystemFlashAttn: false,
    availability: UNKNOWN_AVAILABILITY,
    ...change,
  };
}

type Said = ValidationAnswer['cases'][number]['answer'];

/** What vLLM 0.33.0 says about a plain bf16 layer of head size 128 on 9.0, recorded from it. */
const LLAMA_SAID: Said = {
  priority: ['FLASH_ATTN', 'FLASHINFER', 'TRITON_ATTN', 'FLEX_ATTENTION', 'TURBOQUANT'],
  perBackend: {
    FLASH_ATTN: [],
    FLASHINFER: [],
    TRITON_ATTN: [],
    FLEX_ATTENTION: [],
    TURBOQUANT: ['kv_cache_dtype not supported'],
  },
  raised: {},
  selected: 'FLASH_ATTN',
  error: null,
  errorType: null,
  faVersion: 3,
  faVersionBare: 3,
};

function answer(change: Partial<ValidationAnswer> = {}, said: Partial<Said> = {}): ValidationAnswer {
  return {
    ...VALIDATION_HEAD,
    cases: [{ id: 0, unsupported: [], answer: { ...LLAMA_SAID, ...said } }],
    durationMs: 1,
    ...change,
  };
}

function laid(asked: EvaluateRequest, given: ValidationAnswer) {
  const validation: Validation = { kind: 'answered', key: validationKey(asked), answer: given };
  return withValidation(evaluate(asked), asked, validation);
}

describe('the question', () => {
  it('has one case per layer group, with the arguments that the release hands on', () => {
    const question = validationQuestion(request({ model: GPT_OSS }), true);
    assert.deepEqual(question.capability, [9, 0]);
    assert.deepEqual(
      question.cases.map(({ id, request: asked }) => [id, asked.headSize, asked.hasSink, asked.hasSlidingWindow]),
      [
        [0, 64, true, true],
        [1, 64, true, false],
      ],
    );
    assert.equal(question.cases[0]?.faArgs.hasSinks, true);
    assert.equal(question.cases[0].model?.numAttentionHeads, 64);
    assert.equal(validationQuestion(request(), false).capability, null);
  });
  it('carries the settings that the release itself would write', () => {
    const gemma = validationQuestion(request({ vllmVersion: '0.20.2', model: GEMMA4_TEXT }), true);
    assert.deepEqual(
      gemma.cases.map((each) => each.config.backend),
      ['TRITON_ATTN', 'TRITON_ATTN'],
    );
    const invariant = request({ serve: { ...DEFAULT_SERVE_SETTINGS, batchInvariant: true } });
    assert.deepEqual(validationQuestion(invariant, true).env, { VLLM_BATCH_INVARIANT: '1' });
  });
  it('is another one for another capability, release, model or setting', () => {
    const keys = [
      request(),
      request({ capability: [10, 0] }),
      request({ vllmVersion: '0.32.0' }),
      request({ model: GPT_OSS }),
      request({ serve: { ...DEFAULT_SERVE_SETTINGS, kvCacheDtype: 'fp8' } }),
    ].map(validationKey);
    assert.equal(new Set(keys).size, keys.length);
    assert.equal(validationKey(request()), validationKey(request()));
  });
});

describe('an answer that agrees', () => {
  it('contradicts nothing and raises every verdict about selection to validated', () => {
    const asked = request();
    assert.deepEqual(contradictions(asked, answer()), []);
    const evaluation = laid(asked, answer());
    assert.equal(evaluation.selections[0]?.backend, 'FLASH_ATTN');
    assert.equal(evaluation.selections[0].level, 'validated');
    const selects = evaluation.verdicts.filter((verdict) => verdict.question === 'selects');
    assert.deepEqual(new Set(selects.map((verdict) => verdict.level)), new Set(['validated']));
    assert.deepEqual(new Set(evaluation.findings.map((finding) => finding.code)).has('catalogContradiction'), false);
  });
  it('never touches the other question', () => {
    const before = evaluate(request()).verdicts.filter((verdict) => verdict.question === 'works');
    const after = laid(request(), answer()).verdicts.filter((verdict) => verdict.question === 'works');
    assert.deepEqual(after, before);
  });
});

describe('an answer that differs', () => {
  const differing = answer(
    {},
    {
      perBackend: { ...LLAMA_SAID.perBackend, FLASH_ATTN: ['head_size not supported'] },
      selected: 'FLASHINFER',
      faVersion: 2,
    },
  );
  it('is a finding with both answers per question, and what is installed is shown', () => {
    const asked = request();
    const found = contradictions(asked, differing);
    assert.deepEqual(
      found.map(({ question, about, recorded, computed }) => [question, about, recorded, computed]),
      [
        ['selected', '', 'FLASHINFER', 'FLASH_ATTN'],
        ['refused', 'FLASH_ATTN', '[head_size not supported]', '[]'],
        ['reasons', 'FLASH_ATTN', '[head_size not supported]', '[]'],
        ['flashAttnVersion', 'for this layer / without arguments', '2/3', '3/3'],
      ],
    );
    const evaluation = laid(asked, differing);
    assert.equal(evaluation.selections[0]?.backend, 'FLASHINFER');
    assert.match(
      evaluation.selections[0].reasons.map((reason) => reason.text).join(),
      /the catalog had said FLASH_ATTN/,
    );
    const refused = evaluation.verdicts.find((each) => each.subject === 'FLASH_ATTN' && each.question === 'selects');
    assert.deepEqual([refused?.answer, refused?.level], ['no', 'validated']);
    const findings = evaluation.findings.filter((finding) => finding.code === 'catalogContradiction');
    assert.equal(findings.length, 4);
    assert.match(findings[0]?.detail ?? '', /says: FLASHINFER\. The catalog says: FLASH_ATTN\./);
    assert.deepEqual(new Set(findings.map((finding) => finding.id)).size, 4);
  });
  it('is called a difference, not a contradiction, for a release the catalog does not know', () => {
    const asked = request({ vllmVersion: '0.99.0' });
    const evaluation = laid(asked, { ...differing, vllm: '0.99.0' });
    assert.match(evaluation.findings[0]?.title ?? '', /vLLM 0\.99\.0 differs from the rules of 0\.33\.0/);
  });
  it('stops where the installed vLLM stops, with its own text', () => {
    const error = 'No valid attention backend found for cuda with X. Reasons: {}.';
    const evaluation = laid(request(), answer({}, { selected: null, error, errorType: 'ValueError' }));
    assert.deepEqual(
      [evaluation.selections[0]?.backend, evaluation.selections[0]?.answer, evaluation.selections[0]?.error],
      [null, 'no', error],
    );
  });
  it('is not decided where it hangs on a download that was not tried', () => {
    const said: Said = { ...LLAMA_SAID, selected: 'TRITON_ATTN' };
    const evaluation = laid(
      request(),
      answer({ cases: [{ id: 0, unsupported: [], answer: said, withCubins: LLAMA_SAID }] }),
    );
    assert.equal(evaluation.selections[0]?.level, undefined);
    assert.match(evaluation.selections[0]?.reasons[0]?.text ?? '', /TRITON_ATTN as it is, and FLASH_ATTN if it can/);
    assert.ok(evaluation.verdicts.every((verdict) => verdict.level === 'declared'));
  });
  it('takes the libraries that are installed into account before it calls anything a contradiction', () => {
    const without = answer(
      { availability: { ...answer().availability, flashinfer: false } },
      {
        perBackend: { ...LLAMA_SAID.perBackend, FLASHINFER: ["ModuleNotFoundError: No module named 'flashinfer'"] },
      },
    );
    assert.deepEqual(contradictions(request(), without), []);
  });
});

describe('what does not count', () => {
  it('an answer to another question changes nothing', () => {
    const before = evaluate(request());
    const other: Validation = {
      kind: 'answered',
      key: validationKey(request({ capability: [8, 0] })),
      answer: answer(),
    };
    assert.equal(withValidation(before, request(), other), before);
    assert.equal(withValidation(before, request(), null), before);
  });
  it('a failure is a finding of severity error and leaves the declared answer', () => {
    const asked = request();
    const before = evaluate(asked);
    const evaluation = withValidation(
      before,
      asked,
      failedValidation(validationKey(asked), 'torch', 'torch is not installed.'),
    );
    assert.deepEqual(evaluation.selections, before.selections);
    assert.deepEqual([evaluation.findings[0]?.code, evaluation.findings[0]?.severity], ['validation-failed', 'error']);
    assert.match(
      evaluation.findings[0]?.detail ?? '',
      /^While importing torch: torch is not installed\. What is shown stays declared/,
    );
  });
});

describe('derived state', () => {
  it('lays it over the answer with the flag off only, with the fix that exports the report', () => {
    const form = explainForm({ dtype: 'bf16', headDims: [128], pageSizes: [16] }, false);
    const inputs = { form, model: IDLE, serve: IDLE, environment: IDLE };
    const key = validationKey(requestFor(inputs, '0.33.0', [9, 0]));
    const validation: Validation = { kind: 'answered', key, answer: answer({}, { selected: 'TRITON_ATTN' }) };
    const derive = (minor: number) =>
      deriveAnswer({
        ...inputs,
        validation: ready(validation),
        vllmVersion: { value: '0.33.0', setIn: 'user' },
        hasFolder: false,
        major: 9,
        minor,
      });
    const derived = derive(0);
    assert.deepEqual(
      [derived?.flagOff, derived?.flagOn].map((each) => each?.evaluation.selections[0]?.level),
      ['validated', undefined],
    );
    const finding = derived?.flagOff.evaluation.findings.find((each) => each.code === 'catalogContradiction');
    assert.deepEqual(
      finding?.fixes.map((fix) => fix.id),
      ['export-bug-report'],
    );
    assert.equal(derive(1)?.flagOff.evaluation.selections[0]?.level, undefined, 'another family, another question');
  });
  it('offers to ask for a release that the catalog does not know', () => {
    const stamp = { requestedVersion: '0.34.0', evaluatedAs: '0.33.0', newestKnown: '0.33.0', checkedOn: '2026-11-22' };
    assert.equal(newReleaseFindings({ ...stamp, match: 'newer' })[0]?.code, 'releaseNotInCatalog');
    assert.equal(newReleaseFindings({ ...stamp, match: 'development' }).length, 1);
    assert.deepEqual(newReleaseFindings({ ...stamp, match: 'exact' }), []);
  });
});

describe('schema and words', () => {
  it('takes an answer and a failure, and refuses other schemas and shapes', () => {
    assert.ok(v.is(validationOutputSchema, answer()));
    assert.ok(
      v.is(validationOutputSchema, {
        schema: 'attn-diag-validate/1',
        failed: { stage: 'vllm', text: 'x' },
        durationMs: 1,
      }),
    );
    assert.equal(v.is(validationOutputSchema, { ...answer(), schema: 'attn-diag-validate/2' }), false);
    assert.equal(v.is(validationOutputSchema, { ...answer(), cases: [{ id: 0 }] }), false);
    assert.equal(v.is(validationOutputSchema, { ...answer(), standIns: ['x'.repeat(30_000)] }), false);
  });
  it('says what stood in, what is unsupported and how far it is', () => {
    const notes = validationNotes(
      answer({
        standIns: ['libcuda.so.1: none'],
        cases: [{ id: 0, unsupported: ['request.useRswa'], answer: LLAMA_SAID }],
      }),
    );
    assert.match(notes.join('\n'), /stand-ins: libcuda.*\n.*Unsupported by this release.*request\.useRswa/);
    assert.equal(progressText({ stage: 'asking', done: 1, total: 4 }), 'asking (2 of 4)');
    assert.equal(progressText({ stage: 'vllm', done: null, total: null }), 'importing vLLM');
    assert.equal(progressText({ stage: 'new', done: null, total: null }), 'new');
  });
});

describe('the bug report', () => {
  const privateWords = { homeDir: '/home/ada', userName: 'ada', hostName: 'engine' };
  const wrong = answer(
    { importErrors: { FLASHINFER: 'ImportError: /home/ada/lib/x.so' } },
    { selected: 'TRITON_ATTN' },
  );
  const input = { request: request(), answer: wrong, toolVersion: '1.0.0', checkedOn: '2026-11-22', privateWords };
  it('is a recording that replay reads and finds the same in, without names of the machine', () => {
    const parsed = parseRecording(JSON.parse(bugReportJson(input)));
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.issue);
    const { disagreements } = replayRecording(parsed.recording);
    assert.deepEqual(
      disagreements.map((each) => each.question),
      ['selected'],
    );
    assert.doesNotMatch(bugReportJson(input), /ada/);
  });
  it('says both answers in Markdown and holds the recording', () => {
    const text = bugReportMarkdown(input);
    assert.match(text, /contradicts the catalog in 1 place\./);
    assert.match(text, /## d128: selected\n\n- installed: TRITON_ATTN\n- catalog: FLASH_ATTN/);
    assert.match(text, /```json\n\{\n {2}"schema": "attn-oracle\/1"/);
    assert.doesNotMatch(text, /ada/);
    assert.match(bugReportMarkdown({ ...input, answer: answer() }), /agree\./);
  });
});

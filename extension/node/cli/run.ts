/** `attn-diag run`: the bundled kernels, and installed libraries beside them, on a preset, a shape given by hand or listed cases. */
import type { AttentionCase } from '../../core/attentionCase';
import type { DeviceFacts } from '../../core/facts';
import { expandForm, expandForms } from '../../core/measure/caseGrid';
import { MAX_CASE_LIST_BYTES, parseCaseList } from '../../core/measure/caseList';
import { findPreset, PRESETS, type Preset } from '../../core/measure/presets';
import type { RequestForm } from '../../core/measure/requestForm';
import { textTable } from '../../core/format';
import { DEFAULT_RUN_OPTIONS, type RunOptions } from '../../protocol/helperApi';
import { readTextFile } from '../reportFile';
import { BACKEND_HELP, BACKEND_OPTIONS, readBackends } from './backends';
import { EXIT, type Command } from './io';
import { DEVICE_HELP, DEVICE_OPTIONS, measure } from './measure';
import { COMMON_HELP, COMMON_OPTIONS, oneOf, readOptions, usage, wholeNumber, wholeNumbers } from './options';

/** Options that describe a shape; they start from the preset named beside them, or from `quick`. */
const SHAPE_OPTIONS = {
  op: { type: 'string' },
  dtype: { type: 'string' },
  'head-dim': { type: 'string' },
  page: { type: 'string' },
  heads: { type: 'string' },
  batch: { type: 'string' },
  'q-len': { type: 'string' },
  'kv-len': { type: 'string' },
  full: { type: 'boolean' },
  causal: { type: 'boolean' },
} as const;

const RUN_OPTIONS = {
  ...COMMON_OPTIONS,
  ...DEVICE_OPTIONS,
  ...SHAPE_OPTIONS,
  ...BACKEND_OPTIONS,
  preset: { type: 'string' },
  cases: { type: 'string' },
  'list-presets': { type: 'boolean', default: false },
  'check-only': { type: 'boolean', default: false },
  'check-rows': { type: 'string' },
  'target-ms': { type: 'string' },
  'warmup-ms': { type: 'string' },
  'no-ceilings': { type: 'boolean', default: false },
  'allow-slow-cpu': { type: 'boolean', default: false },
} as const;

export const runCommand: Command = {
  name: 'run',
  summary: 'measure the bundled kernels and installed libraries: correctness, time, share of the measured ceiling',
  help: `usage: attn-diag run [--preset ID | --cases FILE] [shape] [options]

Runs every head size with every page layout, checks each against a float64 reference and times it.
Without --device it takes the first GPU, else the CPU reference device (with smaller presets).

  --preset ID,…        named requests, run one after the other (see --list-presets); default: quick
  --list-presets       print the presets and stop
  --cases FILE         a JSON list of cases instead, as the rows of a report hold them: op, headDim, qHeads, kvHeads,
                       batch, qLens, kvLens and causal are needed, the rest has defaults (bf16, contiguous, …)

Shape (changes the preset):
  --op OP              prefill or decode
  --head-dim N,…       head sizes
  --page N,…           tokens per KV page; "contiguous" for none
  --heads Q/KV         query and KV heads, e.g. 32/8
  --batch N  --q-len N  --kv-len N
  --causal | --full    mask
  --dtype T            bf16 or fp16

Care and time:
  --check-only         correctness without timing
  --check-rows N|all   query rows compared with the reference (default ${DEFAULT_RUN_OPTIONS.checkRows})
  --target-ms N        timed work per case (default ${DEFAULT_RUN_OPTIONS.targetMs})
  --warmup-ms N        warm-up before timing (default ${DEFAULT_RUN_OPTIONS.warmupMs})
  --no-ceilings        skip the ceilings (no percentages then)
  --allow-slow-cpu     run cases that take the CPU device more than 10 s

${BACKEND_HELP}

${DEVICE_HELP}
${COMMON_HELP}

Exit codes: 0 every row is ok or unsupported, 1 a row is wrong, failed, timed out, out of memory or crashed, or the run
failed, 2 usage, 3 the device asked for is not there, 130 interrupted`,
  async run(args, io) {
    const { values } = readOptions(args, RUN_OPTIONS);
    if (values['list-presets']) {
      io.out(`${presetList(io.columns)}\n`);
      return EXIT.ok;
    }
    if (values.cpu && values.device !== undefined) throw usage('--cpu and --device exclude each other.');
    if (values.causal === true && values.full === true) throw usage('--causal and --full exclude each other.');
    const change = readShape(values);
    const listed = await readCases(values.cases, values.preset !== undefined || Object.keys(change).length > 0);
    const ids = new Set((values.preset ?? 'quick').split(',').map((id) => id.trim()));
    const presets = [...ids].map(chosenPreset);
    const casesOn = (kind: DeviceFacts['kind']): readonly AttentionCase[] =>
      listed ?? expandForms(presets.map((preset) => ({ ...(kind === 'cpu' ? preset.cpu : preset.gpu), ...change })));
    // Cut down for the CPU, two presets may become one, so that what is too many here is too many everywhere: told before any
    // device is touched.
    casesOn('cpu');
    // Read now, so that a mistake is told before any device is touched.
    const options = readRunOptions(values);
    const backends = await readBackends(values, io);
    return measure(io, {
      command: 'run',
      device: values.cpu ? 'cpu' : (values.device ?? null),
      busyOk: values['busy-ok'],
      cases: (device) => casesOn(device.kind),
      options,
      backends,
      shown: 'all',
      target: values.json ?? null,
      redacted: !values['no-redact'],
    });
  },
};

/** The cases of --cases; `null` = they are not listed in a file. */
async function readCases(file: string | undefined, alsoShaped: boolean): Promise<readonly AttentionCase[] | null> {
  if (file === undefined) return null;
  if (alsoShaped) throw usage('--cases names whole cases; --preset and the options of the shape do not go with it.');
  return parseCaseList(await readTextFile(file, MAX_CASE_LIST_BYTES), file);
}

function chosenPreset(id: string): Preset {
  const preset = findPreset(id);
  if (preset === undefined) {
    throw usage(`There is no preset "${id}"; there are ${PRESETS.map((each) => each.id).join(', ')}.`);
  }
  return preset;
}

function presetList(columns: number): string {
  return textTable(
    [{ title: 'preset' }, { title: 'cases', align: 'right' }, { title: 'what it answers' }],
    PRESETS.map((each) => [each.id, String(expandForm(each.gpu).length), each.description]),
    columns,
  );
}

type ShapeValues = { readonly [K in keyof typeof SHAPE_OPTIONS]?: string | boolean | undefined };

function readShape(values: ShapeValues): Partial<RequestForm> {
  const text = (name: keyof typeof SHAPE_OPTIONS): string | undefined => {
    const value = values[name];
    return typeof value === 'string' ? value : undefined;
  };
  const change: { -readonly [K in keyof RequestForm]?: RequestForm[K] } = {};
  const op = text('op');
  if (op !== undefined) {
    change.op = oneOf('op', op, ['prefill', 'decode']);
    if (change.op === 'decode' && text('q-len') === undefined) change.qLen = 1;
  }
  const dtype = text('dtype');
  if (dtype !== undefined) change.dtype = oneOf('dtype', dtype, ['bf16', 'fp16']);
  const headDims = text('head-dim');
  if (headDims !== undefined) change.headDims = wholeNumbers('head-dim', headDims, 0, 100_000);
  const page = text('page');
  if (page !== undefined) {
    change.pageSizes = page
      .split(',')
      .map((each) => (each.trim() === 'contiguous' ? null : wholeNumber('page', each.trim(), 0, 100_000)));
  }
  const heads = text('heads');
  if (heads !== undefined) {
    const [qHeads, kvHeads, ...more] = heads.split('/');
    if (qHeads === undefined || kvHeads === undefined || more.length > 0) {
      throw usage(`--heads takes query and KV heads like 32/8, not "${heads}".`);
    }
    change.qHeads = wholeNumber('heads', qHeads, 1, 1024);
    change.kvHeads = wholeNumber('heads', kvHeads, 1, 1024);
  }
  const batch = text('batch');
  if (batch !== undefined) change.batch = wholeNumber('batch', batch, 1, 4096);
  const qLen = text('q-len');
  if (qLen !== undefined) change.qLen = wholeNumber('q-len', qLen, 0, 4_194_304);
  const kvLen = text('kv-len');
  if (kvLen !== undefined) change.kvLen = wholeNumber('kv-len', kvLen, 0, 16_777_216);
  if (values.causal === true) change.causal = true;
  if (values.full === true) change.causal = false;
  return change;
}

type CareValues = {
  readonly 'check-only': boolean;
  readonly 'check-rows'?: string | undefined;
  readonly 'target-ms'?: string | undefined;
  readonly 'warmup-ms'?: string | undefined;
  readonly 'no-ceilings': boolean;
  readonly 'allow-slow-cpu': boolean;
};

function readRunOptions(values: CareValues): RunOptions {
  const rows = values['check-rows'];
  const targetMs = values['target-ms'];
  const warmupMs = values['warmup-ms'];
  return {
    ...DEFAULT_RUN_OPTIONS,
    checkOnly: values['check-only'],
    checkRows:
      rows === undefined
        ? DEFAULT_RUN_OPTIONS.checkRows
        : rows === 'all'
          ? 'all'
          : wholeNumber('check-rows', rows, 1, 1_000_000),
    targetMs: targetMs === undefined ? DEFAULT_RUN_OPTIONS.targetMs : wholeNumber('target-ms', targetMs, 1, 60_000),
    warmupMs: warmupMs === undefined ? DEFAULT_RUN_OPTIONS.warmupMs : wholeNumber('warmup-ms', warmupMs, 0, 60_000),
    ceilings: !values['no-ceilings'] && !values['check-only'],
    allowSlowCpu: values['allow-slow-cpu'],
  };
}

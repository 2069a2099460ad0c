/**
 * The three tools for language models: names, input schemas and what an input asks for. The editor and `attn-diag mcp`
 * offer the same ones; package.json repeats the schemas because a manifest is static, and a test compares them. Pure.
 */
import * as v from 'valibot';
import type { AttentionCase } from './attentionCase';
import { expandForm } from './measure/caseGrid';
import { DiagError } from './errors';
import { errorText } from './errorText';
import { explainForm, FLAG_CHOICES, parseCapabilities } from './rules/explanation';
import type { DeviceFacts } from './facts';
import { loadServeFile } from './state/loadedFiles';
import type { LoadedServeFile } from './state/appState';
import { findPreset, PRESETS } from './measure/presets';
import type { RequestForm } from './measure/requestForm';
import { largestCaseBytes } from './measure/runEstimate';
import { firstIssue } from './schemaIssue';

/** A tool as it is announced. */
export interface AgentTool {
  readonly name: AgentToolName;
  readonly title: string;
  /** For the model: what it answers, and when to call it. */
  readonly description: string;
  /** JSON Schema of the arguments. */
  readonly inputSchema: Readonly<Record<string, unknown>>;
  /** It only looks and starts no work on a GPU. */
  readonly readOnly: boolean;
}

export type AgentToolName = 'explain_attention_backend' | 'get_gpu_facts' | 'run_attention_kernels';

/** More cases than this are a sweep for a person to start. */
export const MAX_AGENT_CASES = 64;

/** On the CPU device: query-key pairs and KV bytes of one case. The largest CPU preset is far below both. */
const MAX_CPU_SCORES = 4_194_304;
const MAX_CPU_CASE_BYTES = 256 * 1024 * 1024;

const integers = (minimum: number, maxItems: number, description: string) => ({
  type: 'array',
  items: { type: 'integer', minimum, maximum: 100_000 },
  minItems: 1,
  maxItems,
  description,
});
const count = (minimum: number, maximum: number, description: string) => ({
  type: 'integer',
  minimum,
  maximum,
  description,
});
const text = (description: string, maxLength = 100) => ({ type: 'string', maxLength, description });
const choice = (choices: readonly string[], description: string) => ({ type: 'string', enum: choices, description });

const PAGES = 'Page layouts of the KV cache in tokens per page; 0 stands for contiguous KV.';

/** In the order they are listed; the order never changes, so that a client may cache it. */
export const AGENT_TOOLS: readonly AgentTool[] = [
  {
    name: 'explain_attention_backend',
    title: 'Explain vLLM attention backend selection',
    description:
      "Which attention backend a vLLM release selects for a model's layers on an NVIDIA SM family, why every other backend is refused (vLLM's own reason strings with their source), and findings with fixes. Applies catalogued rules of the release; runs nothing. Answers are yes, no or unknown; report unknown as unknown. With useSystemFlashAttn it also says what that flag changes. Several families in sm, or upgradeTo, give the answers side by side. Ask about a model by modelPath, or about head sizes by headDims.",
    readOnly: true,
    inputSchema: {
      type: 'object',
      properties: {
        vllmVersion: text(
          'vLLM release such as 0.24.0, or newest. Default: the release set in the editor, else the newest known.',
        ),
        sm: text(
          "SM family such as 9.0, 10.0 or sm_120; several with commas between are compared side by side. Default: this machine's first GPU, else 9.0.",
          60,
        ),
        upgradeTo: text(
          'Compare vllmVersion with this release, for one sm: what changes for each layer group and why, and which findings come and go.',
        ),
        modelPath: text(
          'A Hugging Face config.json or the folder that holds it, below a folder that may be read.',
          4096,
        ),
        headDims: integers(1, 16, "Head sizes to ask about. Default: the model's, else 128."),
        pageSizes: integers(0, 8, `${PAGES} Default: 16. Each one makes the answer longer.`),
        dtype: choice(['bf16', 'fp16'], 'Activation type when no model says it. Default: bf16.'),
        mla: { type: 'boolean', description: 'Without a model: latent attention of the DeepSeek kind.' },
        serveSettings: {
          type: 'object',
          description: "Settings of `vllm serve` by the names of its options. Default: vLLM's own defaults.",
          properties: {
            attention_backend: text('A backend to force, such as FLASH_ATTN.'),
            attention_config: {
              type: 'object',
              description: 'Fields of attention_config, such as flash_attn_version.',
            },
            kv_cache_dtype: text('auto, fp8, fp8_e4m3 …'),
            block_size: count(1, 100_000, 'Tokens per KV block.'),
            dtype: text('auto, bfloat16, float16 or float32.'),
            tensor_parallel_size: count(1, 1024, 'Ranks that share the heads.'),
            decode_context_parallel_size: count(1, 1024, 'Decode context parallel ranks.'),
            prefill_context_parallel_size: count(1, 1024, 'Prefill context parallel ranks.'),
          },
          additionalProperties: false,
        },
        useSystemFlashAttn: choice(
          FLAG_CHOICES,
          'The use_system_flash_attn what-if: off (default), on, or diff for what flipping it changes.',
        ),
      },
      additionalProperties: false,
    },
  },
  {
    name: 'get_gpu_facts',
    title: 'GPU and driver facts of this machine',
    description:
      'GPUs of this machine with SM family, memory, clocks, MIG and compute mode, other processes on them, the NVIDIA driver, and whether GPU kernels are built. Asks the management library (NVML) only: no CUDA is started. Says why when there is no GPU.',
    readOnly: true,
    inputSchema: { type: 'object', properties: {}, additionalProperties: false },
  },
  {
    name: 'run_attention_kernels',
    title: 'Run the bundled attention kernels',
    description:
      'Measures the attention kernels bundled with this tool (not the ones of vLLM) on one device: each case is checked against a float64 reference and then timed, with the share of the measured ceiling. Uses the device for seconds to minutes; it is refused when others use the GPU. Times of the CPU reference device say nothing about a GPU. Start from a preset and change what is needed.',
    readOnly: false,
    inputSchema: {
      type: 'object',
      properties: {
        preset: choice(
          PRESETS.map((preset) => preset.id),
          'A named request to start from. Default: quick. It is smaller on the CPU device.',
        ),
        device: text(
          'cpu, a CUDA index such as cuda:0, or the start of a GPU UUID. Default: the first GPU that may be used, else cpu.',
        ),
        op: choice(['prefill', 'decode'], 'Attention step.'),
        dtype: choice(['bf16', 'fp16'], 'Type of Q, K and V.'),
        headDims: integers(1, 16, 'Head sizes.'),
        pageSizes: integers(0, 8, PAGES),
        qHeads: count(1, 1024, 'Query heads.'),
        kvHeads: count(1, 1024, 'KV heads.'),
        batch: count(1, 4096, 'Sequences.'),
        qLen: count(1, 4_194_304, 'Query tokens per sequence.'),
        kvLen: count(1, 16_777_216, 'KV tokens per sequence.'),
        causal: { type: 'boolean', description: 'Causal mask.' },
        checkOnly: { type: 'boolean', description: 'Correctness only, no timing: faster.' },
      },
      additionalProperties: false,
    },
  },
];

const shortText = v.pipe(v.string(), v.maxLength(100));
const whole = (minimum: number, maximum: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(minimum), v.maxValue(maximum));
const wholes = (minimum: number, maxItems: number) =>
  v.pipe(v.array(whole(minimum, 100_000)), v.minLength(1), v.maxLength(maxItems));
const dtypeSchema = v.picklist(['bf16', 'fp16']);

const serveSettingsSchema = v.strictObject({
  attention_backend: v.optional(shortText),
  attention_config: v.optional(v.record(v.string(), v.unknown())),
  kv_cache_dtype: v.optional(shortText),
  block_size: v.optional(whole(1, 100_000)),
  dtype: v.optional(shortText),
  tensor_parallel_size: v.optional(whole(1, 1024)),
  decode_context_parallel_size: v.optional(whole(1, 1024)),
  prefill_context_parallel_size: v.optional(whole(1, 1024)),
});

const releaseSchema = v.pipe(shortText, v.regex(/^(newest|v?\d+\.\d+.*)$/, 'write a release such as 0.24.0'));

const explainInputSchema = v.strictObject({
  vllmVersion: v.optional(releaseSchema),
  sm: v.optional(
    v.pipe(
      v.string(),
      v.maxLength(60),
      v.check((sm) => parseCapabilities(sm) !== null, 'write an SM family such as 9.0'),
    ),
  ),
  upgradeTo: v.optional(releaseSchema),
  modelPath: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(4096))),
  headDims: v.optional(wholes(1, 16)),
  pageSizes: v.optional(wholes(0, 8)),
  dtype: v.optional(dtypeSchema),
  mla: v.optional(v.boolean()),
  serveSettings: v.optional(serveSettingsSchema),
  useSystemFlashAttn: v.optional(v.picklist(FLAG_CHOICES)),
});
export type ExplainInput = v.InferOutput<typeof explainInputSchema>;

const runInputSchema = v.strictObject({
  preset: v.optional(v.picklist(PRESETS.map((preset) => preset.id))),
  device: v.optional(v.pipe(shortText, v.minLength(1))),
  op: v.optional(v.picklist(['prefill', 'decode'])),
  dtype: v.optional(dtypeSchema),
  headDims: v.optional(wholes(1, 16)),
  pageSizes: v.optional(wholes(0, 8)),
  qHeads: v.optional(whole(1, 1024)),
  kvHeads: v.optional(whole(1, 1024)),
  batch: v.optional(whole(1, 4096)),
  qLen: v.optional(whole(1, 4_194_304)),
  kvLen: v.optional(whole(1, 16_777_216)),
  causal: v.optional(v.boolean()),
  checkOnly: v.optional(v.boolean()),
});
export type RunInput = v.InferOutput<typeof runInputSchema>;

const factsInputSchema = v.strictObject({});

/** The schemas that inputs are parsed with, by tool; their keys are those of the announced schemas. */
export const AGENT_INPUT_SCHEMAS = {
  explain_attention_backend: explainInputSchema,
  get_gpu_facts: factsInputSchema,
  run_attention_kernels: runInputSchema,
} as const;

/** The arguments of a call, parsed. Throws `usage` with a sentence that names the argument. */
export function parseAgentInput<N extends AgentToolName>(
  name: N,
  input: unknown,
): v.InferOutput<(typeof AGENT_INPUT_SCHEMAS)[N]> {
  const parsed = v.safeParse(AGENT_INPUT_SCHEMAS[name], input ?? {});
  if (parsed.success) return parsed.output;
  throw new DiagError('usage', {
    problem: `The arguments of ${name} are not as its input schema says: ${firstIssue(parsed.issues)}.`,
  });
}

const pageSizesOf = (pages: readonly number[]): (number | null)[] => pages.map((page) => (page === 0 ? null : page));

/** Head sizes and layouts an explanation is about. */
export function explainFormOf(input: ExplainInput, modelHeadDims: readonly number[]): RequestForm {
  const mla = input.mla ?? false;
  const fallback = modelHeadDims.length > 0 ? [...new Set(modelHeadDims)] : [mla ? 576 : 128];
  const asked = {
    dtype: input.dtype ?? 'bf16',
    headDims: input.headDims ?? fallback,
    pageSizes: pageSizesOf(input.pageSizes ?? [16]),
  };
  return explainForm(asked, mla);
}

/** Serve settings given by name, read exactly as vLLM's YAML is; `null` = none were given. */
export function serveSettingsOf(input: ExplainInput): LoadedServeFile | null {
  if (input.serveSettings === undefined) return null;
  // JSON is YAML: the reader of serve files knows every spelling, and what is wrong with a value.
  const serve = loadServeFile('serve-settings.yaml', JSON.stringify(input.serveSettings));
  return { ...serve, file: null, findings: serve.findings.map((finding) => ({ ...finding, range: null })) };
}

/** The request form that a run starts from: a preset in the size of the device, changed as asked. */
export function runFormOf(input: RunInput, kind: DeviceFacts['kind']): RequestForm {
  const preset = findPreset(input.preset ?? 'quick');
  if (preset === undefined) throw new DiagError('usage', { problem: `There is no preset "${input.preset ?? ''}".` });
  const start = kind === 'gpu' ? preset.gpu : preset.cpu;
  return {
    op: input.op ?? start.op,
    dtype: input.dtype ?? start.dtype,
    headDims: input.headDims ?? start.headDims,
    pageSizes: input.pageSizes === undefined ? start.pageSizes : pageSizesOf(input.pageSizes),
    qHeads: input.qHeads ?? start.qHeads,
    kvHeads: input.kvHeads ?? start.kvHeads,
    batch: input.batch ?? start.batch,
    // A decode step has one new token unless another number is asked for.
    qLen: input.qLen ?? (input.op === 'decode' ? 1 : start.qLen),
    kvLen: input.kvLen ?? start.kvLen,
    causal: input.causal ?? start.causal,
  };
}

/** The cases of a run on this device. Throws `usage` when it is more than an agent may start. */
export function runCasesOf(input: RunInput, device: DeviceFacts): AttentionCase[] {
  const form = runFormOf(input, device.kind);
  const cases = expandForm(form);
  if (cases.length > MAX_AGENT_CASES) {
    throw new DiagError('usage', {
      problem: `${cases.length} cases are more than the ${MAX_AGENT_CASES} of one call. Ask for fewer head sizes or page sizes.`,
    });
  }
  const tooMuch =
    form.batch * form.qHeads * form.qLen * form.kvLen > MAX_CPU_SCORES || largestCaseBytes(cases) > MAX_CPU_CASE_BYTES;
  if (device.kind === 'cpu' && tooMuch) {
    throw new DiagError('usage', {
      problem:
        'This shape is too large for the CPU reference device. Leave out qLen, kvLen, batch and heads to get the small sizes of the preset.',
    });
  }
  return cases;
}

/** Anything caught, as one or two sentences for a model: what happened and what to do next. */
export function agentErrorText(error: unknown): string {
  const known = DiagError.from(error);
  const { what, next } = errorText(known);
  switch (known.code) {
    case 'usage':
      return what;
    case 'deviceBusy':
      return `${what} Do not retry at once: ask the user whether to wait, or run with device "cpu" for correctness only.`;
    case 'deviceNotFound':
      return `${what} Call get_gpu_facts to see the devices. ${next}`;
    case 'modelConfigInvalid':
      return `${what} Pass the config.json of a Hugging Face model, or leave modelPath out and pass headDims.`;
    case 'cancelled':
      return 'The call was cancelled.';
    default:
      return `${what} ${next}`;
  }
}

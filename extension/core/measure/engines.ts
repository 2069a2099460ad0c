/**
 * The installed libraries that can be measured beside the bundled kernels: how each is called, and whose library it is.
 * An engine is called directly; what that shows is whether the library works, never what vLLM would select.
 */
import type { AttentionOp } from '../attentionCase';

/** The installed libraries there is an adapter for, in the order they are shown. */
export const BACKEND_ENGINES = [
  'torch.sdpa.flash',
  'torch.sdpa.cudnn',
  'torch.sdpa.efficient',
  'torch.sdpa.math',
  'torch.flex',
  'fa2.system',
  'fa2.vllm',
  'fa3.system',
  'fa3.vllm',
  'fa4.system',
  'fa4.vllm',
  'flashinfer',
  'flashmla.vllm',
  'ffpa',
  'triton.vllm',
] as const;
export type BackendEngine = (typeof BACKEND_ENGINES)[number];

/** What `use_system_flash_attn` exchanges: the library from pip, and vLLM's own copy. */
export const FLAG_ENGINES = ['fa4.system', 'fa4.vllm'] as const satisfies readonly BackendEngine[];

/** Engine id of the kernels that come with the extension. */
export const BUNDLED_ENGINE = 'bundled';

/** What is known of an engine without running it. */
export interface EngineFacts {
  /** `FA3 of vLLM`. */
  readonly label: string;
  /** It may be compiled when a kernel is first called, so it is warmed before anything is timed. */
  readonly compiles: boolean;
  /** The vLLM backend that calls this very code, as the matrix names it; `null` = vLLM calls another copy, or none. */
  readonly vllmSubject: string | null;
  /** The same for MLA decode. */
  readonly vllmMlaSubject: string | null;
}

const FACTS: Readonly<Record<BackendEngine, EngineFacts>> = {
  'torch.sdpa.flash': { label: 'torch SDPA, flash', compiles: false, vllmSubject: null, vllmMlaSubject: null },
  'torch.sdpa.cudnn': { label: 'torch SDPA, cuDNN', compiles: false, vllmSubject: null, vllmMlaSubject: null },
  'torch.sdpa.efficient': {
    label: 'torch SDPA, mem-efficient',
    compiles: false,
    vllmSubject: null,
    vllmMlaSubject: null,
  },
  'torch.sdpa.math': { label: 'torch SDPA, math', compiles: false, vllmSubject: null, vllmMlaSubject: null },
  'torch.flex': { label: 'torch FlexAttention', compiles: true, vllmSubject: 'FLEX_ATTENTION', vllmMlaSubject: null },
  'fa2.system': { label: 'flash-attn 2 (pip)', compiles: false, vllmSubject: null, vllmMlaSubject: null },
  // The driver compiles it: vLLM 0.24.0's build has no code for Hopper, and its PTX takes 7 to 38 s a kernel on an H200.
  'fa2.vllm': { label: 'FA2 of vLLM', compiles: true, vllmSubject: 'FLASH_ATTN.FA2', vllmMlaSubject: null },
  'fa3.system': { label: 'FA3 (flash_attn_interface)', compiles: false, vllmSubject: null, vllmMlaSubject: null },
  'fa3.vllm': {
    label: 'FA3 of vLLM',
    compiles: false,
    vllmSubject: 'FLASH_ATTN.FA3',
    vllmMlaSubject: 'FLASH_ATTN_MLA',
  },
  'fa4.system': { label: 'flash-attn-4 (pip)', compiles: true, vllmSubject: null, vllmMlaSubject: null },
  'fa4.vllm': { label: 'FA4 of vLLM', compiles: true, vllmSubject: 'FLASH_ATTN.FA4', vllmMlaSubject: null },
  flashinfer: { label: 'FlashInfer', compiles: true, vllmSubject: 'FLASHINFER', vllmMlaSubject: null },
  'flashmla.vllm': { label: 'FlashMLA of vLLM', compiles: false, vllmSubject: null, vllmMlaSubject: 'FLASHMLA' },
  ffpa: { label: 'FFPA', compiles: true, vllmSubject: null, vllmMlaSubject: null },
  'triton.vllm': {
    label: 'Triton attention of vLLM',
    compiles: true,
    vllmSubject: 'TRITON_ATTN',
    vllmMlaSubject: null,
  },
};

/** Facts of an engine; `null` for `bundled` and for engines of a newer version's report. */
export function engineFacts(engine: string): EngineFacts | null {
  return Object.hasOwn(FACTS, engine) ? FACTS[engine as BackendEngine] : null;
}

/** How an engine is called in tables and sentences; an unknown one by its id. */
export function engineLabel(engine: string): string {
  return engine === BUNDLED_ENGINE ? 'Bundled kernels' : (engineFacts(engine)?.label ?? engine);
}

/** The row of the matrix that a measurement of this engine speaks about: the vLLM backend whose code it is, else its own. */
export function engineSubject(engine: string, op: AttentionOp): string {
  return vllmBackendOf(engine, op) ?? engine;
}

/** The vLLM backend that calls this very code; `null` = none does. */
export function vllmBackendOf(engine: string, op: AttentionOp): string | null {
  const facts = engineFacts(engine);
  return (op === 'mlaDecode' ? facts?.vllmMlaSubject : facts?.vllmSubject) ?? null;
}

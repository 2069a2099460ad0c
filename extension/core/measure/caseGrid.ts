/** From the request form of panel and command line to the cases it stands for. */
import { MAX_RUN_CASES, type AttentionCase } from '../attentionCase';
import { DiagError } from '../errors';
import { formatPageSize, formatTokens } from '../format';
import type { RequestForm } from './requestForm';

/** Value head size of multi-head latent attention: the 512 latent columns of a 576-wide key. */
const MLA_VALUE_DIM = 512;

/** Seed of all form cases: the same request gives the same inputs everywhere. */
export const FORM_SEED = 1;

/** Head size of V where only that of K was named. */
export function valueHeadDim(op: AttentionCase['op'], headDim: number): number {
  return op === 'mlaDecode' ? Math.min(headDim, MLA_VALUE_DIM) : headDim;
}

/**
 * The cases of a form, head sizes outer, page layouts inner; repeated entries count once.
 * Values are passed on as they are: whether headDim 7 or page 24 is supported is the engine's answer.
 */
export function expandForm(form: RequestForm): AttentionCase[] {
  const cases: AttentionCase[] = [];
  for (const headDim of new Set(form.headDims)) {
    for (const pageSize of new Set(form.pageSizes)) {
      cases.push({
        op: form.op,
        dtype: form.dtype,
        kvDtype: 'auto',
        kvScale: 1,
        headDim,
        headDimV: valueHeadDim(form.op, headDim),
        qHeads: form.qHeads,
        kvHeads: form.kvHeads,
        batch: form.batch,
        qLens: form.qLen,
        kvLens: form.kvLen,
        causal: form.causal,
        window: null,
        softcap: 0,
        sinks: false,
        kvLayout: 'NHD',
        pageSize,
        lse: false,
        seed: FORM_SEED,
      });
    }
  }
  return cases;
}

/**
 * The cases of several forms, each once: presets overlap (contiguous decode is part of a paged sweep too). Throws `usage` when
 * they are more than one run takes.
 */
export function expandForms(forms: readonly RequestForm[]): AttentionCase[] {
  // Counted first: two long lists make more cases than there is memory for.
  for (const form of forms) refuseTooMany(new Set(form.headDims).size * new Set(form.pageSizes).size);
  const cases = [...new Map(forms.flatMap(expandForm).map((each) => [JSON.stringify(each), each])).values()];
  refuseTooMany(cases.length);
  return cases;
}

function refuseTooMany(count: number): void {
  if (count <= MAX_RUN_CASES) return;
  throw new DiagError('usage', {
    problem: `${count} cases are more than the ${MAX_RUN_CASES} of one run. Ask for fewer head sizes or page sizes.`,
  });
}

/** `128`, or `192/128` where keys and values differ. */
export function headDimText({ headDim, headDimV }: AttentionCase): string {
  return headDim === headDimV ? `${headDim}` : `${headDim}/${headDimV}`;
}

/**
 * `prefill d128 64/8 q16k causal`, `decode d64 32/8 b32 kv8k`: what tells the cases of a run apart, but for the page size. One
 * sequence and keys as long as the queries are not mentioned.
 */
export function shortCaseText(asked: AttentionCase): string {
  const tokens = (lens: number | readonly number[]): string =>
    typeof lens === 'number' ? formatTokens(lens) : `${lens.length}×`;
  const prefill = asked.op === 'prefill';
  const sameLengths = JSON.stringify(asked.qLens) === JSON.stringify(asked.kvLens);
  return [
    `${asked.op} d${headDimText(asked)} ${asked.qHeads}/${asked.kvHeads}`,
    ...(asked.batch === 1 ? [] : [`b${asked.batch}`]),
    ...(prefill || asked.qLens !== 1 ? [`q${tokens(asked.qLens)}`] : []),
    ...(prefill && sameLengths ? [] : [`kv${tokens(asked.kvLens)}`]),
    ...(prefill ? [asked.causal ? 'causal' : 'full'] : []),
    ...(asked.window === null ? [] : [`window ${asked.window}`]),
    ...(asked.softcap > 0 ? [`cap ${asked.softcap}`] : []),
    ...(asked.sinks ? ['sinks'] : []),
    ...(asked.dtype === 'bf16' ? [] : [asked.dtype]),
    ...(asked.kvDtype === 'auto' ? [] : [`kv ${asked.kvDtype}`]),
  ].join(' ');
}

/** A case in one line, all of it, for logs: `prefill bf16 d128 32/8 heads, batch 1, q 16k, kv 16k, causal, page 16`. */
export function describeCase(attentionCase: AttentionCase): string {
  const options = [
    attentionCase.causal ? 'causal' : 'full',
    formatPageSize(attentionCase.pageSize),
    ...(attentionCase.window === null ? [] : [`window ${attentionCase.window}`]),
    ...(attentionCase.softcap === 0 ? [] : [`softcap ${attentionCase.softcap}`]),
    ...(attentionCase.sinks ? ['sinks'] : []),
    ...(attentionCase.kvDtype === 'auto' ? [] : [`kv ${attentionCase.kvDtype}`]),
    ...(attentionCase.kvLayout === 'HND' ? ['HND'] : []),
  ];
  return (
    `${attentionCase.op} ${attentionCase.dtype} d${headDimText(attentionCase)} ${attentionCase.qHeads}/${attentionCase.kvHeads} heads, ` +
    `batch ${attentionCase.batch}, q ${describeLengths(attentionCase.qLens)}, kv ${describeLengths(attentionCase.kvLens)}, ${options.join(', ')}`
  );
}

function describeLengths(lens: number | readonly number[]): string {
  if (typeof lens === 'number') return String(lens);
  return lens.length <= 4 ? lens.join('+') : `${lens.slice(0, 3).join('+')}+… (${lens.length})`;
}

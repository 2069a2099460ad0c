/** Cases from a file: what presets cannot express, and cases of a report run again. */
import * as v from 'valibot';
import { attentionCaseSchema, MAX_RUN_CASES, type AttentionCase } from '../attentionCase';
import { DiagError } from '../errors';
import { firstIssue } from '../schemaIssue';
import { FORM_SEED, valueHeadDim } from './caseGrid';

/** Larger files are refused before they are read. */
export const MAX_CASE_LIST_BYTES = 4 * 1024 * 1024;

const entries = attentionCaseSchema.entries;

/** A case as it is written in a file: the shape is needed, everything else has a plain default. Unknown fields are refused. */
const listedCaseSchema = v.strictObject({
  op: entries.op,
  dtype: v.optional(entries.dtype, 'bf16'),
  kvDtype: v.optional(entries.kvDtype, 'auto'),
  kvScale: v.optional(entries.kvScale, 1),
  headDim: entries.headDim,
  headDimV: v.optional(entries.headDimV),
  qHeads: entries.qHeads,
  kvHeads: entries.kvHeads,
  batch: entries.batch,
  qLens: entries.qLens,
  kvLens: entries.kvLens,
  causal: entries.causal,
  window: v.optional(entries.window, null),
  softcap: v.optional(entries.softcap, 0),
  sinks: v.optional(entries.sinks, false),
  kvLayout: v.optional(entries.kvLayout, 'NHD'),
  pageSize: v.optional(entries.pageSize, null),
  lse: v.optional(entries.lse, false),
  seed: v.optional(entries.seed, FORM_SEED),
});

/** The cases of a list, each once. Throws `notACaseList`, naming `path` and the first thing that is wrong. */
export function parseCaseList(text: string, path: string): AttentionCase[] {
  const refuse = (problem: string): never => {
    throw new DiagError('notACaseList', { path, problem });
  };
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return refuse(text.trim() === '' ? 'it is empty' : 'it is not JSON');
  }
  if (!Array.isArray(document)) return refuse('it is not a list of cases: [{"op": "prefill", …}, …]');
  if (document.length === 0) return refuse('it lists no case');
  if (document.length > MAX_RUN_CASES)
    return refuse(`it lists ${document.length} cases; ${MAX_RUN_CASES} is the limit`);
  const cases = document.map((item: unknown, index): AttentionCase => {
    const parsed = v.safeParse(listedCaseSchema, item);
    if (!parsed.success) return refuse(`case ${index + 1}: ${firstIssue(parsed.issues)}`);
    const { headDimV, ...rest } = parsed.output;
    return { ...rest, headDimV: headDimV ?? valueHeadDim(rest.op, rest.headDim) };
  });
  const key = (each: AttentionCase): string =>
    JSON.stringify(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)));
  return [...new Map(cases.map((each) => [key(each), each])).values()];
}

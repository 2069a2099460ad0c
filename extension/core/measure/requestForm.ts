/** What the user asks to be looked at: the request form of the panel and of the command line. */
import * as v from 'valibot';
import { attentionCaseSchema } from '../attentionCase';

const boundedInt = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max));

/** What the request form holds; core/caseGrid.ts expands it to cases. Odd values (headDim 7, pageSize 24) pass: the engines answer them with a reason. */
export const requestFormSchema = v.object({
  op: attentionCaseSchema.entries.op,
  dtype: attentionCaseSchema.entries.dtype,
  headDims: v.pipe(v.array(boundedInt(0, 100_000)), v.minLength(1), v.maxLength(64)),
  /** `null` stands for contiguous KV. */
  pageSizes: v.pipe(v.array(v.nullable(boundedInt(0, 100_000))), v.minLength(1), v.maxLength(16)),
  qHeads: boundedInt(1, 1024),
  kvHeads: boundedInt(1, 1024),
  batch: boundedInt(1, 4096),
  qLen: boundedInt(0, 4_194_304),
  kvLen: boundedInt(0, 16_777_216),
  causal: v.boolean(),
});
export type RequestForm = v.InferOutput<typeof requestFormSchema>;

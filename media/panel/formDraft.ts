/** The request form while it is being typed: texts, what is wrong with them, and the request they stand for. */
import * as v from 'valibot';
import { requestFormSchema, type RequestForm } from '../../extension/core/measure/requestForm';

/** The fields that are typed as text. */
export interface FormDraft {
  readonly op: RequestForm['op'];
  readonly dtype: RequestForm['dtype'];
  readonly causal: boolean;
  /** `64, 128, 256`. */
  readonly headDims: string;
  /** `contiguous, 16, 32`. */
  readonly pageSizes: string;
  readonly qHeads: string;
  readonly kvHeads: string;
  readonly batch: string;
  readonly qLen: string;
  readonly kvLen: string;
}

export type DraftField = keyof FormDraft;

/** A request, or one sentence per field that cannot be read. */
export type ParsedDraft =
  | { readonly ok: true; readonly form: RequestForm }
  | { readonly ok: false; readonly problems: Readonly<Partial<Record<DraftField, string>>> };

/** What contiguous KV is called in the page sizes field. */
const CONTIGUOUS = 'contiguous';

/** The texts of a request. */
export function draftOf(form: RequestForm): FormDraft {
  return {
    op: form.op,
    dtype: form.dtype,
    causal: form.causal,
    headDims: form.headDims.join(', '),
    pageSizes: form.pageSizes.map((pageSize) => pageSize ?? CONTIGUOUS).join(', '),
    qHeads: String(form.qHeads),
    kvHeads: String(form.kvHeads),
    batch: String(form.batch),
    qLen: String(form.qLen),
    kvLen: String(form.kvLen),
  };
}

const SENTENCES: Record<DraftField, string> = {
  op: 'Choose an operation.',
  dtype: 'Choose a type.',
  causal: 'Choose a mask.',
  headDims: 'Write 1 to 64 whole numbers up to 100000, such as 64, 128, 256.',
  pageSizes: 'Write "contiguous" or whole numbers up to 100000, such as contiguous, 16, 64.',
  qHeads: 'Write a whole number from 1 to 1024.',
  kvHeads: 'Write a whole number from 1 to 1024.',
  batch: 'Write a whole number from 1 to 4096.',
  qLen: 'Write a whole number from 0 to 4194304; 8k means 8192.',
  kvLen: 'Write a whole number from 0 to 16777216; 8k means 8192.',
};

/** Reads the texts. Odd but readable values (head size 7, page 24) are a request: the answer to them is a reason, not an error here. */
export function parseDraft(draft: FormDraft): ParsedDraft {
  const candidate = {
    op: draft.op,
    dtype: draft.dtype,
    causal: draft.causal,
    headDims: listItems(draft.headDims).map(wholeNumber),
    pageSizes: listItems(draft.pageSizes).map((item) =>
      CONTIGUOUS.startsWith(item.toLowerCase()) ? null : wholeNumber(item),
    ),
    qHeads: wholeNumber(draft.qHeads),
    kvHeads: wholeNumber(draft.kvHeads),
    batch: wholeNumber(draft.batch),
    qLen: wholeNumber(draft.qLen),
    kvLen: wholeNumber(draft.kvLen),
  };
  const parsed = v.safeParse(requestFormSchema, candidate);
  if (parsed.success) return { ok: true, form: parsed.output };
  const problems: Partial<Record<DraftField, string>> = {};
  for (const issue of parsed.issues) {
    const field = issue.path?.[0]?.key;
    if (typeof field === 'string' && field in SENTENCES) problems[field as DraftField] = SENTENCES[field as DraftField];
  }
  return { ok: false, problems };
}

function listItems(text: string): string[] {
  return text
    .split(/[\s,;]+/)
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** `8k` = 8192. Anything unreadable becomes NaN, which the schema refuses. */
function wholeNumber(text: string): number {
  const match = /^(\d{1,9})(k?)$/i.exec(text.trim());
  if (match === null) return Number.NaN;
  return Number(match[1]) * (match[2] === '' ? 1 : 1024);
}

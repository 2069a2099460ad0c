/**
 * What measuring the installed libraries says against the rules: a promise that is not kept, a rule stricter than the
 * kernel, a forced generation slower than what it replaces. Each speaks only of the code that ran: a direct call shows
 * whether a library works on this GPU, and neither proves nor refutes what vLLM would select.
 */
import type { ResultRow } from '../attentionCase';
import type { MatrixCell } from '../evaluation';
import { formatMs, formatPageSize, sentences } from '../format';
import { rateText } from '../measure/countedRate';
import { engineLabel, engineSubject, vllmBackendOf, BUNDLED_ENGINE } from '../measure/engines';
import { measuredAnswer, type MeasuredAnswer } from '../measure/measuredAnswer';
import { secondIsSlower, sideBySide, type Pair } from '../measure/sideBySide';
import type { Finding, Severity, Verdict } from '../verdict';

/** What was measured, and what the rules say about the same head sizes and layouts. */
export interface EngineFindingsInput {
  readonly rows: readonly ResultRow[];
  /** Cells of the matrix; those of other operations than the rows' own must not be among them. */
  readonly cells: readonly MatrixCell[];
  /** `vLLM 0.33.0`. */
  readonly release: string;
  /** The serve settings ask for FlashAttention 4. */
  readonly fa4Forced: boolean;
}

/** Places of one finding listed at most; the table has all of them. */
const MAX_PLACES = 8;

/** The findings; one per engine, kind and words, whatever the number of cells. */
export function engineFindings(input: EngineFindingsInput): readonly Finding[] {
  return [...contradictions(input), ...slowerThanReplaced(input)];
}

/** A kind of contradiction; decides code, severity and sentences. */
type Kind = 'acceptedButFails' | 'declaredButFails' | 'stricterThanKernel';

interface Contradiction {
  readonly kind: Kind;
  readonly row: ResultRow;
  readonly verdict: Verdict;
  readonly answer: MeasuredAnswer;
}

function contradictions({ rows, cells, release }: EngineFindingsInput): Finding[] {
  const index = new Map(cells.map((cell) => [cellKey(cell.subject, cell.headDim, cell.pageSize), cell]));
  const groups = new Map<string, Contradiction[]>();
  for (const row of rows) {
    if (row.engine === BUNDLED_ENGINE || !isPlain(row)) continue;
    const cell = index.get(cellKey(engineSubject(row.engine, row.case.op), row.case.headDim, row.case.pageSize));
    const answer = measuredAnswer(row);
    const found = cell === undefined || answer === null ? null : contradiction(row, cell, answer);
    if (found === null) continue;
    const words = found.kind === 'stricterThanKernel' ? reasonWords(found.verdict) : found.answer.words;
    const key = JSON.stringify([row.engine, row.case.op, found.kind, found.answer.outcome, words]);
    groups.set(key, [...(groups.get(key) ?? []), found]);
  }
  return [...groups].map(([key, group]) => contradictionFinding(key, group, release));
}

/** Selection first: what vLLM would start and what then fails matters more than what a table promises. */
function contradiction(row: ResultRow, cell: MatrixCell, answer: MeasuredAnswer): Contradiction | null {
  const isVllms = vllmBackendOf(row.engine, row.case.op) !== null;
  if (answer.outcome === 'right') {
    if (cell.works.answer === 'no') return { kind: 'stricterThanKernel', row, verdict: cell.works, answer };
    const refused = isVllms && cell.selects.answer === 'no' && cell.selects.reasons.some(isAboutTheKernel);
    return refused ? { kind: 'stricterThanKernel', row, verdict: cell.selects, answer } : null;
  }
  if (isVllms && cell.selects.answer === 'yes') return { kind: 'acceptedButFails', row, verdict: cell.selects, answer };
  return cell.works.answer === 'yes' ? { kind: 'declaredButFails', row, verdict: cell.works, answer } : null;
}

/** A refusal because of flags, versions or what is installed says nothing about what the kernel takes. */
function isAboutTheKernel({ code }: Verdict['reasons'][number]): boolean {
  return !['FLAG', 'FA-VERSION', 'NO-SYSTEM-FA4', 'CFG-3', 'RAISES', 'UNKNOWN', 'TOO-OLD'].includes(code);
}

/** The cells are about plain attention. */
function isPlain({ case: asked }: ResultRow): boolean {
  return asked.window === null && asked.softcap === 0 && !asked.sinks && asked.kvDtype === 'auto';
}

const OUTCOME_WORDS: Readonly<Record<MeasuredAnswer['outcome'], string>> = {
  right: 'ran and is right',
  wrong: 'gives a wrong result',
  refused: 'refuses',
  failed: 'fails',
  crashed: 'crashes',
};

function contradictionFinding(key: string, group: readonly Contradiction[], release: string): Finding {
  const { kind, row, verdict, answer } = group[0] as Contradiction;
  const label = engineLabel(row.engine);
  const where = placesText(group.map((each) => each.row));
  const rule = ruleText(verdict, release);
  const texts: Readonly<Record<Kind, { severity: Severity; title: string; detail: string }>> = {
    acceptedButFails: {
      severity: 'error',
      title: `${release} accepts ${verdict.subject}, and ${label} ${OUTCOME_WORDS[answer.outcome]}: ${row.case.op}, ${where}`,
      detail: sentences(
        `${rule} A direct call of ${label} on this GPU ${pastWords(answer)}`,
        'Do not rely on this backend for such layers before a short vLLM run of your own has shown that it works',
      ),
    },
    declaredButFails: {
      severity: 'warning',
      title: `${label} ${OUTCOME_WORDS[answer.outcome]} what is declared to work: ${row.case.op}, ${where}`,
      detail: sentences(
        `${rule} A direct call of ${label} on this GPU ${pastWords(answer)}`,
        'Use another backend for such layers, or another version of this library',
      ),
    },
    stricterThanKernel: {
      severity: 'info',
      title: `The rule is stricter than the kernel: ${label} runs ${row.case.op}, ${where}`,
      detail: sentences(
        `${rule} A direct call of ${label} on this GPU ran and is right`,
        'That shows what the library can do, not that vLLM would call it so; nothing needs to be changed',
      ),
    },
  };
  const { severity, title, detail } = texts[kind];
  return {
    id: `engine:${key}`.slice(0, 200),
    code: `engine-${kind}`,
    severity,
    title,
    detail,
    level: 'measured',
    source: verdict.reasons[0]?.source ?? null,
    range: null,
    fixes: [],
  };
}

function ruleText(verdict: Verdict, release: string): string {
  const said = verdict.answer === 'yes' ? 'yes' : 'no';
  const question = verdict.question === 'selects' ? `whether ${release} takes ${verdict.subject}` : 'whether it works';
  return sentences(`Asked ${question}, the rules say ${said} (${verdict.level}): ${reasonWords(verdict)}`);
}

function reasonWords(verdict: Verdict): string {
  return verdict.reasons.map((reason) => reason.text).join('; ') || 'without a reason';
}

function pastWords({ outcome, words }: MeasuredAnswer): string {
  switch (outcome) {
    case 'right':
      return 'ran and is right';
    case 'wrong':
      return `gave a wrong result: ${words}`;
    case 'refused':
      return `was refused: "${words}"`;
    case 'failed':
      return `failed: "${words}"`;
    case 'crashed':
      return `crashed: ${words}`;
  }
}

/** The FA4 engines beside the FA3 they replace, one finding per FA4 and operation. */
function slowerThanReplaced({ rows, fa4Forced }: EngineFindingsInput): Finding[] {
  return ['fa4.vllm', 'fa4.system'].flatMap((engine) => {
    const slower = sideBySide(rows, 'fa3.vllm', engine).filter(secondIsSlower);
    return [...new Set(slower.map((pair) => pair.case.op))].map((op): Finding => {
      const pairs = slower.filter((pair) => pair.case.op === op);
      const lines = pairs.slice(0, MAX_PLACES).map(pairText);
      const more = pairs.length > MAX_PLACES ? `; ${pairs.length - MAX_PLACES} more in the table` : '';
      return {
        id: `engine:slower:${engine}:${op}`,
        code: 'engine-fa4-slower',
        severity: fa4Forced ? 'warning' : 'info',
        title: `${engineLabel(engine)} is slower than the FA3 it replaces: ${op}, ${placesText(pairs.flatMap(({ second }) => second ?? []))}`,
        detail: sentences(
          `Measured here, ${engineLabel(engine)} against FA3 of vLLM: ${lines.join('; ')}${more}`,
          fa4Forced
            ? 'Leave flash_attn_version out for such layers, so that vLLM takes FA3'
            : 'Keep that in mind before setting flash_attn_version to 4',
        ),
        level: 'measured',
        source: null,
        range: null,
        fixes: [],
      };
    });
  });
}

function pairText({ case: asked, first, second, timeRatio }: Pair): string {
  const figure = (row: ResultRow | null): string => rateText(asked, row?.result ?? null);
  const percent = timeRatio === null ? '' : ` (${Math.round((timeRatio - 1) * 100)} % more time)`;
  return `d${asked.headDim} ${formatPageSize(asked.pageSize)}${asked.causal ? '' : ' full'} ${formatMs(second?.result.gpuMs?.median ?? null)}, ${figure(second)} against ${formatMs(first?.result.gpuMs?.median ?? null)}, ${figure(first)}${percent}`;
}

/** `head size 512 (contiguous, page 16), head size 256 (page 16)`. */
function placesText(rows: readonly ResultRow[]): string {
  const byDim = new Map<number, Set<string>>();
  for (const { case: asked } of rows) {
    const pages = byDim.get(asked.headDim) ?? new Set<string>();
    byDim.set(asked.headDim, pages.add(formatPageSize(asked.pageSize)));
  }
  const parts = [...byDim].map(([headDim, pages]) => `head size ${headDim} (${[...pages].join(', ')})`);
  const more = parts.length > MAX_PLACES ? ` and ${parts.length - MAX_PLACES} more` : '';
  return `${parts.slice(0, MAX_PLACES).join(', ')}${more}`;
}

function cellKey(subject: string, headDim: number, pageSize: number | null): string {
  return `${subject}|${headDim}|${pageSize ?? 'contiguous'}`;
}

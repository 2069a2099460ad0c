/**
 * The report: one versioned JSON document for everything the product can say about a machine. Written by the command
 * line and by Export Report, read by Open Report and `compare`.
 */
import * as v from 'valibot';
import { ceilingsSchema, reasonSchema, resultRowSchema, type Ceilings, type ResultRow } from '../attentionCase';
import { DiagError } from '../errors';
import { systemFactsSchema, type SystemFacts } from '../facts';
import { redact, type PrivateWords } from './redact';
import { roundRatioSchema, type RoundRatio } from '../measure/rounds';
import { firstIssue } from '../schemaIssue';

/** Format of the documents written here. The number rises when a reader of the old one would misread the new one. */
export const REPORT_SCHEMA = 'attention-diagnostics-report/1';

const SCHEMA_PATTERN = /^attention-diagnostics-report\/(\d+)$/;
const SCHEMA_VERSION = 1;

/** An installed library that was asked for. */
export const libraryStateSchema = v.object({
  engine: v.string(),
  available: v.boolean(),
  version: v.nullable(v.string()),
  /** torch's version, as `2.11.0+cu130`. */
  torch: v.nullable(v.string()),
  /** Why it cannot be called. */
  reason: v.nullable(reasonSchema),
});
export type LibraryState = v.InferOutput<typeof libraryStateSchema>;

/** Larger files are refused before they are read; a report of 4096 rows is 5 MB. */
export const MAX_REPORT_BYTES = 32 * 1024 * 1024;

const reportSchema = v.object({
  schema: v.literal(REPORT_SCHEMA),
  /** What wrote it. */
  tool: v.object({ name: v.string(), version: v.string() }),
  /** Milliseconds since the epoch. */
  createdAtMs: v.number(),
  /** The command it answers: `run`, `selftest`, `devices`, `explain`, `export`. */
  command: v.string(),
  /** Identifying words were replaced by stand-ins. */
  redacted: v.boolean(),
  /** Where it was made; the host's name never leaves a redacted report. */
  machine: v.object({ platform: v.string(), nodeVersion: v.string(), hostName: v.string() }),
  /** Facts taken just before; hold the kernel build with its hash. `null` = the command needed none. */
  facts: v.nullable(systemFactsSchema),
  /** Measured ceilings by device. */
  ceilings: v.array(v.object({ deviceId: v.string(), ceilings: ceilingsSchema })),
  rows: v.array(resultRowSchema),
  /** Installed libraries that were asked for: there or not, and why. Absent when none was. */
  libraries: v.optional(v.array(libraryStateSchema)),
  /** Engines beside the bundled kernels, from interleaved rounds. Absent without rounds. */
  ratios: v.optional(v.array(roundRatioSchema)),
  /** What the rules said, when they were asked (`Evaluation` of core/evaluation.ts and its request). */
  explanation: v.nullable(v.unknown()),
  /** Why the command ended early; `null` = it did not. */
  failure: v.nullable(v.object({ code: v.string(), text: v.string() })),
});
export type Report = v.InferOutput<typeof reportSchema>;

/** What a report is made of. */
export interface ReportParts {
  readonly command: string;
  readonly toolVersion: string;
  readonly createdAtMs: number;
  readonly machine: Report['machine'];
  readonly facts: SystemFacts | null;
  readonly ceilings?: readonly { readonly deviceId: string; readonly ceilings: Ceilings }[];
  readonly rows?: readonly ResultRow[];
  readonly libraries?: readonly LibraryState[];
  readonly ratios?: readonly RoundRatio[];
  readonly explanation?: unknown;
  readonly failure?: Report['failure'];
  /** Words to take out; `null` keeps everything as it is. */
  readonly privateWords: PrivateWords | null;
}

/** Puts a report together, redacted unless told otherwise. */
export function createReport(parts: ReportParts): Report {
  const report: Report = {
    schema: REPORT_SCHEMA,
    tool: { name: 'attention-backend-diagnostics', version: parts.toolVersion },
    createdAtMs: parts.createdAtMs,
    command: parts.command,
    redacted: parts.privateWords !== null,
    machine: parts.privateWords === null ? parts.machine : { ...parts.machine, hostName: '<host>' },
    facts: parts.facts,
    ceilings: [...(parts.ceilings ?? [])],
    rows: [...(parts.rows ?? [])],
    ...(parts.libraries === undefined || parts.libraries.length === 0 ? {} : { libraries: [...parts.libraries] }),
    ...(parts.ratios === undefined || parts.ratios.length === 0 ? {} : { ratios: [...parts.ratios] }),
    explanation: parts.explanation ?? null,
    failure: parts.failure ?? null,
  };
  return parts.privateWords === null ? report : redact(report, parts.privateWords);
}

/** The text of a report file: rows one per line, so that two of them can be compared by eye and by git. */
export function printReport(report: Report): string {
  const { rows, ...rest } = report;
  const head = JSON.stringify({ ...rest, rows: [] }, null, 2);
  if (rows.length === 0) return `${head}\n`;
  const lines = rows.map((row) => `    ${JSON.stringify(row)}`).join(',\n');
  return `${head.replace('"rows": []', `"rows": [\n${lines}\n  ]`)}\n`;
}

/**
 * Reads the text of a report file.
 * Throws `reportTruncated`, `notAReport`, `reportNewer` or `reportInvalid`, each naming `path`.
 */
export function parseReport(text: string, path: string): Report {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    const ours = text.slice(0, 200).includes('attention-diagnostics-report/');
    if (ours && !text.trimEnd().endsWith('}')) throw new DiagError('reportTruncated', { path }, error);
    throw new DiagError('notAReport', { path, problem: text.trim() === '' ? 'it is empty' : 'it is not JSON' }, error);
  }
  const named = v.safeParse(v.object({ schema: v.string() }), document);
  const version = named.success ? SCHEMA_PATTERN.exec(named.output.schema)?.[1] : undefined;
  if (!named.success || version === undefined) {
    throw new DiagError('notAReport', { path, problem: 'it does not name a report schema' });
  }
  if (Number(version) > SCHEMA_VERSION) throw new DiagError('reportNewer', { path, schema: named.output.schema });
  const parsed = v.safeParse(reportSchema, document);
  if (!parsed.success) throw new DiagError('reportInvalid', { path, problem: firstIssue(parsed.issues) });
  return parsed.output;
}

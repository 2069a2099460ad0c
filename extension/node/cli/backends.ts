/** The options of `run` that choose installed libraries, and how their answers are printed. */
import path from 'node:path';
import type { AttentionCase, ResultRow } from '../../core/attentionCase';
import { DiagError } from '../../core/errors';
import type { EnvironmentFacts } from '../../core/environment';
import type { DeviceFacts } from '../../core/facts';
import { engineFindings } from '../../core/findings/engineFindings';
import { formatMs, NOT_KNOWN, textTable, wrap } from '../../core/format';
import { rateText } from '../../core/measure/countedRate';
import { shortCaseText } from '../../core/measure/caseGrid';
import { BACKEND_ENGINES, engineLabel, type BackendEngine } from '../../core/measure/engines';
import type { RoundRatio } from '../../core/measure/rounds';
import { sideBySide } from '../../core/measure/sideBySide';
import type { LibraryState } from '../../core/report/report';
import { explain, rowsForm } from '../../core/rules/explanation';
import type { Finding } from '../../core/verdict';
import { benchScript, interpreterOf, type BackendPlan } from '../backendRunner';
import { namedInterpreter, probePythonEnvironment, probeScript } from '../pythonProbe';
import { paint, type CliIo } from './io';
import { usage, wholeNumber } from './options';
import { layoutText } from './rows';

export const BACKEND_OPTIONS = {
  backends: { type: 'string' },
  python: { type: 'string', multiple: true },
  rounds: { type: 'string' },
} as const;

export const BACKEND_HELP = `Installed libraries, beside the bundled kernels:
  --backends all|NAME,…  ${wrap(BACKEND_ENGINES.join(', '), 72).join('\n                       ')};
                       fa4.system,fa4.vllm shows what use_system_flash_attn exchanges
  --python PATH        interpreter (or folder of the environment) that has them; default: the active virtual environment
  --python NAME,…=PATH the same for some of them, whose requirements exclude those of the others; may be repeated
  --rounds N           all engines take turns case by case, N times; 7 or more give the ratio to the bundled
                       kernel a 95 % interval (default 1)`;

interface BackendValues {
  readonly backends?: string | undefined;
  readonly python?: readonly string[] | undefined;
  readonly rounds?: string | undefined;
}

/** What the options ask for; `null` = no libraries. Throws `usage`. */
export async function readBackends(values: BackendValues, io: CliIo): Promise<BackendPlan | null> {
  const rounds = values.rounds === undefined ? 1 : wholeNumber('rounds', values.rounds, 1, 1000);
  if (values.backends === undefined) {
    if (values.python !== undefined) throw usage('--python needs --backends, which says what to measure there.');
    if (values.rounds !== undefined)
      throw usage('--rounds needs --backends: the bundled kernels take turns with them.');
    return null;
  }
  const engines = enginesOf(values.backends);
  return {
    ...(await interpretersOf(values.python ?? [], engines, io)),
    scriptPath: benchScript(io.rootDir),
    env: io.env,
    engines,
    rounds,
  };
}

function enginesOf(text: string): readonly BackendEngine[] {
  if (text.trim() === 'all') return BACKEND_ENGINES;
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  return names.map((name) => {
    const engine = BACKEND_ENGINES.find((each) => each === name);
    if (engine === undefined) {
      throw usage(`There is no backend "${name}"; there are all, ${BACKEND_ENGINES.join(', ')}.`);
    }
    return engine;
  });
}

/** The interpreter of all engines, and of those that have another one. Throws `usage`. */
async function interpretersOf(
  given: readonly string[],
  engines: readonly BackendEngine[],
  io: CliIo,
): Promise<Pick<BackendPlan, 'interpreter' | 'interpreters'>> {
  const interpreters: Partial<Record<BackendEngine, string>> = {};
  let common: string | null = null;
  for (const text of given) {
    const named = /^([\w.]+(?:,[\w.]+)*)=(.+)$/s.exec(text);
    const found = await interpreterAt(named?.[2] ?? text);
    if (named === null) {
      if (common !== null)
        throw usage('--python PATH without names is given twice; name the engines of one: NAME,…=PATH.');
      common = found;
    }
    for (const engine of named === null ? [] : enginesOf(named[1] ?? '')) {
      if (!engines.includes(engine)) throw usage(`--python names ${engine}, which is not among --backends.`);
      interpreters[engine] = found;
    }
  }
  const active = io.env['VIRTUAL_ENV'] ?? '';
  if (common === null && active !== '') common = await interpreterAt(active);
  // Where every engine has its own, none is needed for all.
  common ??= engines.every((engine) => interpreters[engine] !== undefined)
    ? (Object.values(interpreters)[0] ?? null)
    : null;
  if (common === null) {
    throw usage('--backends needs --python PATH: the interpreter of the environment whose libraries are measured.');
  }
  return { interpreter: common, interpreters };
}

async function interpreterAt(text: string): Promise<string> {
  const asked = path.resolve(text);
  const found = await namedInterpreter(asked);
  if (found === null) throw usage(`${asked} holds no virtual environment; name its python.`);
  return found;
}

/** One line per library that was asked for: version, or why it cannot be called. */
export function librariesText(libraries: readonly LibraryState[], io: CliIo): string {
  const rows = libraries.map(({ engine, available, version, torch, reason }) => [
    engine,
    available
      ? `${version ?? 'there'}${torch === null ? '' : `, torch ${torch}`}`
      : `not there: ${reason?.text ?? 'no reason given'}`,
  ]);
  return `${textTable([{ title: 'library' }, { title: 'found' }], rows, io.columns)}\n`;
}

/** Ratios with their intervals, one line per engine and case. */
export function ratiosText(ratios: readonly RoundRatio[], io: CliIo): string {
  const rows = ratios.map((each) => [
    each.engine,
    shapeText(each.case),
    `×${each.ratio.toFixed(3)}`,
    each.interval === null ? NOT_KNOWN : `${each.interval.low.toFixed(3)} … ${each.interval.high.toFixed(3)}`,
    `${each.rounds} rounds: ${ratioWords(each)}`,
  ]);
  return `Time of the engine ÷ time of the bundled kernel in the same round, median:\n${textTable(
    [
      { title: 'engine' },
      { title: 'case' },
      { title: 'ratio', align: 'right' },
      { title: '95 % interval' },
      { title: 'which means' },
    ],
    rows,
    io.columns,
  )}\n`;
}

function ratioWords({ interval }: RoundRatio): string {
  if (interval === null) return 'too few for a verdict';
  if (interval.low > 1) return 'the bundled kernel is faster';
  return interval.high < 1 ? 'the engine is faster' : 'no difference shown';
}

/** System FA4 beside vLLM's, when both were asked for: per head size and layout what works, how fast, at what host cost. */
export function flagPairText(rows: readonly ResultRow[], io: CliIo): string {
  const pairs = sideBySide(rows, 'fa4.system', 'fa4.vllm');
  if (!pairs.some((pair) => pair.first !== null) || !pairs.some((pair) => pair.second !== null)) return '';
  const cell = (row: ResultRow | null): string[] => {
    if (row === null) return [NOT_KNOWN, NOT_KNOWN, NOT_KNOWN];
    const { result } = row;
    return [
      result.status === 'ok' ? formatMs(result.gpuMs?.median ?? null) : result.status,
      rateText(row.case, result),
      hostText(result.hostUs),
    ];
  };
  const lines = pairs.map((pair) => [
    shapeText(pair.case),
    ...cell(pair.first),
    ...cell(pair.second),
    pair.timeRatio === null ? NOT_KNOWN : `×${pair.timeRatio.toFixed(2)}`,
  ]);
  const number = (title: string) => ({ title, align: 'right' }) as const;
  return `What use_system_flash_attn exchanges: flash-attn-4 from pip (system) and vLLM's own FA4 (vllm)\n${textTable(
    [
      { title: 'case' },
      number('system'),
      number('rate'),
      number('host'),
      number('vllm'),
      number('rate'),
      number('host'),
      number('vllm ÷ system'),
    ],
    lines,
    io.columns,
  )}\n`;
}

function shapeText(asked: AttentionCase): string {
  return `${shortCaseText(asked)} ${layoutText(asked)}`;
}

/** CPU microseconds of a call. */
export function hostText(hostUs: number | null): string {
  return hostUs === null ? NOT_KNOWN : formatMs(hostUs / 1000);
}

/**
 * What the rows say against the rules of the vLLM in each engine's environment; nothing for the CPU device, whose figures
 * concern no GPU.
 */
export async function contradictionsOf(
  rows: readonly ResultRow[],
  device: DeviceFacts,
  plan: BackendPlan,
  io: CliIo,
): Promise<readonly Finding[]> {
  const capability = device.computeCapability;
  if (capability === null) return [];
  const findings: Finding[] = [];
  for (const interpreter of new Set(plan.engines.map((engine) => interpreterOf(plan, engine)))) {
    const environment = await inspected(interpreter, io);
    const engines = new Set<string>(plan.engines.filter((engine) => interpreterOf(plan, engine) === interpreter));
    for (const kind of ['mla', 'other'] as const) {
      const own = rows.filter((row) => engines.has(row.engine) && (row.case.op === 'mlaDecode') === (kind === 'mla'));
      findings.push(...contradictionsIn(own, capability, environment));
    }
  }
  return findings;
}

function contradictionsIn(
  rows: readonly ResultRow[],
  capability: NonNullable<DeviceFacts['computeCapability']>,
  environment: EnvironmentFacts | null,
): readonly Finding[] {
  const [first] = rows;
  if (first === undefined) return [];
  const { answer } = explain({
    vllmVersion: { value: 'newest', setIn: 'default' },
    capability,
    form: rowsForm(
      first.case,
      [...new Set(rows.map((row) => row.case.headDim))],
      [...new Set(rows.map((row) => row.case.pageSize))],
    ),
    model: null,
    serve: null,
    environment,
    flag: 'off',
  });
  const release = `vLLM ${answer.evaluation.catalog.requestedVersion}`;
  return engineFindings({ rows, cells: answer.cells, release, fa4Forced: false });
}

/** Which vLLM the environment has decides which rules its libraries are held against; without an answer the newest ones. */
async function inspected(interpreter: string, io: CliIo): Promise<EnvironmentFacts | null> {
  try {
    return await probePythonEnvironment({
      interpreter,
      scriptPath: probeScript(io.rootDir),
      env: io.env,
      signal: io.signal,
    });
  } catch (error) {
    if (DiagError.is(error, 'cancelled')) throw error;
    return null;
  }
}

/** Findings as text, each with its next step. */
export function contradictionsText(findings: readonly Finding[], io: CliIo): string {
  return findings
    .flatMap((finding) => [
      paint(io, finding.severity === 'error' ? 'bad' : 'strong', `${finding.severity}: ${finding.title}`),
      ...wrap(finding.detail, io.columns - 2).map((line) => `  ${line}`),
    ])
    .map((line) => `${line}\n`)
    .join('');
}

/** What is at work, for the progress line. */
export function engineProgress(engine: string | null, round: number | null): string {
  const who = engine === null ? 'libraries' : engineLabel(engine);
  return round === null ? who : `${who}, round ${round + 1}`;
}

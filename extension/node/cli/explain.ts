/** `attn-diag explain`: what vLLM would choose for a model on an SM family, why not the others, and what the flag changes. */
import path from 'node:path';
import { stat } from 'node:fs/promises';
import type { DerivedAnswer, LoadedModel, LoadedServeFile, RuleAnswer, Setting } from '../../core/state/appState';
import { NEWEST_RELEASE } from '../../core/catalog/releases';
import { askedVersion, requestFor } from '../../core/state/derive';
import { IDLE, ready } from '../../core/state/store';
import type { EnvironmentFacts } from '../../core/environment';
import type { GroupSelection, MatrixCell, MatrixSubject } from '../../core/evaluation';
import {
  DEFAULT_CAPABILITY,
  explain,
  explainForm,
  firstGpu,
  FLAG_CHOICES,
  parseCapabilities,
  compareColumns,
  type FlagChoice,
} from '../../core/rules/explanation';
import { smFamily } from '../../core/facts';
import type { ComparedColumn } from '../../core/rules/comparison';
import { formatPageSize, NOT_KNOWN, textTable, wrap } from '../../core/format';
import { loadModel, loadServeFile, MAX_MODEL_CONFIG_BYTES } from '../../core/state/loadedFiles';
import { columnsText } from '../../core/rules/matrix';
import type { RequestForm } from '../../core/measure/requestForm';
import { SERVE_FILE_LIMIT_BYTES } from '../../core/serve/serveConfig';
import { DEFAULT_SERVE_SETTINGS } from '../../core/request';
import type { Answer, Finding } from '../../core/verdict';
import { FLAG_OUTCOMES } from '../../core/view/viewModels';
import { findCachedModel } from '../modelFiles';
import { namedInterpreter, probePythonEnvironment, probeScript } from '../pythonProbe';
import { readTextFile } from '../reportFile';
import { withClient } from './client';
import { familiesText, upgradeText } from './explainCompare';
import { findingsText, listText } from './explainFindings';
import { validateSelection, validationText, writeBugReport } from './explainValidate';
import { deliverReport, EXIT, onlyReport, paint, type CliIo, type Command } from './io';
import { COMMON_HELP, COMMON_OPTIONS, oneOf, readOptions, usage, wholeNumbers } from './options';

const EXPLAIN_OPTIONS = {
  ...COMMON_OPTIONS,
  vllm: { type: 'string' },
  'upgrade-to': { type: 'string' },
  sm: { type: 'string' },
  model: { type: 'string' },
  config: { type: 'string' },
  python: { type: 'string' },
  'head-dim': { type: 'string' },
  page: { type: 'string' },
  dtype: { type: 'string' },
  mla: { type: 'boolean', default: false },
  'system-fa4': { type: 'string' },
  reasons: { type: 'boolean', default: false },
  validate: { type: 'boolean', default: false },
  'bug-report': { type: 'string' },
} as const;

export const explainCommand: Command = {
  name: 'explain',
  summary: 'which backend a vLLM release selects per layer group, why not the others, and the declared matrix',
  help: `usage: attn-diag explain [options]

Applies the rules of a vLLM release; imports nothing, and runs nothing but the interpreter that --python names
(--validate imports the vLLM of that interpreter there).
What cannot be established is "unknown".

  --vllm VERSION       release to ask about (default: the one --python has, else the newest known, ${NEWEST_RELEASE})
  --upgrade-to VERSION what changes from --vllm to this release, side by side, and why
  --sm X.Y[,X.Y…]      SM family, e.g. 8.0, 9.0, 12.0 (default: this machine's first GPU, else 9.0); several families
                       are answered side by side
  --model PATH         a Hugging Face config.json, the folder that holds it, or the name of a model in the local cache
  --config PATH        serve settings: vLLM YAML, shell script, Dockerfile, compose file, launch.json or .env
  --python PATH        interpreter (or folder) of the environment that has vLLM: inspects it by reading its
                       files, and asks about the vLLM installed there unless --vllm is given; runs that interpreter
  --head-dim N,…       head sizes to ask about besides the model's (default without a model: 64,128,256,512)
  --mla                without a model: latent attention of the DeepSeek kind
  --page N,…           page layouts of the matrix; "contiguous" for none (default contiguous,16,64)
  --dtype T            bf16 (default) or fp16
  --system-fa4 WHICH   use_system_flash_attn: off (default), on, or diff for what flipping it changes
  --reasons            every reason with the place of its rule
  --validate           asks the vLLM of --python itself: imports it there (10 to 40 s), starts no engine, loads no
                       model, opens no network; for this machine's GPU, or for --sm. What it says overrules the catalog
  --bug-report FILE    with --validate: both answers for us, redacted; .json is a recording for attn-diag replay
${COMMON_HELP}

Exit codes: 0 no finding of severity error (what diff says about flipping does not count), 1 there is one or a file
cannot be read or the installed vLLM not be asked, 2 usage. Side by side: 1 when one of the families has one; with
--upgrade-to, when the release upgraded to has one`,
  async run(args, io) {
    const { values } = readOptions(args, EXPLAIN_OPTIONS);
    const target = values.json ?? null;
    const which = oneOf('system-fa4', values['system-fa4'] ?? 'off', FLAG_CHOICES);
    const environment = values.python === undefined ? null : await readEnvironment(values.python, io);
    const setting = versionSetting(values.vllm);
    const vllmVersion = askedVersion(setting, environment);
    const asksFor = readForm(values);
    const asked = values.sm === undefined ? null : readCapabilities(values.sm);
    const upgradeTo = values['upgrade-to'] === undefined ? null : readVersion('upgrade-to', values['upgrade-to']);
    const sideBySide = upgradeTo !== null || (asked?.length ?? 0) > 1;
    if (sideBySide && which === 'diff')
      throw usage('--system-fa4 diff compares on its own: ask one family and release.');
    if (upgradeTo !== null && (asked?.length ?? 0) > 1) throw usage('--upgrade-to takes one SM family.');
    if (values.validate && sideBySide) throw usage('--validate asks about one SM family and the installed release.');
    if (values['bug-report'] !== undefined && !values.validate) throw usage('--bug-report needs --validate.');
    const serve = values.config === undefined ? null : await readServe(values.config);
    const model = values.model === undefined ? null : await readModel(values.model, vllmVersion, serve, io.env);
    const modelDims = [...new Set((model?.facts.layerGroups ?? []).map((group) => group.headDim))];
    // The matrix is about the model's head sizes, unless others were asked for.
    const form =
      values['head-dim'] === undefined && modelDims.length > 0 ? { ...asksFor, headDims: modelDims } : asksFor;
    const [first] = asked ?? [];
    const { capability, from, stated } =
      first === undefined ? await machineCapability(io) : { capability: first, from: 'asked for', stated: true };
    if (sideBySide) {
      const versions = upgradeTo === null ? [vllmVersion] : [vllmVersion, upgradeTo];
      const { columns, explanation } = compareColumns({
        columns: versions.flatMap((version) =>
          (asked ?? [capability]).map((each) => ({ vllmVersion: version, capability: each })),
        ),
        form,
        model,
        serve,
        environment,
        useSystemFlashAttn: which === 'on',
      });
      const judged = upgradeTo === null ? columns : columns.slice(1);
      if (!onlyReport(target)) io.out(`${comparisonText(columns, upgradeTo !== null, model, which, io)}\n`);
      await deliverReport(io, target, !values['no-redact'], { command: 'explain', facts: null, explanation });
      const failed = judged.some(({ evaluation }) => evaluation.findings.some(({ severity }) => severity === 'error'));
      return failed ? EXIT.failed : EXIT.ok;
    }
    const request = requestFor(
      {
        form,
        model: model === null ? IDLE : ready(model),
        serve: serve === null ? IDLE : ready(serve),
        environment: environment === null ? IDLE : ready(environment),
      },
      vllmVersion,
      capability,
    );
    const validation = values.validate ? await validateSelection(environment, request, stated, io) : null;
    const { derived, answer, findings, explanation } = explain({
      vllmVersion: setting,
      capability,
      form,
      model,
      serve,
      environment,
      ...(validation === null ? {} : { validation }),
      flag: which,
    });
    if (!onlyReport(target)) {
      const title = titleText(answer, capability, from, model, which);
      const notes = [...(model?.notes ?? []), ...answer.evaluation.assumptions];
      const own = validation === null ? '' : validationText(request, validation, io);
      const text = explainText(title, answer, findings, notes, derived, which, values.reasons, io);
      io.out(`${[own, text].filter((part) => part !== '').join('\n\n')}\n`);
    }
    if (validation !== null && values['bug-report'] !== undefined) {
      await writeBugReport(values['bug-report'], request, validation, io);
    }
    await deliverReport(io, target, !values['no-redact'], { command: 'explain', facts: null, explanation });
    return findings.some((finding) => finding.severity === 'error') ? EXIT.failed : EXIT.ok;
  },
};

/** `--vllm newest` is a choice; without the option the installed release counts, when there is one. */
function versionSetting(text: string | undefined): Setting<string> {
  return text === undefined
    ? { value: 'newest', setIn: 'default' }
    : { value: readVersion('vllm', text), setIn: 'user' };
}

function readVersion(option: string, text: string): string {
  if (text === 'newest') return NEWEST_RELEASE;
  if (!/^v?\d+\.\d+/.test(text)) throw usage(`--${option} takes a version like ${NEWEST_RELEASE}, not "${text}".`);
  return text;
}

async function readEnvironment(place: string, io: CliIo): Promise<EnvironmentFacts> {
  const interpreter = (await namedInterpreter(path.resolve(place))) ?? path.resolve(place);
  return probePythonEnvironment({ interpreter, scriptPath: probeScript(io.rootDir), env: io.env, signal: io.signal });
}

function readCapabilities(text: string): readonly (readonly [number, number])[] {
  const capabilities = parseCapabilities(text);
  if (capabilities === null)
    throw usage(`--sm takes SM families like 9.0 or sm_90, with commas between, not "${text}".`);
  return capabilities;
}

function comparisonText(
  columns: readonly ComparedColumn[],
  isUpgrade: boolean,
  model: LoadedModel | null,
  which: FlagChoice,
  io: CliIo,
): string {
  const [first, second] = columns;
  if (first === undefined) return '';
  const about = `${model === null ? '' : `, model ${model.name}`}${which === 'on' ? ', with use_system_flash_attn' : ''}; declared`;
  if (isUpgrade && second !== undefined) {
    const { label, architecture } = smFamily(first.capability);
    const title = `From vLLM ${first.vllmVersion} to ${second.vllmVersion} on ${label} ${architecture}${about}`;
    return upgradeText(title, first, second, io);
  }
  return familiesText(`vLLM ${first.vllmVersion} on ${columns.length} SM families${about}`, columns, io);
}

function readForm(values: {
  readonly 'head-dim'?: string | undefined;
  readonly page?: string | undefined;
  readonly dtype?: string | undefined;
  readonly mla: boolean;
}): RequestForm {
  const pages = (values.page ?? 'contiguous,16,64').split(',').map((each) => each.trim());
  const form = {
    dtype: oneOf('dtype', values.dtype ?? 'bf16', ['bf16', 'fp16']),
    headDims: wholeNumbers('head-dim', values['head-dim'] ?? (values.mla ? '576' : '64,128,256,512'), 1, 100_000),
    pageSizes: pages.map((each) =>
      each === 'contiguous' ? null : (wholeNumbers('page', each, 1, 100_000)[0] ?? null),
    ),
  };
  return explainForm(form, values.mla);
}

async function readServe(file: string): Promise<LoadedServeFile> {
  return loadServeFile(path.resolve(file), await readTextFile(file, SERVE_FILE_LIMIT_BYTES));
}

async function readModel(
  place: string,
  vllmVersion: string,
  serve: LoadedServeFile | null,
  env: NodeJS.ProcessEnv,
): Promise<LoadedModel> {
  const isFolder = await stat(place).then(
    (info) => info.isDirectory(),
    () => false,
  );
  const isNothing = !isFolder && (await stat(place).catch(() => null)) === null;
  const cached = isNothing ? await findCachedModel(place, env) : null;
  const file = cached ?? (isFolder ? path.join(place, 'config.json') : place);
  return loadModel(path.resolve(file), await readTextFile(file, MAX_MODEL_CONFIG_BYTES), {
    vllmVersion,
    tensorParallelSize: (serve?.settings ?? DEFAULT_SERVE_SETTINGS).tensorParallelSize,
    mlaDisabled: serve?.mlaDisabled ?? false,
  });
}

/** The first GPU's capability by NVML alone; without a GPU the default, said as such. */
async function machineCapability(
  io: CliIo,
): Promise<{ capability: readonly [number, number]; from: string; stated: boolean }> {
  const facts = await withClient(io, (client) => client.probe('nvml', io.signal));
  const gpu = firstGpu(facts);
  return gpu === null
    ? { capability: DEFAULT_CAPABILITY, from: 'no GPU here; choose another family with --sm', stated: true }
    : { capability: gpu.capability, from: gpu.name, stated: false };
}

function titleText(
  answer: RuleAnswer,
  capability: readonly [number, number],
  from: string,
  model: LoadedModel | null,
  which: FlagChoice,
): string {
  const { catalog } = answer.evaluation;
  const family = smFamily(capability);
  const rules =
    catalog.match === 'exact'
      ? `rules checked ${catalog.checkedOn}`
      : `${catalog.match === 'tooOld' ? 'older than the catalog' : `${catalog.match}, evaluated with the rules of ${catalog.evaluatedAs}`}`;
  const flag = which === 'on' ? ', with use_system_flash_attn' : '';
  return `vLLM ${catalog.requestedVersion} on ${family.label} ${family.architecture} (${from})${model === null ? '' : `, model ${model.name}`}${flag}; declared, ${rules}`;
}

function explainText(
  title: string,
  answer: RuleAnswer,
  findings: readonly Finding[],
  notes: readonly string[],
  derived: DerivedAnswer,
  which: FlagChoice,
  allReasons: boolean,
  io: CliIo,
): string {
  const { evaluation } = answer;
  const blocks = [
    wrap(title, io.columns)
      .map((line) => paint(io, 'strong', line))
      .join('\n'),
    selectionsText(evaluation.selections, allReasons, io),
    ...(allReasons ? [refusalsText(answer, io)] : []),
    matrixText(answer, io),
    ...(which === 'diff' ? [flagText(derived, io)] : []),
    ...(findings.length === 0 ? [] : [findingsText(findings, io)]),
    ...(notes.length === 0 ? [] : [listText('Assumed:', notes, io)]),
  ];
  return blocks.filter((block) => block !== '').join('\n\n');
}

function selectionsText(selections: readonly GroupSelection[], allReasons: boolean, io: CliIo): string {
  return textTable(
    [{ title: 'layer group' }, { title: 'selected' }, { title: 'block', align: 'right' }, { title: 'why' }],
    selections.map((each) => [
      each.layerGroup,
      selectionName(each),
      String(each.blockSize ?? NOT_KNOWN),
      why(each, allReasons),
    ]),
    io.columns,
  );
}

function selectionName(selection: GroupSelection): string {
  if (selection.backend === null) return selection.answer === 'unknown' ? 'unknown' : 'none: start-up fails';
  const version = selection.flashAttnVersion === null ? '' : ` (FA${selection.flashAttnVersion})`;
  return `${selection.backend}${version}${selection.answer === 'unknown' ? '?' : ''}`;
}

function why(selection: GroupSelection, allReasons: boolean): string {
  if (selection.error !== null) return selection.error.replaceAll('\n', ' ');
  const reasons = allReasons ? selection.reasons : selection.reasons.slice(0, 1);
  return reasons
    .map((reason) => `${reason.text}${allReasons && reason.source !== null ? ` [${reason.source.where}]` : ''}`)
    .join('; ');
}

/** Every verdict that is not a yes, with its reasons and sources. */
function refusalsText(answer: RuleAnswer, io: CliIo): string {
  const refused = answer.evaluation.verdicts.filter((verdict) => verdict.answer !== 'yes');
  if (refused.length === 0) return '';
  return textTable(
    [{ title: 'layer group' }, { title: 'backend' }, { title: 'question' }, { title: 'reasons' }],
    refused.map((verdict) => [
      verdict.layerGroup,
      verdict.subject,
      `${verdict.question} ${verdict.answer}`,
      verdict.reasons
        .map((reason) => `${reason.text}${reason.source === null ? '' : ` [${reason.source.where}]`}`)
        .join('; '),
    ]),
    io.columns,
  );
}

const LETTERS: Record<Answer, string> = { yes: 'yes', no: 'no', unknown: '?' };

/** One table per page layout; layouts with the same answers share one. */
function matrixText(answer: RuleAnswer, io: CliIo): string {
  const headDims = [...new Set(answer.cells.map((cell) => cell.headDim))];
  const tables = new Map<string, (number | null)[]>();
  for (const pageSize of new Set(answer.cells.map((cell) => cell.pageSize))) {
    const table = textTable(
      [{ title: 'backend' }, ...headDims.map((headDim) => ({ title: `d${headDim}` }))],
      answer.subjects.map((subject) => [
        subject.label,
        ...headDims.map((headDim) => cellText(answer.cells, subject, headDim, pageSize)),
      ]),
      io.columns,
    );
    tables.set(table, [...(tables.get(table) ?? []), pageSize]);
  }
  if (tables.size === 0) return '';
  const legend =
    'Declared matrix, "selects / works" per head size: would the validator take it, does the library declare it.';
  return [
    ...wrap(`${legend} ${columnsText(answer.columns)}`, io.columns),
    ...[...tables].map(([table, layouts]) => `\n${layouts.map(formatPageSize).join(', ')}:\n${table}`),
  ].join('\n');
}

function cellText(
  cells: readonly MatrixCell[],
  subject: MatrixSubject,
  headDim: number,
  pageSize: number | null,
): string {
  const cell = cells.find(
    (each) => each.subject === subject.id && each.headDim === headDim && each.pageSize === pageSize,
  );
  if (cell === undefined) return NOT_KNOWN;
  // vLLM chooses among its backends only; for anything else the question has no meaning.
  const selects = subject.kind === 'vllmBackend' ? LETTERS[cell.selects.answer] : NOT_KNOWN;
  return `${selects} / ${LETTERS[cell.works.answer]}`;
}

/** Answers that the flag changes, one line for all page layouts where the same changes for the same reason. */
function changeRows({ flagOff, flagOn }: DerivedAnswer): readonly (readonly string[])[] {
  const layouts = new Set(flagOff.cells.map((cell) => cell.pageSize));
  const rows = new Map<string, { readonly cells: readonly string[]; readonly pageSizes: (number | null)[] }>();
  for (const off of flagOff.cells) {
    const on = flagOn.cells.find(
      (each) => each.subject === off.subject && each.headDim === off.headDim && each.pageSize === off.pageSize,
    );
    for (const question of ['selects', 'works'] as const) {
      const before = off[question];
      const after = on?.[question];
      if (after === undefined || after.answer === before.answer) continue;
      const subject = flagOff.subjects.find((each) => each.id === off.subject)?.label ?? off.subject;
      const change = `${before.answer} → ${after.answer}`;
      const cells = [subject, `d${off.headDim}`, question, change, after.reasons[0]?.text ?? ''];
      const key = JSON.stringify(cells);
      const row = rows.get(key) ?? { cells, pageSizes: [] };
      row.pageSizes.push(off.pageSize);
      rows.set(key, row);
    }
  }
  return [...rows.values()].map(({ cells: [subject = '', headDim = '', ...rest], pageSizes }) => [
    subject,
    headDim,
    pageSizes.length === layouts.size ? 'every layout' : pageSizes.map(formatPageSize).join(', '),
    ...rest,
  ]);
}

function flagText(derived: DerivedAnswer, io: CliIo): string {
  const changed = changeRows(derived);
  const table =
    changed.length === 0
      ? 'No answer of the matrix changes.'
      : textTable(
          ['backend', 'head size', 'layout', 'question', 'change', 'why'].map((title) => ({ title })),
          changed,
          io.columns,
        );
  const rows = textTable(
    [{ title: 'layers' }, { title: 'FA' }, { title: 'with the flag' }, { title: 'because' }],
    derived.flagRows.map((row) => [
      row.mla ? 'MLA' : 'other',
      String(row.flashAttnVersion),
      FLAG_OUTCOMES[row.outcome].words,
      row.text,
    ]),
    io.columns,
  );
  return [
    paint(io, 'strong', 'Flipping use_system_flash_attn'),
    table,
    rows,
    listText(
      '',
      derived.flagNotes.map(
        (note) => `${note.severity}: ${note.text}${note.source === null ? '' : ` [${note.source}]`}`,
      ),
      io,
    ),
  ].join('\n\n');
}

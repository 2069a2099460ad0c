/** `attn-diag explain --validate`: what the installed vLLM says itself, and a bug report about the catalog. */
import path from 'node:path';
import { CATALOG_CHECKED_ON } from '../../core/catalog/releases';
import { DiagError } from '../../core/errors';
import { installedVllmVersion, type EnvironmentFacts } from '../../core/environment';
import type { EvaluateRequest } from '../../core/request';
import {
  contradictions,
  progressText,
  validationKey,
  validationQuestion,
  type Validation,
} from '../../core/rules/validation';
import { bugReportJson, bugReportMarkdown } from '../../core/rules/validationReport';
import { textTable } from '../../core/format';
import { privateWords, writeFileWhole } from '../reportFile';
import { askInstalledVllm, validateScript } from '../vllmValidation';
import { paint, toolVersion, type CliIo } from './io';
import { usage } from './options';

/**
 * Asks the vLLM of the inspected environment. Throws `usage` when no environment was named or another release was asked about,
 * and `interpreterUnusable` when there is no vLLM in it.
 *
 * @param stated ask for the request's capability instead of this machine's device
 */
export async function validateSelection(
  environment: EnvironmentFacts | null,
  request: EvaluateRequest,
  stated: boolean,
  io: CliIo,
): Promise<Validation> {
  if (environment === null) throw usage('--validate needs the environment that has vLLM: name it with --python.');
  const installed = installedVllmVersion(environment);
  if (environment.vllm === null) {
    const { executable, prefix } = environment.python;
    throw new DiagError('interpreterUnusable', { path: executable, problem: `there is no vLLM in ${prefix} to ask` });
  }
  if (installed !== null && installed !== request.vllmVersion) {
    throw usage(
      `--validate asks the installed vLLM ${installed}, and --vllm names ${request.vllmVersion}: leave --vllm out.`,
    );
  }
  let shown = '';
  return askInstalledVllm({
    interpreter: environment.python.executable,
    scriptPath: validateScript(io.rootDir),
    env: io.env,
    question: validationQuestion(request, stated),
    key: validationKey(request),
    signal: io.signal,
    onProgress: (progress) => {
      const text = progressText(progress);
      if (text !== shown) io.err(`Asking the installed vLLM: ${text} …\n`);
      shown = text;
    },
  });
}

/** The answers as a table: layer group, what the installed vLLM selects, and whether the catalog agrees. */
export function validationText(request: EvaluateRequest, validation: Validation, io: CliIo): string {
  if (validation.kind === 'failed') return '';
  const { answer } = validation;
  const differences = contradictions(request, answer);
  const { device } = answer;
  const where = `${device.capability.join('.')}, ${device.stated ? 'stated' : 'this device'}`;
  const rows = answer.cases.map(({ id, answer: said, withCubins }) => {
    const layerGroup = request.model.layerGroups[id]?.id ?? String(id);
    const against = differences.filter((each) => each.layerGroup === layerGroup);
    const network =
      withCubins === undefined ? '' : `; with downloaded FlashInfer kernels ${withCubins.selected ?? 'none'}`;
    return [
      layerGroup,
      `${said.selected ?? 'none'}${network}`,
      said.faVersion === null ? '–' : String(said.faVersion),
      against.length === 0 ? 'agrees' : `contradicts: ${against.map((each) => each.question).join(', ')}`,
    ];
  });
  const title = `The installed vLLM ${answer.vllm} itself (compute capability ${where}; ${(answer.durationMs / 1000).toFixed(1)} s); validated`;
  const table = textTable(
    [{ title: 'layer group' }, { title: 'selects' }, { title: 'FA resolver' }, { title: 'catalog' }],
    rows,
    io.columns,
  );
  return [paint(io, 'strong', title), table].join('\n');
}

/**
 * Writes the bug report: a recording for `attn-diag replay` when the name ends in .json, Markdown else. Without an answer there is
 * none to write, which is said; the finding about that answer decides the exit code.
 */
export async function writeBugReport(
  file: string,
  request: EvaluateRequest,
  validation: Validation,
  io: CliIo,
): Promise<void> {
  if (validation.kind === 'failed') {
    io.err('No bug report was written: the installed vLLM gave no answer.\n');
    return;
  }
  const input = {
    request,
    answer: validation.answer,
    toolVersion: toolVersion(io.rootDir),
    checkedOn: CATALOG_CHECKED_ON,
    privateWords: privateWords(),
  };
  const place = path.resolve(file);
  await writeFileWhole(place, place.endsWith('.json') ? bugReportJson(input) : bugReportMarkdown(input));
}

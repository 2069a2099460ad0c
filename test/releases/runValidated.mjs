/**
 * Asks installed vLLM releases themselves and replays their answers against the catalog:
 * `node test/releases/runReleases.mjs --validated [VERSION…] [--cases N] [--write] [--record FOLDER]`.
 *
 * Each release is installed with its real dependencies into the cache (several gigabytes, several minutes), or taken from
 * `ATTN_DIAG_VLLM_ENVS/vllm-VERSION`. No GPU is needed: validate.py answers for stated compute capabilities, and the report
 * names what stood in. `--write` keeps the outcome in test/releases/validated.md, `--record` the recordings.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { cacheRoot, REPO_ROOT } from '../../extension/dev/paths.mjs';

const REPORT = path.join(REPO_ROOT, 'test', 'releases', 'validated.md');
/** @type {readonly { readonly capability: readonly [number, number]; readonly batchInvariant: boolean }[]} */
const ASKED = [
  { capability: [7, 5], batchInvariant: false },
  { capability: [8, 0], batchInvariant: false },
  { capability: [9, 0], batchInvariant: false },
  { capability: [9, 0], batchInvariant: true },
  { capability: [10, 0], batchInvariant: false },
  { capability: [12, 0], batchInvariant: false },
];
/** One of the newest generation and one of the first with FA4; other versions by name. */
const DEFAULT_VERSIONS = ['0.33.0', '0.17.1'];

/** The interpreter of a release's environment, installed when it is not there yet. @param {string} version */
function interpreterOf(version) {
  const root = process.env['ATTN_DIAG_VLLM_ENVS'] ?? path.join(cacheRoot(), 'validated');
  const folder = path.join(root, `vllm-${version}`);
  if (!existsSync(folder)) {
    console.log(`installing vLLM ${version} into ${folder} …`);
    const script = path.join(REPO_ROOT, 'test', 'releases', 'install_release.py');
    execFileSync('python3', [script, version, folder], { stdio: 'inherit' });
  }
  return path.join(folder, 'bin', 'python');
}

/**
 * @param {typeof import('./validatedRelease')} checks the bundled checker
 * @param {{ versions: readonly string[]; cases: number; write: boolean; record: string | null }} options
 * @returns {Promise<number>} exit code
 */
export async function runValidated({ checkValidated, countsText }, { versions, cases, write, record }) {
  /** @type {string[]} */
  const rows = [];
  /** @type {Set<string>} */
  const standIns = new Set();
  let failed = 0;
  for (const version of versions.length > 0 ? versions : DEFAULT_VERSIONS) {
    const interpreter = interpreterOf(version);
    for (const { capability, batchInvariant } of ASKED) {
      const label = `${capability.join('.')}${batchInvariant ? ', batch invariant' : ''}`;
      try {
        const outcome = await checkValidated({ version, interpreter, capability, batchInvariant, cases });
        const { summary } = outcome;
        for (const each of outcome.standIns) standIns.add(each.replace(/\d+\.\d+, stated/, 'stated'));
        const agrees = summary.disagreements.length === 0 && summary.unknownSelections === 0;
        if (!agrees) failed += 1;
        const seconds = (outcome.importMs / 1000).toFixed(0);
        rows.push(`| ${[version, label, summary.cases, ...countsText(summary)].join(' | ')} |`);
        console.log(`${version} ${label}: ${summary.cases} cases, ${countsText(summary).join(' · ')} (${seconds} s)`);
        for (const each of summary.disagreements.slice(0, 20)) {
          console.log(`  #${each.caseId} ${each.question}: ${each.detail ?? ''}`);
          console.log(
            `    ${JSON.stringify(outcome.recording.cases[each.caseId], ['config', 'model', 'request', 'faArgs', ...KEYS])}`,
          );
        }
        if (record !== null) {
          await mkdir(record, { recursive: true });
          const name = `validated-${version}-sm${capability.join('')}${batchInvariant ? '-bi' : ''}.json.gz`;
          await writeFile(path.join(record, name), gzipSync(JSON.stringify(outcome.recording), { level: 9 }));
        }
      } catch (error) {
        failed += 1;
        const why = error instanceof Error ? error.message : String(error);
        rows.push(`| ${version} | ${label} | – | no answer: ${why} | | | |`);
        console.log(`${version} ${label}: no answer: ${why}`);
      }
    }
    if (write) await writeFile(REPORT, reportText(rows, standIns));
  }
  console.log(`\n${rows.length} questionnaires, ${failed} not in agreement with the catalog`);
  return failed > 0 ? 1 : 0;
}

/** @param {readonly string[]} rows @param {ReadonlySet<string>} standIns */
function reportText(rows, standIns) {
  return [
    '# The catalog against installed releases',
    '',
    'Written by `npm run test:releases -- --validated --write`: each release is installed with its own torch, and',
    'extension/python/validate.py asks its priority list, validators, selector and FlashAttention resolver for a stated',
    'compute capability. Numbers are agree / unknown / disagree, as `attn-diag replay` counts them.',
    '',
    '| release | capability | cases | selected | refused | reasons | FA version |',
    '|---|---|---|---|---|---|---|',
    ...rows,
    '',
    'What stood in on the machine that asked:',
    '',
    ...[...standIns].sort().map((each) => `- ${each}`),
    '',
  ].join('\n');
}

/** Members of a case that are worth printing with a disagreement. */
const KEYS = [
  'backend',
  'flashAttnVersion',
  'headSize',
  'dtype',
  'kvCacheDtype',
  'blockSize',
  'useMla',
  'hasSink',
  'useSparse',
  'useMmPrefix',
  'attnType',
  'hasSlidingWindow',
  'useNonCausal',
  'useKvConnector',
  'usePcp',
  'useDcp',
  'numHeads',
  'numAttentionHeads',
  'numKvHeads',
  'isDiffusion',
  'isMmPrefixLm',
  'hfTextConfig',
  'headSizeV',
  'hasSinks',
  'requiresSoftcap',
  'supportsFa4Hd256',
  'kvCacheBlockSize',
  'requiresAlibi',
];

/** One real release: probed in an environment of its own, compared with the catalog. */
import { catalogDifferences } from '../../extension/core/findings/environmentFindings';
import { checkReasonStrings } from './reasonStrings';
import { EnvironmentTree } from '../unit/python/environmentTree';

/** One line of the report. */
export interface ReleaseCheck {
  readonly version: string;
  readonly probeMs: number;
  /** Parts the probe could not read; each is a defect of the probe. */
  readonly unread: readonly string[];
  /** How many things were compared. */
  readonly fields: number;
  readonly backends: number;
  readonly priorityLists: number;
  readonly flashAttnVersions: string;
  /** Largest head size vendored FA4 takes on 9.x; `null` without FA4. */
  readonly sm90HeadDimMax: number | null;
  readonly rotaryImport: string | null;
  /** Distinct reason strings of the catalog that were looked for in the release's files. */
  readonly reasonStrings: number;
  /** `what: only installed …; only in the catalog …`. */
  readonly differences: readonly string[];
}

/** Probes the release whose files are in `folder` through a real interpreter. */
export async function checkRelease(version: string, folder: string): Promise<ReleaseCheck> {
  const tree = new EnvironmentTree('release');
  try {
    tree.write('release.pth', `${folder}\n`);
    const facts = await tree.probe(60_000);
    const { vllm } = facts;
    if (vllm === null || vllm.version !== version) throw new Error(`${folder} does not hold vLLM ${version}`);
    const versions = vllm.attentionConfig?.fields.find((field) => field.name === 'flash_attn_version')?.literals ?? [];
    const reasons = checkReasonStrings(version, folder);
    return {
      version,
      reasonStrings: reasons.asked,
      probeMs: facts.durationMs,
      unread: facts.problems.map((problem) => `${problem.where}: ${problem.what}`),
      fields: vllm.attentionConfig?.fields.length ?? 0,
      backends: vllm.backends?.members.length ?? 0,
      priorityLists: Object.values(vllm.priorities ?? {}).reduce((sum, each) => sum + Object.keys(each).length, 0),
      flashAttnVersions: versions.join(', '),
      sm90HeadDimMax: vllm.fa4?.sm90HeadDimMax ?? null,
      rotaryImport: vllm.rotaryImport,
      differences: [
        ...catalogDifferences(facts).map(
          ({ what, installed, catalog }) => `${what}: installed ${installed.join(' ')}; catalog ${catalog.join(' ')}`,
        ),
        ...reasons.missing.map((text) => `reason that is nowhere in the release: ${text}`),
      ],
    };
  } finally {
    tree.remove();
  }
}

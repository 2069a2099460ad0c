/** Every reason the catalog gives in a release's name must be a text of that release. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import type { SelectorContext } from '../../extension/core/catalog/query';
import { backendNames, memberKind } from '../../extension/core/catalog/registry';
import { resolveRelease } from '../../extension/core/catalog/releases';
import { judge } from '../../extension/core/catalog/select';
import { validatedCases } from './validatedCases';

const CAPABILITIES = [
  [7, 5],
  [8, 0],
  [9, 0],
  [10, 0],
  [12, 0],
] as const;
const CASES = 600;

const LIBRARIES: SelectorContext['libraries'] = {
  fa2: true,
  fa3: true,
  fa4: true,
  flashinfer: true,
  flashinferCubins: true,
  flashinferCompiler: true,
  flashmla: true,
  tokenspeedMla: true,
  b12x: true,
  fa4Importable: true,
  systemFa4: false,
};

/** Distinct reasons of the catalog for a release, over many questions; import errors are the machine's words, not vLLM's. */
function catalogReasons(version: string): readonly string[] {
  const { release } = resolveRelease(version);
  const names = backendNames(release).filter((name) => memberKind(release, name) === 'catalogued');
  const found = new Set<string>();
  for (const capability of CAPABILITIES) {
    for (const flashinferCubins of [true, false]) {
      for (const { request, config } of validatedCases(release, CASES, capability[0], false)) {
        const context: SelectorContext = {
          release,
          capability,
          libraries: { ...LIBRARIES, flashinferCubins },
          flashAttnVersion: config.flashAttnVersion,
          useTrtllmAttention: null,
          batchInvariant: false,
          cacheDtype: request.kvCacheDtype ?? 'auto',
          prefillContextParallelSize: request.usePcp ? 2 : 1,
          decodeContextParallelSize: request.useDcp ? 2 : 1,
          model: null,
        };
        for (const name of names) {
          for (const { code, text } of judge(name, request, context).reasons) if (code !== 'IMPORT') found.add(text);
        }
      }
    }
  }
  return [...found].sort();
}

/** How many distinct reasons were looked for, and those that are nowhere in the release's files. */
export function checkReasonStrings(
  version: string,
  folder: string,
): { readonly asked: number; readonly missing: readonly string[] } {
  const reasons = catalogReasons(version);
  const output = execFileSync('python3', [path.resolve('test/releases/reason_strings.py'), folder], {
    input: JSON.stringify(reasons),
    encoding: 'utf8',
  });
  return { asked: reasons.length, missing: JSON.parse(output) as string[] };
}

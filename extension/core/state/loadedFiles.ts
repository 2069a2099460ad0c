/** From the text of a file the user chose to what the rules are asked with. The same for editor and command line. */
import type { LoadedModel, LoadedServeFile } from './appState';
import { DiagError } from '../errors';
import { readModelShape, type ModelShapeOptions } from '../model/modelShape';
import { completeServeSettings, parseServeFile, serveFileKind } from '../serve/serveConfig';
import type { LocatedImage } from '../serve/serveConfigImage';
import type { ServeProblem, ServeProblemCode } from '../serve/serveConfigSource';
import type { ModelFacts } from '../request';
import type { Finding } from '../verdict';

/** Larger files are no model configuration. */
export const MAX_MODEL_CONFIG_BYTES = 4 * 1024 * 1024;

/**
 * `models/gemma/config.json` is called `gemma`, `gemma.json` too; a snapshot of the Hugging Face cache by its name there.
 * `path` has forward slashes.
 */
export function modelName(path: string): string {
  const cached = /\/models--([^/]+)\/snapshots\/[^/]+\/config\.json$/.exec(path)?.[1];
  if (cached !== undefined) return cached.replaceAll('--', '/');
  const [file = path, folder = ''] = path.split('/').reverse();
  return file === 'config.json' && folder !== '' ? folder : file.replace(/\.json$/, '');
}

/** A model from the text of its config.json. Throws `modelConfigInvalid`. */
export function loadModel(path: string, text: string, options: ModelShapeOptions): LoadedModel {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    // V8 names the place in some of its messages only.
    const at = /at position (\d+)/.exec(String(error))?.[1];
    const before = at === undefined ? null : text.slice(0, Number(at)).split('\n');
    const place =
      before === null ? '' : ` (line ${before.length}, column ${(before[before.length - 1] ?? '').length + 1})`;
    throw new DiagError('modelConfigInvalid', { path, field: '', problem: `The file is not JSON${place}.` }, error);
  }
  const shape = readModelShape(json, options);
  if (!shape.ok) {
    const { field, problem } = shape.error;
    throw new DiagError('modelConfigInvalid', { path, field, problem });
  }
  return { name: modelName(path), facts: shape.model, notes: shape.notes, source: { json, options } };
}

/** The model as another release reads its config; some are MLA, or bidirectional over images, only from a release on. */
export function modelUnder(model: LoadedModel, vllmVersion: string): ModelFacts {
  const { source, facts } = model;
  if (source === undefined || source.options.vllmVersion === vllmVersion) return facts;
  const shape = readModelShape(source.json, { ...source.options, vllmVersion });
  return shape.ok ? shape.model : facts;
}

/**
 * Serve settings from the text of a file of any kind that is read. Throws `fileUnreadable` for another kind.
 * @param path as ranges of findings name the file
 */
export function loadServeFile(path: string, text: string): LoadedServeFile {
  const kind = serveFileKind(path, text);
  if (kind === null) {
    throw new DiagError('fileUnreadable', {
      path,
      problem:
        'it is no kind of serve file that is read (vLLM YAML, shell script, Dockerfile, compose, Kubernetes manifest, launch.json, .env)',
    });
  }
  const parsed = parseServeFile(path, text, kind);
  const flag = parsed.useSystemFlashAttn?.value;
  return {
    name: path.split(/[\\/]/).at(-1) ?? path,
    settings: completeServeSettings(parsed.settings),
    useSystemFlashAttn: typeof flag === 'boolean' ? flag : null,
    mlaDisabled: parsed.mlaDisabled,
    findings: [...parsed.problems.map(problemFinding), ...parsed.images.flatMap(imageFinding)],
    written: { located: parsed.located, env: parsed.env },
    file: { path, text },
  };
}

/** Titles of problems that are not about something misunderstood. */
const PROBLEM_TITLES: Partial<Record<ServeProblemCode, string>> = {
  variable: 'A setting is read from a variable',
  severalServers: 'The serve file starts several servers',
  notJudged: 'A setting is not taken into account',
  nothingFound: 'The serve file holds no setting of vLLM',
};

function problemFinding(problem: ServeProblem, index: number): Finding {
  return {
    id: `serve:${problem.code}:${index}`,
    code: `serve-${problem.code}`,
    severity: problem.severity,
    title: PROBLEM_TITLES[problem.code] ?? 'The serve file is not fully understood',
    detail: problem.text,
    level: 'declared',
    source: null,
    range: problem.range,
    fixes: [],
  };
}

/** The release that an image of the file names: the one to ask about, which need not be the one installed here. */
function imageFinding(image: LocatedImage, index: number): readonly Finding[] {
  if (image.release === null) return [];
  return [
    {
      id: `serve:image:${index}`,
      code: 'serve-image-release',
      severity: 'info',
      title: `The serve file starts vLLM ${image.release}`,
      detail: `The tag of ${image.image} says so. The answer is for the release asked about: ask about ${image.release} to see what this image does.`,
      level: 'inspected',
      source: null,
      range: image.range,
      fixes: [],
    },
  ];
}

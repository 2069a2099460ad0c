/** Settings that turn inputs or windows of the model off: what they mean for selection, and what is not known of that. */
import type { LocatedSetting } from './serveConfigArgs';
import type { ServeProblem } from './serveConfigSource';

const LIMIT = 'limit_mm_per_prompt';

/** Kinds of input of the models whose attention depends on them (mm-prefix, attention-selection.md §2.7). */
const MODALITIES = ['image', 'video', 'audio'];

/** The limits as written, by kind of input: `{"image": 0}`, `{"image": {"count": 0}}` or `.image 0`. */
function limits(located: readonly LocatedSetting[]): ReadonlyMap<string, unknown> {
  const found = new Map<string, unknown>();
  for (const { name, value } of located) {
    const [head, modality, part] = name.split('.');
    if (head !== LIMIT) continue;
    const entries: readonly (readonly [string, unknown])[] =
      modality !== undefined
        ? part === undefined || part === 'count'
          ? [[modality, value]]
          : []
        : typeof value === 'object' && value !== null
          ? Object.entries(value)
          : [];
    for (const [key, limit] of entries) {
      found.set(key, typeof limit === 'object' && limit !== null && 'count' in limit ? limit.count : limit);
    }
  }
  return found;
}

/** vLLM's text-only mode is on for any such model: by its switch, or because every kind of input is limited to none. */
export function isTextOnly(located: readonly LocatedSetting[]): boolean {
  if (located.some((setting) => setting.name === 'language_model_only')) return true;
  const found = limits(located);
  return MODALITIES.every((modality) => found.get(modality) === 0);
}

/** What is written, but whose effect on this model's layers is not known. */
export function notJudged(located: readonly LocatedSetting[]): readonly ServeProblem[] {
  const problems: ServeProblem[] = [];
  const found = limits(located);
  const limit = located.filter((setting) => setting.name.split('.', 1)[0] === LIMIT).at(-1);
  if (
    limit !== undefined &&
    found.size > 0 &&
    [...found.values()].every((value) => value === 0) &&
    !isTextOnly(located)
  ) {
    problems.push({
      code: 'notJudged',
      severity: 'info',
      text: `${LIMIT} allows no ${[...found.keys()].join(', no ')}. Whether the model takes other inputs is not known here, so it is answered for as one that does.`,
      range: limit.range,
    });
  }
  const window = located.filter((setting) => setting.name === 'disable_sliding_window').at(-1);
  if (window !== undefined) {
    problems.push({
      code: 'notJudged',
      severity: 'warning',
      text: "What disable_sliding_window makes of the model's layers is not in the rules; the answer counts the windows of its config.",
      range: window.range,
    });
  }
  return problems;
}

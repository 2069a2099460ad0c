/**
 * Container images that hold a vLLM: `vllm/vllm-openai:v0.33.0` and copies of it under other registries. The tag names the
 * release.
 */
import type { Found } from './serveConfigArgs';
import type { SourceFile, Word } from './serveConfigSource';
import { sliceWord } from './serveConfigSource';
import type { SourceRange } from '../verdict';

/** A vLLM image of a serve file. */
export interface LocatedImage {
  /** Release the tag names; `null` for `latest`, `nightly` and tags of one's own. */
  readonly release: string | null;
  /** As written. */
  readonly image: string;
  /** The tag's place, or the image's when it has none. */
  readonly range: SourceRange;
}

const IMAGE = /^(?:[\w.-]+(?::\d+)?\/)*vllm-openai(?::([\w.-]+))?(?:@sha256:[0-9a-f]{64})?$/;

/** Notes an image when the word is one of vLLM's. */
export function readImage(word: Word, file: SourceFile, findings: Found): void {
  if (word.dynamic) return;
  const match = IMAGE.exec(word.value);
  if (match === null) return;
  const tag = match[1];
  const at =
    tag === undefined
      ? word
      : sliceWord(word, word.value.lastIndexOf(`:${tag}`) + 1, word.value.lastIndexOf(`:${tag}`) + 1 + tag.length);
  findings.images.push({
    release: /^v?(\d+\.\d+\.\d+)(?:[-+.](?!\d*rc|rc)[\w.-]+)?$/.exec(tag ?? '')?.[1] ?? null,
    image: word.value,
    range: file.range(at.start, at.end),
  });
}

/** Replays what real vLLM releases answered (test/fixtures/oracle) against the catalog. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { RELEASES } from '../../../../extension/core/catalog/releases';
import {
  parseRecording,
  replayRecording,
  REPLAY_QUESTIONS,
  type ReplaySummary,
} from '../../../../extension/core/catalog/replay';

const folder = join(process.cwd(), 'test', 'fixtures', 'oracle');
const recordings = (sub: string): readonly string[] =>
  readdirSync(join(folder, sub))
    .filter((name) => name.endsWith('.json.gz'))
    .map((name) => join(folder, sub, name));

function replay(file: string, answered = 0.9): ReplaySummary {
  const parsed = parseRecording(JSON.parse(gunzipSync(readFileSync(file)).toString('utf8')));
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.issue);
  const summary = replayRecording(parsed.recording);
  const shown = summary.disagreements
    .slice(0, 10)
    .map((entry) => `#${entry.caseId} ${entry.question}: ${entry.detail ?? ''}`)
    .join('\n');
  assert.equal(summary.disagreements.length, 0, shown);
  assert.equal(summary.unknownSelections, 0, 'selections are unknown outside the single-model backends');
  // A replay that answers nothing would pass the checks above.
  assert.ok(summary.counts.selected.agree > summary.cases * answered);
  assert.ok(summary.counts.flashAttnVersion.agree > summary.cases * answered);
  return summary;
}

describe('recorded answers of real vLLM releases', () => {
  const files = recordings('.');
  assert.ok(files.length >= 6, `expected six recordings in ${folder}`);
  for (const file of files) {
    it(`${basename(file)}: nothing disagrees`, (t) => {
      const summary = replay(file);
      const line = REPLAY_QUESTIONS.map((question) => {
        const { agree, unknown, disagree } = summary.counts[question];
        return `${question} ${agree}/${unknown}/${disagree}`;
      }).join(' · ');
      t.diagnostic(`${summary.release}: ${summary.cases} cases, agree/unknown/disagree: ${line}`);
    });
  }
});

describe('another distribution of requests, asked of the releases themselves', () => {
  for (const file of recordings('fresh')) {
    it(`${basename(file)}: nothing disagrees`, () => {
      // More of them stop at the configuration class, or name a backend of one model alone.
      replay(file, 0.6);
    });
  }
});

describe('answers of the other releases, executed from their sources', () => {
  it('nothing disagrees, and with the recordings every release of the catalog is covered', () => {
    const recorded = recordings('.').map((file) => /vllm-(.+)\.json\.gz$/.exec(file)?.[1]);
    const replayed = [...recorded, ...recordings('source').map((file) => replay(file).release)];
    assert.deepEqual(
      RELEASES.filter((release) => !replayed.includes(release)),
      [],
    );
  });
});

describe('replay', () => {
  const first = recordings('source')[0];
  assert.ok(first !== undefined);
  const read = () =>
    JSON.parse(gunzipSync(readFileSync(first)).toString('utf8')) as { cases: Record<string, unknown>[] };
  it('finds a wrong backend, a wrong reason and a wrong FlashAttention version', () => {
    const data = read();
    const asked = data.cases.find((entry) => (entry['answer'] as { selected: string | null }).selected !== null);
    assert.ok(asked !== undefined);
    const answer = asked['answer'] as Record<string, unknown>;
    asked['answer'] = { ...answer, selected: 'FLASHMLA', faVersion: 7, perBackend: { FLEX_ATTENTION: ['nonsense'] } };
    const parsed = parseRecording(data);
    assert.ok(parsed.ok);
    const questions = new Set(replayRecording(parsed.recording).disagreements.map((entry) => entry.question));
    assert.ok(questions.has('selected') && questions.has('reasons') && questions.has('flashAttnVersion'));
  });
  it('refuses other schemas and files without a case', () => {
    assert.equal(parseRecording({ ...read(), schema: 'attn-oracle/9' }).ok, false);
    assert.equal(parseRecording({ ...read(), cases: [] }).ok, false);
    assert.equal(parseRecording(null).ok, false);
  });
});

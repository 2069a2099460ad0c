/** Replays what real vLLM releases answered (test/fixtures/oracle) against the catalog. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { parseRecording, replayRecording, REPLAY_QUESTIONS } from '../../../extension/core/catalog/replay';

const folder = join(process.cwd(), 'test', 'fixtures', 'oracle');
const files = readdirSync(folder).filter((name) => name.endsWith('.json.gz'));

describe('recorded answers of real vLLM releases', () => {
  assert.ok(files.length >= 6, `expected six recordings in ${folder}`);
  for (const file of files) {
    it(`${file}: nothing disagrees`, (t) => {
      const parsed = parseRecording(JSON.parse(gunzipSync(readFileSync(join(folder, file))).toString('utf8')));
      assert.ok(parsed.ok, parsed.ok ? '' : parsed.issue);
      const summary = replayRecording(parsed.recording);
      const line = REPLAY_QUESTIONS.map((question) => {
        const { agree, unknown, disagree } = summary.counts[question];
        return `${question} ${agree}/${unknown}/${disagree}`;
      }).join(' · ');
      t.diagnostic(`${summary.release}: ${summary.cases} cases, agree/unknown/disagree: ${line}`);
      const shown = summary.disagreements
        .slice(0, 10)
        .map((entry) => `#${entry.caseId} ${entry.question}: ${entry.detail ?? ''}`)
        .join('\n');
      assert.equal(summary.disagreements.length, 0, shown);
      assert.ok(
        summary.unknownSelections <= summary.cases / 100,
        `${summary.unknownSelections} selections are unknown outside the single-model backends`,
      );
      // A replay that answers nothing would pass the two checks above.
      assert.ok(summary.counts.selected.agree > summary.cases * 0.9);
      assert.ok(summary.counts.flashAttnVersion.agree > summary.cases * 0.9);
    });
  }
});

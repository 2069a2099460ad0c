/** Replays what installed releases said when validate.py asked them (test/fixtures/oracle/validated). */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { parseRecording, replayRecording } from '../../../../extension/core/catalog/replay';

const folder = path.join(process.cwd(), 'test', 'fixtures', 'oracle', 'validated');
const files = readdirSync(folder).filter((name) => name.endsWith('.json.gz'));

it('there are recordings of at least two releases', () => {
  assert.ok(new Set(files.map((name) => name.split('-')[1])).size >= 2);
});

for (const file of files) {
  it(`${file}: nothing disagrees, and what stood in is named`, () => {
    const data = JSON.parse(gunzipSync(readFileSync(path.join(folder, file))).toString('utf8')) as { stubs: string[] };
    assert.ok(data.stubs.length > 0);
    const parsed = parseRecording(data);
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.issue);
    const summary = replayRecording(parsed.recording);
    assert.deepEqual(
      summary.disagreements.slice(0, 5).map((each) => `#${each.caseId} ${each.question}: ${each.detail ?? ''}`),
      [],
    );
    assert.equal(summary.unknownSelections, 0);
    assert.ok(summary.counts.selected.agree >= summary.cases * 0.9, 'a replay that answers nothing proves nothing');
  });
}

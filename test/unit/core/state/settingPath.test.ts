/** How a setting names a file: the text must lead back to the same file from the first folder, in every window that reads it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settingPath } from '../../../../extension/core/state/settingPath';

const place = (path: string, scheme = 'file', authority = '') => ({ scheme, authority, path, fsPath: path });
const first = place('/ws/first');

describe('the path in a setting', () => {
  it('is relative below the first folder, wherever the workspace keeps the setting', () => {
    const file = place('/ws/first/models/a/config.json');
    for (const writtenTo of ['workspace', 'folder'] as const) {
      assert.equal(settingPath(file, first, writtenTo), 'models/a/config.json');
    }
    assert.equal(settingPath(place('/a/config.json'), place('/'), 'workspace'), 'a/config.json');
  });

  it('is whole for a file of another folder, although that folder may have the same names below it', () => {
    const file = place('/ws/second/models/a/config.json');
    assert.equal(settingPath(file, first, 'workspace'), file.path);
    const alike = place('/ws/first-copy/config.json');
    assert.equal(settingPath(alike, first, 'workspace'), alike.path);
  });

  it('is whole in user settings, which windows with other folders read too', () => {
    const file = place('/ws/first/config.json');
    assert.equal(settingPath(file, first, 'user'), file.path);
  });

  it('is whole without a folder, for the folder itself, and for another file system', () => {
    const file = place('/ws/first/config.json');
    assert.equal(settingPath(file, undefined, 'user'), file.path);
    assert.equal(settingPath(first, first, 'workspace'), first.path);
    assert.equal(settingPath(file, place('/ws/first', 'vscode-vfs', 'host'), 'workspace'), file.path);
    assert.equal(settingPath(file, place('/ws/first', 'file', 'server'), 'workspace'), file.path);
  });
});

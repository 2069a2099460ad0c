import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { AGENT_INPUT_SCHEMAS, AGENT_TOOLS, parseAgentInput, runCasesOf } from '../../../extension/core/agentTools';
import { PRESETS } from '../../../extension/core/measure/presets';
import { cpuDeviceFacts } from '../../../extension/node/systemFacts';

interface ManifestTool {
  readonly name: string;
  readonly modelDescription: string;
  readonly inputSchema: unknown;
}

test('the manifest declares the tools exactly as MCP announces them', async () => {
  const manifest = JSON.parse(await readFile('package.json', 'utf8')) as {
    contributes: { languageModelTools: readonly ManifestTool[] };
  };
  assert.deepEqual(
    manifest.contributes.languageModelTools.map(({ name, modelDescription, inputSchema }) => ({
      name,
      modelDescription,
      inputSchema,
    })),
    AGENT_TOOLS.map(({ name, description, inputSchema }) => ({ name, modelDescription: description, inputSchema })),
  );
});

test('every announced argument is parsed, and no other', () => {
  for (const { name, inputSchema } of AGENT_TOOLS) {
    const announced = Object.keys(inputSchema['properties'] as object).sort();
    assert.deepEqual(Object.keys(AGENT_INPUT_SCHEMAS[name].entries).sort(), announced, name);
    assert.equal(inputSchema['additionalProperties'], false);
    assert.throws(() => parseAgentInput(name, { command: 'ls' }), /command/);
  }
});

test('every preset can be run on the CPU device, and a shape of GPU size cannot', () => {
  for (const { id } of PRESETS) assert.ok(runCasesOf({ preset: id }, cpuDeviceFacts()).length > 0, id);
  assert.throws(() => runCasesOf({ preset: 'quick', qLen: 4096, kvLen: 4096 }, cpuDeviceFacts()), /too large/);
  assert.throws(() => runCasesOf({ op: 'decode', batch: 4096, kvLen: 16_777_216 }, cpuDeviceFacts()), /too large/);
  const headDims = Array.from({ length: 16 }, (_, index) => 8 * (index + 1));
  assert.throws(() => runCasesOf({ headDims, pageSizes: [0, 16, 32, 64, 128] }, cpuDeviceFacts()), /80 cases/);
  assert.deepEqual(
    runCasesOf({ op: 'decode', headDims: [64], pageSizes: [0] }, cpuDeviceFacts()).map(({ qLens, pageSize }) => ({
      qLens,
      pageSize,
    })),
    [{ qLens: 1, pageSize: null }],
  );
});

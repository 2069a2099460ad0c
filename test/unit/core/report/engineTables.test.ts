import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CaseResult, ResultRow } from '../../../../extension/core/attentionCase';
import { emptyResult } from '../../../../extension/core/measure/emptyResult';
import { engineChart } from '../../../../extension/core/report/engineChart';
import { bestPeers, peerVerdict } from '../../../../extension/core/report/peerTable';
import { readmeChart, readmeSection } from '../../../../extension/core/report/readmeSection';
import { createReport, parseReport, printReport } from '../../../../extension/core/report/report';
import { sampleCase } from '../../node/sampleCase';
import { GPU_ID, sampleFacts, sampleGpu } from '../../node/sampleFacts';

/** Made-up figures: they show where a figure ends up, nothing about a library. */
function row(engine: string, headDim: number, pageSize: number | null, tflops: number | null, words = ''): ResultRow {
  const measured: Partial<CaseResult> =
    tflops === null ? {} : { status: 'ok', reason: null, tflops, tbps: tflops / 1000, relError: 0.002, checkedRows: 8 };
  return {
    engine,
    deviceId: GPU_ID,
    case: sampleCase(1, { headDim, headDimV: headDim, pageSize, qHeads: 32, kvHeads: 8 }),
    result: { ...emptyResult('unsupported', 'refusedByLibrary', words), ...measured },
  };
}

function fileOf(rows: readonly ResultRow[], ratio = false): { title: string; file: string; text: string } {
  const bundled = rows[0];
  const report = createReport({
    command: 'run',
    toolVersion: '1.0.0',
    createdAtMs: 0,
    machine: { platform: 'linux-x64', nodeVersion: 'v22', hostName: 'h' },
    facts: sampleFacts(sampleGpu()),
    rows,
    libraries: [{ engine: 'fa3.vllm', available: true, version: '0.24.0', torch: '2.11.0', reason: null }],
    ratios:
      ratio && bundled !== undefined
        ? [{ engine: 'fa3.vllm', deviceId: GPU_ID, case: bundled.case, rounds: 7, ratio: 1.034, interval: null }]
        : [],
    privateWords: null,
  });
  return { title: 'Libraries', file: 'x.json', text: printReport(report) };
}

const ROWS = [
  row('bundled', 128, null, 700),
  row('fa3.vllm', 128, null, 651),
  row('bundled', 512, 16, 500),
  row('fa3.vllm', 512, 16, null, 'head dimension <at most> 256 | & no more'),
];

test('a report with libraries keeps them, and their ratios; an old report without them still opens', () => {
  const report = parseReport(fileOf(ROWS, true).text, 'x.json');
  assert.equal(report.libraries?.[0]?.version, '0.24.0');
  assert.equal(report.ratios?.[0]?.rounds, 7);
  const old = { ...report, libraries: undefined, ratios: undefined };
  assert.equal(parseReport(JSON.stringify(old), 'x.json').libraries, undefined);
});

test('the table says per engine, layout and head size what is declared and what was measured, refusals in their words', () => {
  const section = readmeSection([fileOf(ROWS, true)], 'media/readme/libraries.svg');
  assert.match(section, /!\[.+\]\(media\/readme\/libraries\.svg\)/);
  assert.match(section, /\*\*prefill, causal, TFLOP\/s\*\*/);
  assert.match(section, /\| FA3 of vLLM \| contiguous \| yes \/ 651, ×1\.03 \| [a-z–]+ \/ – \|/);
  assert.match(section, /\| FA3 of vLLM \| page 16 \| [a-z–]+ \/ – \| no \/ refuses \|/);
  assert.match(section, /- FA3 of vLLM: head dimension <at most> 256/);
  assert.match(section, /\| Bundled kernels \| contiguous \| yes \/ 700 \|/);
});

test('figures stand beside the largest errors of their row; what no call returns is no error', () => {
  const withErrors = (made: ResultRow, relError: number, lseError: number | null): ResultRow => ({
    ...made,
    result: { ...made.result, relError, lseError },
  });
  const rows = [
    withErrors(row('bundled', 64, null, 500), 0.0021, 1.5e-6),
    withErrors(row('bundled', 128, null, 700), 0.0023, 1.25e-6),
    withErrors(row('fa3.vllm', 64, null, 450), 0.0022, null),
    withErrors(row('fa3.vllm', 128, null, 650), 0.0019, null),
  ];
  const section = readmeSection([fileOf(rows, true)], 'media/readme/libraries.svg');
  assert.match(section, /\| d64 \| d128 \| rel\. error \| LSE error \|/);
  assert.match(section, /\| Bundled kernels \| contiguous \|.+\| 2\.30e-3 \| 1\.50e-6 \|/);
  assert.match(section, /\| FA3 of vLLM \| contiguous \|.+\| 2\.20e-3 \| – \|/);
  // beside the best library, and of bundled kernels alone: every case is a line of its own
  assert.match(section, /\| prefill \| 128 \|.+\| 2\.30e-3 \| 1\.25e-6 \|/);
  const own = readmeSection([fileOf(rows.filter((each) => each.engine === 'bundled'))], 'x.svg');
  assert.match(own, /\| prefill \| 64 \|.+\| 2\.10e-3 \| 1\.50e-6 \| .+ \|/);
});

test('without a library there is neither table nor chart', () => {
  const own = fileOf(ROWS.filter((each) => each.engine === 'bundled'));
  assert.equal(readmeChart([own]), null);
  assert.doesNotMatch(readmeSection([own], 'media/readme/libraries.svg'), /libraries\.svg|own words/);
});

test('the chart draws what is right, names itself and what it shows, and is well-formed whatever a label holds', () => {
  const svg = readmeChart([fileOf(ROWS)]) ?? '';
  assert.match(svg, /role="img" aria-labelledby="title desc"/);
  assert.match(svg, /<title id="title">Attention engines measured on NVIDIA H200<\/title>/);
  assert.match(
    svg,
    /<desc id="desc">prefill, causal, contiguous, TFLOP\/s: Head size 128: 32\/8 heads, batch 1, q 16, kv 16: Bundled kernels 700, FA3 of vLLM 651\.<\/desc>/,
  );
  assert.equal([...svg.matchAll(/<rect /g)].length, 2);
  const widths = [...svg.matchAll(/<rect class="(\w+)" x="250" y="[\d.]+" width="([\d.]+)"/g)].map((match) => [
    match[1],
    Number(match[2]),
  ]);
  assert.deepEqual(widths, [
    ['own', 540],
    ['other', 502.2],
  ]);
  const odd = engineChart([row('bundled', 64, null, 1), row('<x> & "y"', 64, null, 1)], 'A & B') ?? '';
  assert.match(odd, /A &amp; B/);
  assert.match(odd, /&lt;x&gt; &amp; &quot;y&quot;/);
});

test('the chart does not depend on the order of reports beyond the first to have an engine', () => {
  const again = fileOf([row('bundled', 128, null, 690), row('ffpa', 128, null, 10)]);
  const svg = readmeChart([fileOf(ROWS), again]) ?? '';
  assert.match(svg, /Bundled kernels 700, FA3 of vLLM 651, FFPA 10/);
});

test('bars stand side by side only where they ran the same case; every library is shown, with as few cases as that takes', () => {
  const at = (made: ResultRow, length: number): ResultRow => ({
    ...made,
    case: { ...made.case, qLens: length, kvLens: length },
  });
  const long = fileOf([at(row('bundled', 128, null, 700), 16_384), at(row('flashinfer', 128, null, 640), 16_384)]);
  const short = fileOf([
    at(row('bundled', 128, null, 600), 4096),
    at(row('fa3.vllm', 128, null, 550), 4096),
    at(row('torch.flex', 128, null, 400), 4096),
    at(row('fa3.vllm', 128, null, 500), 1024),
  ]);
  const svg = readmeChart([long, short]) ?? '';
  const at4k =
    'Head size 128: 32/8 heads, batch 1, q 4k, kv 4k: Bundled kernels 600, FA3 of vLLM 550, torch FlexAttention 400';
  const at16k = 'Head size 128: 32/8 heads, batch 1, q 16k, kv 16k: Bundled kernels 700, FlashInfer 640';
  assert.ok(svg.includes(`TFLOP/s: ${at4k}; ${at16k}.</desc>`), svg);
});

test('head sizes whose values are narrower have a column of their own, about which nothing is declared', () => {
  const narrow = row('bundled', 192, null, 600);
  const rows = [row('bundled', 192, null, 640), { ...narrow, case: { ...narrow.case, headDimV: 128 } }];
  const section = readmeSection([fileOf([...rows, row('fa3.vllm', 192, null, 600)])], 'x.svg');
  assert.match(section, /\| engine \| KV \| d192 \| d192\/128 \|/);
  assert.match(section, /\| Bundled kernels \| contiguous \| yes \/ 640 \| – \/ 600 \|/);
});

test('of several shapes of a head size the largest is shown: a long prefill before many short ones', () => {
  const shape = (batch: number, length: number, tflops: number): ResultRow => {
    const made = row('fa3.vllm', 128, null, tflops);
    return { ...made, case: { ...made.case, batch, qLens: length, kvLens: length } };
  };
  const section = readmeSection([fileOf([shape(16, 1024, 300), shape(1, 16_384, 600), shape(4, 4096, 500)])], 'x.svg');
  assert.match(section, /\| FA3 of vLLM \| contiguous \| yes \/ 600 \|/);
});

/** A run of two engines on cases of head size 64, 128 and so on, with these ratios to the bundled kernel. */
function roundsFile(
  rows: readonly ResultRow[],
  ratios: readonly (readonly [string, number, number, number | null, number | null])[],
): { title: string; file: string; text: string } {
  const report = parseReport(fileOf(rows).text, 'x.json');
  const text = printReport({
    ...report,
    ratios: ratios.flatMap(([engine, index, ratio, low, high]) => {
      const asked = rows[index]?.case;
      if (asked === undefined) return [];
      const interval = low === null || high === null ? null : { low, high };
      return [{ engine, deviceId: GPU_ID, case: asked, rounds: 7, ratio, interval }];
    }),
  });
  return { title: 'Rounds', file: 'y.json', text };
}

test('the best library of each case stands beside the bundled kernel, and where it is the faster one that is said', () => {
  const own = [64, 128, 256, 512].map((headDim) => row('bundled', headDim, headDim === 256 ? 16 : null, headDim));
  const first = roundsFile(own, [
    ['fa3.vllm', 0, 1.1, 1.09, 1.11],
    ['torch.sdpa.cudnn', 0, 1.2, 1.19, 1.21],
    ['fa3.vllm', 1, 1.01, 0.99, 1.02],
    ['fa3.vllm', 2, 1.03, 1.02, 1.04],
  ]);
  const second = roundsFile(own.slice(2, 3), [['fa4.vllm', 0, 0.9, 0.89, 0.91]]);
  const reports = [first, second].map(({ text }) => parseReport(text, 'x.json'));
  assert.deepEqual(
    bestPeers(reports).map((peer) => [peer.case.headDim, peer.best?.engine, peerVerdict(peer)]),
    [
      [64, 'fa3.vllm', 'faster'],
      [128, 'fa3.vllm', 'open'],
      [256, 'fa4.vllm', 'slower'],
      [512, undefined, 'alone'],
    ],
  );
  const section = readmeSection([first, second], 'x.svg');
  assert.match(
    section,
    /Of 4 cases .* faster than every library measured in 1, slower than the best in 1 \(bold\), and in 1 /,
  );
  assert.match(section, /64\.0 TFLOP\/s; ×1\.100 \(1\.090–1\.110\) FA3 of vLLM \|/);
  assert.match(section, /256 TFLOP\/s; \*\*×0\.900 \(0\.890–0\.910\)\*\* FA4 of vLLM \|/);
  assert.match(section, /512 TFLOP\/s; no library \|/);
});

test('a ratio without an interval is no verdict, and without rounds there is no such table', () => {
  const own = [row('bundled', 64, null, 1)];
  const reports = [parseReport(roundsFile(own, [['fa3.vllm', 0, 2, null, null]]).text, 'x.json')];
  assert.deepEqual(bestPeers(reports).map(peerVerdict), ['open']);
  assert.doesNotMatch(readmeSection([fileOf(ROWS)], 'x.svg'), /Beside the fastest/);
});

/**
 * Findings about a set `flash_attn_version`, each from what the layer groups resolved to: the resolver changes the
 * version on its way (reference §3.1), and only FLASH_ATTN layers and MLA prefill on FLASH_ATTN ask it (§1.6).
 */
import { configSource, flashAttnVersionValues } from '../catalog/configFields';
import { isFlashAttnFamily } from '../catalog/flashAttnFamily';
import { flashAttnUnsupportedReason, isGeneration } from '../catalog/flashAttnVersion';
import { within } from '../catalog/releases';
import { chooseBackend, selectBackend } from '../catalog/select';
import type { GroupSelection } from '../evaluation';
import { sentences } from '../format';
import type { EvaluateRequest } from '../request';
import { layerQuery, mlaPrefillOf, prepareRequest } from '../rules/evaluateQuery';
import type { Source } from '../verdict';
import type { FindingDraft, FindingInput } from './findingDraft';
import { hopperFa4Figures } from './findingsMeasured';

const resolverSource = ({ prepared }: FindingInput): Source => ({
  where: `vllm ${prepared.release} v1/attention/backends/fa_utils.py`,
});

const layersOf = (selections: readonly GroupSelection[]): string =>
  selections.map((selection) => selection.layerGroup).join(', ');

/** FLASH_ATTN layers for which the version that was set resolves to none. */
function unresolved(input: FindingInput, version: number): readonly FindingDraft[] {
  const { prepared, selections } = input;
  const { release, context } = prepared;
  const layers = selections.filter(
    (selection) => isFlashAttnFamily(selection.backend) && selection.flashAttnVersion === null,
  );
  // A version that the release replaced by its own is not what failed.
  if (layers.length === 0 || context.flashAttnVersion !== version) {
    return [];
  }
  const said = layers[0]?.reasons.filter((reason) => reason.code === 'FA-VERSION').at(-1)?.text;
  return [
    {
      code: 'flash-attn-version-unsupported',
      severity: 'error',
      title: `flash_attn_version ${version} leaves no FlashAttention version for ${layersOf(layers)}`,
      detail: sentences(
        `vLLM ${release} resolves none${said === undefined ? '' : ` (${said})`}, and the first forward fails${within(release, '0.14.0') ? ' with "FlashAttention version not detected."' : ''}`,
        'Remove flash_attn_version.',
      ),
      source: { ...resolverSource(input), ruleId: 'TRAP-13' },
    },
  ];
}

/** Layers on FA4 where FA3 was measured to be faster. */
function slowerOnHopper({ request, prepared, selections }: FindingInput, version: number): readonly FindingDraft[] {
  const { release, context } = prepared;
  if (version !== 4 || context.capability[0] !== 9 || !within(release, '0.20.0')) {
    return [];
  }
  return selections
    .filter((selection) => selection.flashAttnVersion === 4)
    .flatMap((selection): readonly FindingDraft[] => {
      const group = request.model.layerGroups.find((candidate) => candidate.id === selection.layerGroup);
      const figures = group === undefined ? null : hopperFa4Figures(group.headDim);
      return figures === null
        ? []
        : [
            {
              code: 'fa4-slower-on-hopper',
              severity: 'warning',
              about: selection.layerGroup,
              title: `FA4 is slower than FA3 for ${selection.layerGroup} on Hopper`,
              detail: `${figures} Remove flash_attn_version to let vLLM choose FA3, or measure both here.`,
              source: { where: 'measured on one H200, bf16, vLLM 0.33.0 FA4 against vLLM 0.24 FA3' },
            },
          ];
    });
}

/** Selected MLA layers whose prefill takes the version (`asked`), or may take it (`unknown`): §2.5, §3.3. */
function mlaPrefillLayers({ request, prepared, selections }: FindingInput): {
  readonly asked: readonly GroupSelection[];
  readonly unknown: readonly GroupSelection[];
} {
  const prefills = selections.flatMap((selection) => {
    const group = request.model.layerGroups.find((candidate) => candidate.id === selection.layerGroup);
    return group === undefined || group.mla === null || selection.backend === null
      ? []
      : [{ selection, prefill: mlaPrefillOf(prepared, request, group) }];
  });
  return {
    asked: prefills.filter(({ prefill }) => prefill?.backend === 'FLASH_ATTN').map(({ selection }) => selection),
    unknown: prefills.filter(({ prefill }) => prefill === null).map(({ selection }) => selection),
  };
}

/** For MLA layers the setting is about prefill alone. */
function mlaPrefill(input: FindingInput, version: number): readonly FindingDraft[] {
  const { release, context } = input.prepared;
  const { asked, unknown } = mlaPrefillLayers(input);
  const layers = asked.length > 0 ? asked : unknown;
  if (layers.length === 0) {
    return [];
  }
  // From 0.17.0 on, the resolver itself replaces 3 on 10.x and newer (§3.1 V3).
  const replaced = version === 3 && context.capability[0] >= 10 && within(release, '0.17.0');
  const missing = isGeneration(version) && !replaced ? flashAttnUnsupportedReason(version, context) : null;
  return [
    {
      code: 'flash-attn-version-mla-prefill',
      severity: missing === null ? 'info' : 'warning',
      title:
        asked.length > 0
          ? 'flash_attn_version sets the version of MLA prefill, not of decode'
          : 'Whether flash_attn_version counts for MLA prefill is not known',
      detail: sentences(
        asked.length > 0
          ? `Prefill of ${layersOf(layers)} runs on the MLA prefill backend FLASH_ATTN, which takes its FlashAttention version from the setting`
          : `Which backend prefill of ${layersOf(layers)} runs on is not in the catalog for vLLM ${release}; where it is FlashAttention, the setting counts`,
        `Decode on ${[...new Set(layers.map((selection) => selection.backend))].join(', ')} does not take its version from there`,
        ...(missing === null ? [] : [`${missing}; what prefill runs on then is not in the catalog`]),
      ),
      source: resolverSource(input),
    },
  ];
}

/** Backend and MLA prefill backend of every layer group. */
function chosenBackends(request: EvaluateRequest, { prepared }: Pick<FindingInput, 'prepared'>): string {
  const { release, context, backend } = prepared;
  return request.model.layerGroups
    .map((group) => {
      const query = layerQuery(prepared, request, group);
      const choice = chooseBackend(release, backend, request.serve.backendPerKind, query);
      return `${selectBackend(choice, query, context).backend ?? ''} ${mlaPrefillOf(prepared, request, group)?.backend ?? ''}`;
    })
    .join();
}

/** No layer asks for the version, and the backends are those of the setting left out. */
function withoutEffect(input: FindingInput): readonly FindingDraft[] {
  const { request, prepared, selections } = input;
  const { asked, unknown } = mlaPrefillLayers(input);
  const reads = selections.some((selection) => selection.backend === null || isFlashAttnFamily(selection.backend));
  if (selections.length === 0 || reads || asked.length > 0 || unknown.length > 0) {
    return [];
  }
  const unset: EvaluateRequest = { ...request, serve: { ...request.serve, flashAttnVersion: null } };
  if (chosenBackends(unset, { prepared: prepareRequest(unset, prepared.release) }) !== chosenBackends(request, input)) {
    return [];
  }
  const mla = request.model.layerGroups.some((group) => group.mla !== null);
  return [
    {
      code: 'flash-attn-version-without-effect',
      severity: 'info',
      title: 'flash_attn_version changes nothing for the selected backends',
      detail: sentences(
        `None of the layers runs on FLASH_ATTN under vLLM ${prepared.release}${mla ? ', nor does MLA prefill' : ''}`,
        'Remove the setting, unless it is meant for a vision tower, which is not asked about here.',
      ),
      source: resolverSource(input),
    },
  ];
}

/** Everything that is said of a set `flash_attn_version`; none when it is not set. */
export function flashAttnVersionFindings(input: FindingInput): readonly FindingDraft[] {
  const { release } = input.prepared;
  const version = input.request.serve.flashAttnVersion;
  if (version === null) {
    return [];
  }
  const allowed = flashAttnVersionValues(release);
  if (allowed.length > 0 && !allowed.includes(version)) {
    return [
      {
        code: 'flash-attn-version-invalid',
        severity: 'error',
        title: `flash_attn_version ${version} is not a value of vLLM ${release}`,
        detail: `Start-up stops: Input should be ${allowed.slice(0, -1).join(', ')} or ${allowed.at(-1) ?? ''}. Use one of these.`,
        source: { where: configSource(release), ruleId: 'CFG-3' },
      },
    ];
  }
  return [
    ...unresolved(input, version),
    ...slowerOnHopper(input, version),
    ...mlaPrefill(input, version),
    ...withoutEffect(input),
  ];
}

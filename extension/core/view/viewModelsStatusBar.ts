/** State → the one status bar item. */
import { askedCapability, currentDevice, type AppState } from '../state/appState';
import { smFamily } from '../facts';
import { known } from '../state/store';
import { runCounter, selectionTexts } from './viewModels';
import { deviceLabel, type LabelledValue } from './viewModelsDevice';

/** What the item shows. Texts are plain; the vscode ring escapes them into Markdown. */
export interface StatusBarModel {
  /** With codicons as VS Code writes them: `SM90 · FLASH_ATTN (FA3)`. */
  readonly text: string;
  /** The same in words: icons and middle dots are not read out. */
  readonly accessibilityLabel: string;
  readonly tooltip: readonly LabelledValue[];
  /** Sentence under the figures. */
  readonly tooltipNote: string;
  /** Nothing was probed: the click probes instead of opening. */
  readonly probed: boolean;
}

/** The status bar of a state. A what-if family is marked, so that it is never read as the device's. */
export function statusBarModel(state: AppState): StatusBarModel {
  const facts = known(state.facts);
  const device = currentDevice(state);
  const flagText = `use_system_flash_attn ${state.flag.value ? 'on' : 'off'}`;
  if (facts === null || device === null) {
    const probing = state.facts.status === 'loading';
    const text =
      state.facts.status === 'failed'
        ? '$(warning) GPU: probe failed'
        : probing
          ? '$(sync~spin) GPU: probing'
          : 'GPU: not probed';
    return {
      text,
      accessibilityLabel: `Attention backend: ${state.facts.status === 'failed' ? 'the probe failed' : probing ? 'probing this machine' : 'this machine has not been probed'}, ${flagText}`,
      tooltip: [{ label: 'Flag', value: flagText }],
      tooltipNote:
        state.facts.status === 'failed'
          ? `${state.facts.failure.what} ${state.facts.failure.next}`
          : 'Nothing has been started. Click to look at the GPUs of this machine (management library only, no CUDA).',
      probed: false,
    };
  }
  const capability = askedCapability(state);
  const family = capability === null ? null : smFamily(capability);
  const isWhatIf = state.whatIfCapability !== null;
  const stale = state.facts.status !== 'ready' || state.facts.stale;
  const selections = selectionTexts(state);
  const verdict = selections === null ? null : summary(selections);
  const counter = runCounter(state);
  const parts = [
    family === null
      ? device.kind === 'cpu'
        ? 'CPU · no GPU'
        : 'SM unknown'
      : `${isWhatIf ? 'if ' : ''}${family.label}`,
    ...(verdict === null ? [] : [verdict]),
    ...(state.flag.value ? ['system FA on'] : []),
  ];
  const icon = counter !== null ? `$(sync~spin) ${counter} ` : selections?.includes('no backend') ? '$(warning) ' : '';
  return {
    text: `${icon}${parts.join(' · ')}${stale ? ' (stale)' : ''}`,
    accessibilityLabel: [
      `Attention backend: ${verdict ?? (device.kind === 'cpu' && family === null ? 'no GPU on this machine' : 'not evaluated')}`,
      ...(family === null
        ? []
        : [`${isWhatIf ? 'what if ' : ''}SM ${capability?.join('.') ?? ''} ${family.architecture}`]),
      flagText,
      ...(stale ? ['from an earlier session'] : []),
      ...(counter === null ? [] : [`running, ${counter.replace('/', ' of ')} cases finished`]),
    ].join(', '),
    tooltip: [
      { label: 'Device', value: deviceLabel(device) },
      ...(family === null
        ? []
        : [{ label: isWhatIf ? 'Asked for' : 'SM family', value: `${family.label} (${family.architecture})` }]),
      ...(selections === null ? [] : [{ label: 'vLLM selects', value: selections.join(', ') }]),
      { label: 'Flag', value: flagText },
    ],
    tooltipNote: stale ? 'These facts are from an earlier session. Open the panel to probe again.' : '',
    probed: true,
  };
}

/** At most two names; more are counted. */
function summary(selections: readonly string[]): string {
  return selections.length <= 2
    ? selections.join(', ')
    : `${selections.slice(0, 2).join(', ')} +${selections.length - 2}`;
}

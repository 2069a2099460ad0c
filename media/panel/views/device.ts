/** Device picker, family badge, what-if family. */
import { html, nothing } from 'lit-html';
import { button, disclosure, figures, notice, type View, type ViewContext } from '../view';

/** The device section. */
export function deviceView(context: ViewContext): View {
  const { device, family, report } = context.model;
  const { send } = context;
  const live = report === null;
  return html`<section aria-labelledby="device-title">
    <h2 id="device-title">Device</h2>
    <div class="row">
      ${
        device.options.length === 0
          ? nothing
          : html`<label class="field grow"
              ><span>Run on</span>
              <select
                ?disabled=${!live}
                @change=${(event: Event) =>
                  send({ type: 'selectDevice', deviceId: (event.target as HTMLSelectElement).value })}
              >
                ${device.options.map(
                  (option) =>
                    html`<option value=${option.id} .selected=${option.id === device.selectedId}>
                      ${option.label}
                    </option>`,
                )}
              </select></label
            >`
      }
      <label class="field grow"
        ><span>Ask vLLM's rules about</span>
        <select @change=${(event: Event) => send({ type: 'setWhatIfFamily', capability: capabilityOf(event) })}>
          <option value="" .selected=${!family.whatIf}>
            ${device.badge === null ? 'No SM family chosen' : `This device (${device.badge.label} ${device.badge.architecture})`}
          </option>
          ${family.options.map(
            (option) =>
              html`<option
                value=${option.capability.join('.')}
                .selected=${family.whatIf && option.label === family.asked?.label}
              >
                ${option.label} ${option.architecture}
              </option>`,
          )}
        </select></label
      >
      ${
        family.asked === null
          ? nothing
          : html`<span class="badge" title="SM family that the rules are asked about"
              >${family.whatIf ? 'what if ' : ''}<b>${family.asked.label}</b> ${family.asked.architecture}</span
            >`
      }
    </div>
    ${
      device.stale
        ? notice(
            'info',
            'These facts are from an earlier session.',
            live ? button('Probe again', () => send({ type: 'probe' })) : nothing,
          )
        : nothing
    }
    ${
      device.status !== 'notProbed'
        ? nothing
        : live
          ? notProbed(context)
          : html`<p class="quiet">This report names no device.</p>`
    }
    ${device.status === 'probing' ? html`<p class="quiet" role="status">Looking at this machine …</p>` : nothing}
    ${figures(device.details)}
    ${
      device.sentences.length === 0
        ? nothing
        : notice(
            device.status === 'failed' ? 'error' : 'info',
            device.sentences.join(' '),
            live ? button('Probe again', () => send({ type: 'probe' })) : nothing,
          )
    }
    ${
      device.attempts.length > 0 && device.sentences.length > 0
        ? disclosure(
            context,
            'attempts',
            'Driver libraries that were tried',
            html`<ul class="plain mono">
              ${device.attempts.map((attempt) => html`<li>${attempt}</li>`)}
            </ul>`,
          )
        : nothing
    }
  </section>`;
}

function notProbed({ model, send }: ViewContext): View {
  return html`<div class="empty">
    <p><b>This machine has not been looked at yet.</b></p>
    <p>
      A probe reads the GPUs, the driver and who else uses them. It creates no CUDA context and leaves no process
      behind.
    </p>
    ${
      model.trustNotice === null
        ? button('Probe this machine', () => send({ type: 'probe' }), 'primary')
        : html`<p>It waits until this folder is trusted.</p>`
    }
  </div>`;
}

function capabilityOf(event: Event): [number, number] | null {
  const [major, minor] = (event.target as HTMLSelectElement).value.split('.').map(Number);
  return major === undefined || minor === undefined ? null : [major, minor];
}

/** How a setting names a file. Pure. */
import type { SettingLocation } from './appState';

/** The parts of a URI that say where something is. */
export interface Place {
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
}

/**
 * The text for a setting: below the first folder a relative path, which a colleague's checkout understands too. Relative
 * paths are read from the first folder, so a file of another one is named in full; and so is every file in user settings,
 * which other windows with other first folders read.
 *
 * @param firstFolder absent = no folder is open
 * @param writtenTo where the setting is written
 */
export function settingPath(
  file: Place & { readonly fsPath: string },
  firstFolder: Place | undefined,
  writtenTo: SettingLocation,
): string {
  const relative = firstFolder === undefined || writtenTo === 'user' ? null : pathBelow(firstFolder, file);
  return relative ?? file.fsPath;
}

function pathBelow(folder: Place, file: Place): string | null {
  if (file.scheme !== folder.scheme || file.authority !== folder.authority) return null;
  const start = folder.path.endsWith('/') ? folder.path : `${folder.path}/`;
  return file.path.length > start.length && file.path.startsWith(start) ? file.path.slice(start.length) : null;
}

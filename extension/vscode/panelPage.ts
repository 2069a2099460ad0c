/** The panel's page as text: one script, one stylesheet, a skeleton that is painted before the script has run. Free of `vscode`, so that a plain browser can test it. */

/** Where the page gets its two files from, and what its policy allows. */
export interface PanelPageParts {
  readonly nonce: string;
  readonly language: string;
  readonly cspSource: string;
  readonly script: string;
  readonly style: string;
}

/** The page. */
export function panelPage({ nonce, language, cspSource, script, style }: PanelPageParts): string {
  const policy = `default-src 'none'; style-src ${cspSource}; script-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none';`;
  return `<!DOCTYPE html>
<html lang="${/^[\w-]+$/.test(language) ? language : 'en'}">
<head>
<meta charset="UTF-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Attention Backend Diagnostics</title>
<link rel="stylesheet" href="${style}">
</head>
<body>
<div id="app" aria-busy="true">
<h1>Attention Backend Diagnostics</h1>
<div class="skeleton" aria-hidden="true"><i></i><i></i><i></i></div>
</div>
<script nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}

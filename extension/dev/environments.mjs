/** Environments for the programs the tooling starts: a user's settings for other work must not change what is built here. */

/** @param {NodeJS.ProcessEnv} env @param {(name: string) => boolean} keep @returns {NodeJS.ProcessEnv} */
function filtered(env, keep) {
  return Object.fromEntries(Object.entries(env).filter(([name]) => keep(name)));
}

/** What of pip's settings says how to reach an index; the rest says what to install and where, which the caller does. */
const PIP_NETWORK =
  /^PIP_(INDEX_URL|EXTRA_INDEX_URL|NO_INDEX|FIND_LINKS|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|RETRIES|(DEFAULT_)?TIMEOUT|CONFIG_FILE|CACHE_DIR|NO_CACHE_DIR|KEYRING_PROVIDER|USE_FEATURE|USE_DEPRECATED)$/;

/**
 * For a program that calls `python3 -m pip install --target`: another Python's module paths left out, and pip told that
 * neither a virtual environment nor the user's site is asked for, which are usual settings and refused beside `--target`.
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function pipEnvironment(env) {
  const kept = filtered(env, (name) => !/^(PYTHON|PIP_)/.test(name) || PIP_NETWORK.test(name));
  return { ...kept, PIP_USER: '0', PIP_REQUIRE_VIRTUALENV: '0', PIP_NO_INPUT: '1' };
}

/** What of npm's settings says how to reach a registry. */
const NPM_NETWORK =
  /^npm_config_(registry|@.*|\/\/.*|_auth.*|proxy|https?_proxy|noproxy|no_proxy|ca|cafile|cert|key|strict_ssl|cache|userconfig|globalconfig|offline|prefer_offline|prefer_online|fetch_.*|maxsockets|local_address|user_agent|loglevel)$/i;

/**
 * For an npm inside another project's npm script: the settings of that project, which npm hands to its scripts as
 * variables, left out (`include`, `omit`, `prefix`, `workspace`, `dry_run`, …). npm reads the user's own files by itself.
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function npmEnvironment(env) {
  return filtered(env, (name) => !/^npm_config_/i.test(name) || NPM_NETWORK.test(name));
}

/**
 * For the tests: what changes how Node, Python or this extension behave left out, so that a failure is the code's. Locale,
 * time zone, proxies and folders stay: the code has to stand those.
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function testEnvironment(env) {
  return filtered(
    vscodeEnvironment(env),
    (name) => !/^(PYTHON|ATTENTION_DIAGNOSTICS_|ATTN_DIAG_|FORCE_COLOR$|NO_COLOR$|NODE_(TEST|DEBUG|ENV$))/.test(name),
  );
}

/**
 * For a VS Code of its own: what an outer VS Code, its terminal or its debugger tells the programs it starts left out.
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function vscodeEnvironment(env) {
  return filtered(env, (name) => !/^(VSCODE_|ELECTRON_|NODE_OPTIONS$|NODE_PATH$|npm_)/.test(name));
}

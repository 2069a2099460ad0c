/**
 * The environment node-gyp runs in: npm's settings left out, except which Python. node-gyp takes them over its own
 * arguments, and an `npm_config_nodedir` of the user's brings Node's compiler flags (`-fno-rtti`), with which
 * libstdc++'s headers need a GLIBCXX above our floor.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function nodeGypEnvironment(env) {
  const isSetting = (/** @type {string} */ name) => /^npm_(config_|package_config_node_gyp_)(?!python$)/i.test(name);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isSetting(name)));
}

import start, * as core from "./core.js";

let started;

/**
 * Loads the core, unless the core is loaded already. Without a source, the core comes from the
 * directory of this script.
 */
export function load(source) {
  started ??= start(source === undefined ? undefined : { module_or_path: source }).then(
    () => core,
    (error) => {
      // The next call loads again, because loading may succeed later, when the network is back.
      started = undefined;
      throw error;
    },
  );
  return started;
}

/** Loads the core from a URL, a response, bytes or a module, before the first connection does. */
export async function init(source) {
  await load(source);
}

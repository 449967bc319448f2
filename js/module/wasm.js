import start, * as core from "./core.js";

let started;

/** The core, loaded from beside this script if it has not been loaded from elsewhere. */
export function load(source) {
  started ??= start(source === undefined ? undefined : { module_or_path: source }).then(
    () => core,
    (error) => {
      // A network that was away may be back.
      started = undefined;
      throw error;
    },
  );
  return started;
}

/** Loads it from a URL, a response, bytes or a module, before the first connection would. */
export async function init(source) {
  await load(source);
}

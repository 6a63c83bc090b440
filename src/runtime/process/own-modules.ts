import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/** `.ts` as source, `.js` as built. The build puts this module into one of several files: its own URL tells no more. */
const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))

/** The URL of this package's directory. */
export function packageDirectory(): URL {
  const manifest = createRequire(import.meta.url).resolve('mongrel2-fetch/package.json')
  return new URL('./', pathToFileURL(manifest))
}

/** The URL of the directory with everything of ours that runs: `dist/` as built, the package's as source. */
export function ownDirectory(): URL {
  return new URL(extension === '.js' ? 'dist/' : './', packageDirectory())
}

/**
 * The URL of a module of ours that another process or thread starts with. It is an entry of the build.
 *
 * @param path Below `src/`, without an extension.
 */
export function ownModule(path: string): URL {
  return new URL(`src/${path}${extension}`, ownDirectory())
}

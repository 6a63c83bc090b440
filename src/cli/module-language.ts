/** Whether this Node (22.18, 24 or later), Deno or Bun runs TypeScript by itself. */
const RUNS_TYPESCRIPT = 'typescript' in process.features && process.features.typescript !== false

/**
 * What a module is written in, as this Node sees it.
 *
 * @param file A path or a URL.
 * @returns `unreadable` for what Node cannot run without tsx: JSX always, TypeScript on older versions.
 */
export function languageOf(file: string): 'javascript' | 'typescript' | 'unreadable' {
  if (/\.[jt]sx(?:[?#]|$)/.test(file)) return 'unreadable'
  if (!/\.[cm]?ts(?:[?#]|$)/.test(file)) return 'javascript'
  return RUNS_TYPESCRIPT ? 'typescript' : 'unreadable'
}

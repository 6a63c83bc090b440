import { fileURLToPath } from 'node:url'

/** What Node reports of the modules that it loads, as `node --watch` asks for it. */
interface WatchReport {
  readonly 'watch:import'?: readonly string[]
  readonly 'watch:require'?: readonly (string | undefined)[]
}

/** The environment that has Node report the modules that it loads. */
export const WATCH_ENVIRONMENT: Readonly<Record<string, string>> = { WATCH_REPORT_DEPENDENCIES: '1' }

/**
 * Reports the files of the app that this process loads. Node sends them to the parent by the channel of `fork`, which this process
 * does not have.
 *
 * @param loaded Called with the path of each.
 */
export function watchImports(loaded: (path: string) => void): void {
  process.send = (report: WatchReport) => {
    const urls = (report['watch:import'] ?? []).filter((url) => url.startsWith('file:'))
    const paths = [...urls.map((url) => fileURLToPath(new URL(url))), ...(report['watch:require'] ?? [])]
    for (const path of paths) if (path?.includes('/node_modules/') === false) loaded(path)
    return true
  }
}

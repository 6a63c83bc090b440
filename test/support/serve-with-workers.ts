import type { WorkersOptions } from '../../src/cluster/options.ts'
import { serveWithWorkers as serve, type WorkersServer } from '../../src/cluster/serve-with-workers.ts'
import type { LinkOption } from '../../src/index.ts'

const { LINK } = process.env

/** `serveWithWorkers` with the app of the tests, on the link that this test run is for. */
export function serveWithWorkers(options: Omit<WorkersOptions, 'app'> & Partial<WorkersOptions>): WorkersServer {
  return serve({
    app: { module: new URL('./worker-app.ts', import.meta.url).href },
    execArgv: ['--import', new URL('./register-tsx.mjs', import.meta.url).href],
    ...options,
    options: LINK === undefined ? options.options : { link: LINK as LinkOption, ...options.options },
  })
}

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

/** The app of `observed-app.ts` for the command, which has the built package. */
export const COMMAND_APP = readFileSync(new URL('./observed-app.ts', import.meta.url), 'utf8')
  .replace('../../src/index.ts', resolve('dist/src/index.js'))
  .replace(/^import type .*\n/m, '')
  .replace(/^export default .*/m, 'export default fetch')

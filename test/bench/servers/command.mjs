import { fileURLToPath } from 'node:url'
import { announce, options } from './child.mjs'

// `mongrel2-fetch serve` in this process, with the flags that it is given. Its caller finds out when it answers.

process.umask(0) // nginx's worker is another user
const app = fileURLToPath(new URL('app.mjs', import.meta.url))
process.argv = [
  process.execPath,
  'mongrel2-fetch',
  'serve',
  app,
  '--export',
  'app',
  '--log-level',
  'warn',
  ...options.flags,
]
announce()
await import('../../../dist/src/cli/main.js')

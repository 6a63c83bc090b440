// Installs what the benchmark needs and is not there. Plain JavaScript: it runs before node_modules exists.

import { installPrograms, setUp } from '../../examples/setup.mjs'

const ADVICE = `The benchmark needs the programs nginx, wrk and h2load on the PATH.
  Debian, Ubuntu:  sudo apt-get install nginx wrk nghttp2-client`

try {
  await setUp()
  await installPrograms({ nginx: 'nginx', wrk: 'wrk', h2load: 'nghttp2-client' }, ADVICE)
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}

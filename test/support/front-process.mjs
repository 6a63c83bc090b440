// The embedded front in a process of its own, in the place of the program mongrel2: the same directory, process id file and signals.
// Plain JavaScript on what is built, since it has to start about as quickly.

import { readFile, writeFile } from 'node:fs/promises'
import { createFront } from 'mongrel2-fetch/front'

process.umask(0) // whoever runs the handlers may connect
const front = await createFront(JSON.parse(await readFile('front.json', 'utf8')))
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => void front.close())
await writeFile('run/mongrel2.pid', String(process.pid))

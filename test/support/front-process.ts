// The embedded front in a process of its own, in the place of the program mongrel2: the same directory, process id file and signals.

import { readFile, writeFile } from 'node:fs/promises'
import { createFront, type FrontOptions } from '../../src/front/index.ts'

process.umask(0) // whoever runs the handlers may connect
const options = JSON.parse(await readFile('front.json', 'utf8')) as FrontOptions
const front = await createFront(options)
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void front.close())
await writeFile('run/mongrel2.pid', String(process.pid))

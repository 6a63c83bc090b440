import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** Bytes of this process' objects and buffers that are in use, zlib's among them. */
export async function memoryInUse(): Promise<number> {
  collect()
  // What was waiting for its finalizer lets go of the rest.
  await sleep(10)
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

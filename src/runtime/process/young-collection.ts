import { lazy } from './lazy.ts'

/**
 * Bytes of garbage outside of the heap at which young objects are collected. With 8 MiB V8 may begin to collect the whole heap instead, which takes
 * twenty times as long in a small process and longer in a large one.
 */
const MOST_GARBAGE = 4 * 1024 * 1024
/** Bytes between two looks at the size of the memory outside of the heap, each of which takes 3 µs. */
const LOOK_INTERVAL = 1024 * 1024

let unseen = 0
/** Bytes outside of the heap after the last collection. */
let inUse = Number.POSITIVE_INFINITY

/**
 * Counts the bytes of a buffer that will soon be garbage, and collects young objects when there may be many of them: V8 does that by the bytes of
 * objects in its heap, where a large buffer counts little.
 */
export function countGarbage(bytes: number): void {
  unseen += bytes
  if (unseen < LOOK_INTERVAL) return
  unseen = 0
  const { externalMemory, collectYoung } = engine()
  inUse = Math.min(inUse, externalMemory())
  if (externalMemory() - inUse < MOST_GARBAGE) return
  collectYoung()
  inUse = externalMemory()
}

const engine = lazy(() => {
  const { getHeapStatistics } = process.getBuiltinModule('node:v8')
  return { externalMemory: () => getHeapStatistics().external_memory, collectYoung: youngCollector() }
})

/** V8's collector; a function that does nothing where it cannot be had, as in other engines. */
function youngCollector(): () => void {
  try {
    const gc = globalThis.gc ?? unexposedCollector()
    return () => gc({ type: 'minor', execution: 'sync' })
  } catch {
    return () => {}
  }
}

/** Gets the collector without `--expose-gc`: the flag holds for contexts that are made meanwhile, so nobody else gets it. */
function unexposedCollector(): NonNullable<typeof globalThis.gc> {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8')
  setFlagsFromString('--expose-gc')
  try {
    return process.getBuiltinModule('node:vm').runInNewContext('gc')
  } finally {
    setFlagsFromString('--no-expose-gc')
  }
}

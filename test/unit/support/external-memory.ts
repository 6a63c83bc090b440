import { getHeapStatistics } from 'node:v8'

const MIB = 1024 * 1024

/** Calls `make` until it has made 200 MiB, `size` bytes at a time. Returns the most memory outside of the heap that was taken meanwhile, in MiB. */
export async function mostExternalMemory(size: number, make: () => unknown): Promise<number> {
  const before = getHeapStatistics().external_memory
  let most = before
  for (let made = 0; made < 200 * MIB; made += size) {
    await make()
    most = Math.max(most, getHeapStatistics().external_memory)
  }
  return (most - before) / MIB
}

import { expect } from 'vitest'

/** Resolves with a number once it has not changed for so many milliseconds. */
export async function still(value: () => number | Promise<number>, milliseconds = 500): Promise<number> {
  let last = await value()
  let since = performance.now()
  await expect
    .poll(
      async () => {
        const now = await value()
        if (now !== last) since = performance.now()
        last = now
        return performance.now() - since
      },
      { timeout: 20_000 },
    )
    .toBeGreaterThan(milliseconds)
  return last
}

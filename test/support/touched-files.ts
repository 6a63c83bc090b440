import * as fs from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { vi } from 'vitest'

// For tests that mock `node:fs/promises` with spies, and `node:fs` with a spy for `open`.
const CALLS = [fs.open, open, unlink]

/** The paths that were opened or deleted since the last `forgetTouchedFiles`: those opened first. */
export function touchedFiles(): unknown[] {
  return CALLS.flatMap((call) => vi.mocked(call).mock.calls.map(([path]) => path))
}

export function forgetTouchedFiles(): void {
  for (const call of CALLS) vi.mocked(call).mockClear()
}

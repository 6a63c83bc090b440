import * as fs from 'node:fs'
import { vi } from 'vitest'

const open = vi.fn(fs.open)
const openSync = vi.fn(fs.openSync)
const unlinkSync = vi.fn(fs.unlinkSync)
const promises = { ...fs.promises, open: vi.fn(fs.promises.open), unlink: vi.fn(fs.promises.unlink) }

/** Mocks `src/runtime/process/node-fs.ts`, to see what our modules open and delete; everything works as before. */
export const nodeFs = { fs: { ...fs, open, openSync, unlinkSync, promises } }

/** Those that open first. */
const CALLS = [open, openSync, promises.open, promises.unlink, unlinkSync]

/** The paths that were opened or deleted since the last `forgetTouchedFiles`: those opened first. */
export function touchedFiles(): unknown[] {
  return CALLS.flatMap((call) => call.mock.calls.map(([path]: unknown[]) => path))
}

export function forgetTouchedFiles(): void {
  for (const call of CALLS) call.mockClear()
}

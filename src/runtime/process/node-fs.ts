/** Node's `fs`. An import of it would load `fs/promises`, too, which takes 1 MiB, and which only a stored body needs. */
export const fs: typeof import('node:fs') = process.getBuiltinModule('node:fs')

import { createRequire } from 'node:module'

/** This package's version. */
export const { version }: { version: string } = createRequire(import.meta.url)('mongrel2-fetch/package.json')

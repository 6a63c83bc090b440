#!/usr/bin/env node
// The command mongrel2-fetch.

import { enableCompileCache } from './shared/compile-cache.ts'

enableCompileCache()
await import('./run.ts')

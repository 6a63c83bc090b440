// Imported before everything else (`import 'mongrel2-fetch/quick-objects'`, `node --import mongrel2-fetch/quick-objects`), replaces the global
// Request, Response and fetch by quick ones for good.

import { replaceGlobalsFirst } from './platform/globals.ts'

replaceGlobalsFirst()

// Replaces the global Request, Response and fetch by quick ones for good. Import it before everything else:
// `import 'mongrel2-fetch/quick-objects'`, or `node --import mongrel2-fetch/quick-objects`.

import { replaceGlobalsFirst } from './platform/globals.ts'

replaceGlobalsFirst()

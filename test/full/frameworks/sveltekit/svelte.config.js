import { writeFileSync } from 'node:fs'

/** Leaves SvelteKit's server as it is: a class with a `respond(request)`. */
const adapter = {
  name: 'fetch',
  adapt(builder) {
    builder.rimraf('build')
    builder.writeServer('build')
    writeFileSync('build/manifest.js', `export const manifest = ${builder.generateManifest({ relativePath: '.' })}\n`)
  },
}

export default { kit: { adapter, csrf: { trustedOrigins: ['http://a.example'] } } }

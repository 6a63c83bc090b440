import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Mongrel2Server } from '../../src/index.ts'
import { lacks } from '../support/embedded.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'
import { type NodeServer, startNodeServer } from '../support/node-server.ts'
import { serveMongrel2 } from '../support/serve.ts'
import app from './differential/app.ts'
import { cases } from './differential/cases.ts'
import { matchers } from './differential/difference.ts'
import { differences, observe } from './differential/observation.ts'

describe.each(['json', 'tnetstring'] as const)('behind Mongrel2 with headers as %s, and on node:http', (protocol) => {
  let mongrel2: Mongrel2
  let server: Mongrel2Server
  let nodeServer: NodeServer

  beforeAll(async () => {
    mongrel2 = await startMongrel2({ protocol })
    server = serveMongrel2(app, { zeromq: mongrel2.endpoint, chroot: mongrel2.directory, logger: {} })
    // Both with the platform's own Request and Response.
    nodeServer = await startNodeServer(new URL('differential/app.ts', import.meta.url), {
      overrideGlobalObjects: false,
    })
    await server.ready
  })

  afterAll(async () => {
    await nodeServer?.stop()
    await server?.close({ timeout: 1000 })
    await mongrel2?.stop()
  })

  for (const [group, list] of Object.entries(cases)) {
    describe(group, () => {
      for (const { name, differs, ...conversation } of list) {
        // Where Mongrel2 differs from Node, what is on Node's parser differs otherwise, or not at all.
        it.skipIf(differs !== undefined && lacks('lenient parser'))(
          differs === undefined ? `${name}: the same` : `${name}: ${differs.why}`,
          async () => {
            const [ours, theirs] = await Promise.all([
              observe(mongrel2.port, conversation),
              observe(nodeServer.port, conversation),
            ])
            expect(differences(ours, theirs)).toEqual({
              ours: matchers(differs?.ours ?? {}),
              theirs: matchers(differs?.theirs ?? {}),
            })
          },
        )
      }
    })
  }
})

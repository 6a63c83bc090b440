import { flagIn } from '../../mongrel2/database.ts'
import { BUFFER_SIZE, CONTENT_LENGTH } from '../../wire/limits.ts'
import { type Check, NO_DATABASE } from './check.ts'

/** Mistakes with Mongrel2's settings. */
export const SETTING_CHECKS: readonly Check[] = [
  {
    title: 'limits.buffer_size is at most limits.content_length',
    find({ server }) {
      if (server === undefined) return NO_DATABASE
      const buffer = Number(server.settings.get('limits.buffer_size') ?? BUFFER_SIZE)
      const content = Number(server.settings.get('limits.content_length') ?? CONTENT_LENGTH)
      if (buffer <= content) return undefined
      return {
        found: `limits.buffer_size is ${buffer}, and limits.content_length ${content}: the beginning of every large body is lost, and its client waits for ever`,
        advice: `Set limits.content_length to ${buffer} or more.`,
      }
    },
  },
  {
    title: 'Large bodies have somewhere to go',
    find({ server, settings }) {
      if (server === undefined) return NO_DATABASE
      if (server.settings.has('upload.temp_store') || flagIn(server.settings, 'upload.stream')) return undefined
      const content = Number(server.settings.get('limits.content_length') ?? CONTENT_LENGTH)
      if (settings.maxBodySize <= content) return undefined
      return {
        found: `neither upload.temp_store nor upload.stream is set: bodies over ${content} bytes, and those in chunks, get a 413`,
        advice: `Set "upload.temp_store": "tmp/mongrel2.upload.XXXXXX"; or say by --max-body-size ${content} that no larger ones are wanted.`,
      }
    },
  },
  {
    title: 'X-Forwarded-For is kept by Mongrel2 if it is trusted here, and only then',
    find({ server, settings: { trustProxy } }) {
      if (server === undefined) return NO_DATABASE
      const kept = flagIn(server.settings, 'no_clobber_xff')
      const trusted = trustProxy !== false && trustProxy !== 0
      if (kept === trusted) return undefined
      return kept
        ? {
            found: 'no_clobber_xff is on, and trustProxy off: request.ip is the address of the proxy',
            advice:
              'Give the number of proxies in front of Mongrel2 by --trust-proxy; without a proxy, turn no_clobber_xff off.',
          }
        : {
            found: `trustProxy is ${trustProxy}, and no_clobber_xff off: Mongrel2 overwrites X-Forwarded-For with the address of the proxy`,
            advice: 'Set "no_clobber_xff": 1; without a proxy in front of Mongrel2, leave out --trust-proxy.',
          }
    },
  },
]

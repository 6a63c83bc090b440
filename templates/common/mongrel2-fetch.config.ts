// What `mongrel2-fetch dev` and `mongrel2-fetch serve` read. Flags and environment variables come before it.

import type { CommandConfig } from 'mongrel2-fetch'

export default {
  app: 'app.ts',
  // The Handler of mongrel2.conf, as seen from here: send_spec, then recv_spec. `dev` brings a Mongrel2 of its own.
  zeromq: 'ipc://mongrel2/run/send,ipc://mongrel2/run/recv',
  // Mongrel2's directory: large bodies are stored in it.
  chroot: 'mongrel2',
} satisfies CommandConfig

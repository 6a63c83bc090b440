// An app with accounts: sign up, sign in, sign out, and a list of shared files that updates itself while others upload.
// Start: npm start -- accounts. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/accounts/server.ts
// Look at: http://127.0.0.1:6767/ in two browsers; upload in one and watch the other. accounts.ts has passwords and sessions, app.tsx
// the routes, pages.tsx the HTML, page.js the progress bar and the list.

import { randomBytes } from 'node:crypto'
import { serveMongrel2 } from 'mongrel2-fetch'
import { createApp, LARGEST_UPLOAD } from './app.tsx'

const app = createApp({
  // It signs cookies. With one that changes at each start everybody has to sign in again, as sessions are in memory anyway.
  secret: process.env.COOKIE_SECRET ?? randomBytes(32).toString('hex'),
})

const server = serveMongrel2(app, {
  zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
  // The directory of Mongrel2, where it puts large bodies.
  chroot: process.env.CHROOT ?? '.',
  // Forms are read into memory. A larger body is refused with a 413.
  maxBodySize: LARGEST_UPLOAD,
})

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered and event streams are ended; the process ends when that is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void server.close())

// A radio: an endless MP3 stream, with the title in ICY metadata, to any number of listeners. Each piece is made once and goes out in one
// reply for up to 128 listeners. The music is made by tone.ts, so there is no file.
// Start: npm start -- mp3-stream. By hand: Mongrel2 with examples/mongrel2.conf, and: npx tsx examples/mp3-stream/server.ts
// Look at: http://127.0.0.1:6767/ in a browser, or: mpg123 http://127.0.0.1:6767/stream.mp3 (also vlc, mplayer), which shows the titles.

import { serveMongrel2, Topic } from 'mongrel2-fetch'
import { FRAME_BYTES, FRAME_SECONDS, frequencyOf, makeTone } from './tone.ts'

/** Frames in a piece. A listener joins between two pieces, so it gets whole frames only. */
const PIECE_FRAMES = 20
const PIECE_BYTES = PIECE_FRAMES * FRAME_BYTES
const MOST_LISTENERS = 5000
/** The frequency lines of the melody, one each piece; undefined is a rest. */
const MELODY = [8, 10, 12, 8, 8, 10, 12, 8, 12, 14, 16, undefined, 12, 14, 16, undefined]

/** Sixteen seconds may wait for a listener, then it is closed; players come back. */
const options = { maxBufferedBytes: 128 * 1024 }
const listeners = new Topic(options)
/** Those who asked for titles: for them a block of metadata stands behind each `icy-metaint` bytes of music. */
const listenersWithTitles = new Topic(options)

let piece = 0
function play(): void {
  const line = MELODY[piece++ % MELODY.length]
  const music = makeTone(line, PIECE_FRAMES)
  const title = line === undefined ? 'A rest' : `A tone of ${Math.round(frequencyOf(line))} Hz`
  listeners.send(music)
  listenersWithTitles.send(Buffer.concat([music, renderTitle(title)]))
}

/** A block of ICY metadata: its length in units of 16 bytes, then the text, filled up with zero bytes. */
function renderTitle(title: string): Buffer {
  const text = Buffer.from(`StreamTitle='${title}';`)
  const units = Math.ceil(text.length / 16)
  const block = Buffer.alloc(1 + 16 * units)
  block[0] = units
  text.copy(block, 1)
  return block
}

const server = serveMongrel2(
  (request) => {
    const { pathname } = new URL(request.url)
    if (pathname === '/') return new Response(PAGE, { headers: { 'content-type': 'text/html; charset=utf-8' } })
    if (pathname !== '/stream.mp3') return new Response('Not Found\n', { status: 404 })
    if (listeners.size + listenersWithTitles.size >= MOST_LISTENERS)
      return new Response('All seats are taken.\n', { status: 503 })
    const headers = { 'content-type': 'audio/mpeg', 'icy-name': 'Tones' }
    if (request.headers.get('icy-metadata') !== '1') return listeners.stream(request, { format: 'bytes', headers })
    return listenersWithTitles.stream(request, {
      format: 'bytes',
      headers: { ...headers, 'icy-metaint': String(PIECE_BYTES) },
    })
  },
  {
    zeromq: process.env.ZEROMQ ?? 'tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
    // The directory of Mongrel2, where it puts large bodies.
    chroot: process.env.CHROOT ?? '.',
  },
)

/** Plays what is due by the clock. A timer alone would fall behind, and players would run dry. */
const start = performance.now()
const timer = setInterval(() => {
  const due = (performance.now() - start) / (1000 * FRAME_SECONDS * PIECE_FRAMES)
  // After a pause of the machine it goes on with what is due now.
  piece = Math.max(piece, Math.floor(due) - 1)
  while (piece < due) play()
}, 100)

server.ready.then(
  () => console.log('Attached to Mongrel2.'),
  (error) => console.error(error.message),
)
// What has come in is still answered and the streams are ended; the process ends when that is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    clearInterval(timer)
    void server.close()
  })
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Tones</title>
<h1>Tones</h1>
<audio controls src="/stream.mp3"></audio>
</html>
`

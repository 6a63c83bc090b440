// Shows how far long work is: one line that moves on a terminal, a line now and then elsewhere. Plain JavaScript: it runs before
// node_modules exists.

/** Milliseconds between two drawings of the line on a terminal. */
const DRAW_EVERY = 250
/** Milliseconds between two lines elsewhere. */
const PRINT_EVERY = 30_000
/** Characters of the bar. */
const BAR = 20
/** Erases the line that the cursor is in, and goes to its start. */
const ERASE = '\r\x1b[K'

/**
 * How far some work is.
 *
 * @typedef {object} Progress
 * @property {(part: number, what: string) => void} at Shows that this part of the work is done, from 0 to 1, and what runs.
 * @property {() => void} end Removes the line. Calling it again does nothing.
 */

/**
 * Begins to show how far some work is on stderr. Text that this process writes to a terminal meanwhile appears above the line.
 *
 * @param {string} title Names the work.
 * @returns {Progress}
 */
export function showProgress(title) {
  const begun = performance.now()
  /** @type {{ part: number, what: string, left: number | undefined, since: number }} */
  let state = { part: 0, what: '', left: undefined, since: begun }
  const show = isTerminal(process.stderr) ? moveLine(() => lineOf(title, begun, state)) : printLines(title)
  return {
    at(part, what) {
      const since = performance.now()
      // What the rest takes if it is as fast as what is done.
      const left = part > 0 ? ((since - begun) * (1 - part)) / part : undefined
      state = { part, what, left, since }
      show.changed(() => lineOf(title, begun, state))
    },
    end: show.end,
  }
}

/** @param {import('node:tty').WriteStream} stream */
function isTerminal(stream) {
  return stream.isTTY && process.env.TERM !== 'dumb'
}

/**
 * Keeps a line at the end of the terminal.
 *
 * @param {() => string} line
 */
function moveLine(line) {
  let atLineStart = true
  const terminals = [process.stdout, process.stderr].filter(isTerminal)
  const writes = terminals.map((terminal) => terminal.write)
  const write = process.stderr.write.bind(process.stderr)
  const draw = () => {
    // A longer line would go on in the next one, where it cannot be erased.
    if (atLineStart) write(`${ERASE}${line().slice(0, (process.stderr.columns || 80) - 1)}`)
  }
  for (const terminal of terminals) {
    const own = terminal.write
    terminal.write = (/** @type {[string | Uint8Array, ...never]} */ ...args) => {
      if (atLineStart) write(ERASE)
      const taken = own.apply(terminal, args)
      if (args[0].length > 0) atLineStart = Buffer.from(args[0].slice(-1)).equals(Buffer.from('\n'))
      draw()
      return taken
    }
  }
  const timer = setInterval(draw, DRAW_EVERY).unref()
  let ended = false
  const end = () => {
    if (ended) return
    ended = true
    process.off('exit', end)
    clearInterval(timer)
    for (const [n, terminal] of terminals.entries()) terminal.write = writes[n]
    if (atLineStart) write(ERASE)
  }
  process.on('exit', end)
  draw()
  return { changed: draw, end }
}

/** @param {string} title */
function printLines(title) {
  console.error(`${title} ...`)
  let printed = performance.now()
  /** @param {() => string} line */
  const changed = (line) => {
    if (performance.now() - printed < PRINT_EVERY) return
    printed = performance.now()
    console.error(line())
  }
  return { changed, end() {} }
}

/**
 * @param {string} title
 * @param {number} begun
 * @param {{ part: number, what: string, left: number | undefined, since: number }} state
 */
function lineOf(title, begun, { part, what, left, since }) {
  const now = performance.now()
  if (left === undefined) return `${title}, ${duration(now - begun)} so far${what === '' ? '' : `: ${what}`}`
  const filled = Math.round(part * BAR)
  const bar = `${'#'.repeat(filled)}${'-'.repeat(BAR - filled)}`
  const end = new Date(Date.now() + since + left - now).toTimeString().slice(0, 5)
  const rest = duration(Math.max(0, since + left - now))
  return `${title} [${bar}] ${Math.floor(part * 100)} %, ${rest} left, ends ${end}: ${what}`
}

/**
 * A time in words, rounded up.
 *
 * @param {number} milliseconds
 */
function duration(milliseconds) {
  const seconds = Math.ceil(milliseconds / 1000)
  if (seconds < 100) return `${seconds} s`
  const minutes = Math.ceil(seconds / 60)
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

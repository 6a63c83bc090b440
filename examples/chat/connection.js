/** The first wait before it is tried again, and the longest, in milliseconds. */
const FIRST_WAIT = 500
const LONGEST_WAIT = 15_000
/** The code with which the server closes what it will not take the next time either. */
const REFUSED = 4000
/** The server says something every 20 seconds: after so many milliseconds without a word the connection is dead. */
const SILENCE = 50_000

/**
 * A WebSocket for JSON that comes back when it breaks: soon at first, then less and less often, and at once when the browser hears
 * that there is a network again.
 *
 * @param {() => URL} address Where to; asked before each attempt.
 * @param {(value: { type: string, [field: string]: unknown }) => void} receive Gets what the server says.
 * @param {(state: 'connecting' | 'connected' | 'waiting' | 'refused', reason?: string) => void} report
 * @returns {{ send(value: unknown): void, close(): void }} What is sent while there is no connection is lost.
 */
export function connect(address, receive, report) {
  /** @type {WebSocket | undefined} */
  let socket
  let connected = false
  let failures = 0
  let retry = 0
  let silence = 0

  function open() {
    abandon()
    report('connecting')
    const opened = new WebSocket(address())
    socket = opened
    listen()
    opened.onmessage = ({ data }) => {
      if (socket !== opened) return
      listen()
      if (!connected) report('connected')
      connected = true
      failures = 0
      receive(JSON.parse(data))
    }
    opened.onclose = ({ code, reason }) => {
      if (socket !== opened) return
      if (code === REFUSED) {
        close()
        report('refused', reason)
      } else wait()
    }
  }

  function listen() {
    clearTimeout(silence)
    silence = setTimeout(wait, SILENCE)
  }

  function wait() {
    abandon()
    report('waiting')
    const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures)
    failures++
    // Not all pages at the same time, when it is the server that was away.
    retry = setTimeout(open, most * (0.5 + Math.random() / 2))
  }

  /** Leaves the connection as it is: on one that is dead, the answer to a close would be waited for in vain. */
  function abandon() {
    clearTimeout(retry)
    clearTimeout(silence)
    const abandoned = socket
    socket = undefined
    connected = false
    abandoned?.close()
  }

  function close() {
    abandon()
    removeEventListener('offline', wait)
    removeEventListener('online', open)
  }

  addEventListener('offline', wait)
  addEventListener('online', open)
  open()
  return {
    send(value) {
      if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(value))
    },
    close,
  }
}
